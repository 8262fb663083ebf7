"""Memory on the CPU: what is freed is there for the next tensor."""

import os
import subprocess
import sys

from dmtool.device import MALLOC

FAULTS = """
import resource, torch
from dmtool.device import pick_device
pick_device("cpu")
def loop():
    for _ in range(20):
        x = [torch.ones(2_000_000) for _ in range(3)]  # 24 MB
loop()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
loop()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_memory_is_not_fetched_from_the_system_for_every_tensor():
    def faults(**said):
        clean = {name: value for name, value in os.environ.items() if name not in MALLOC}
        ran = subprocess.run([sys.executable, "-c", FAULTS], env={**clean, **said},
                             capture_output=True, text=True, check=True)  # fmt: skip
        return int(ran.stdout)

    assert faults() < 100 < 10_000 < faults(MALLOC_TRIM_THRESHOLD_="131072")
