"""What is chosen for a device; memory on the CPU: what is freed is there for the next tensor."""

import os
import subprocess
import sys

import pytest
import torch

from dmtool import device
from dmtool.device import MALLOC
from dmtool.errors import UserError
from dmtool.train import compute

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


def test_auto_is_the_accelerator_that_is_there(monkeypatch):
    for there in ({"cuda", "mps"}, {"mps"}, set()):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: "cuda" in there)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=there: "mps" in there)
        assert device.pick_device("auto").type == min(there, default="cpu")
    for name in ("cuda", "mps"):
        with pytest.raises(UserError, match=f"device={name} is not available"):
            device.pick_device(name)


@pytest.mark.parametrize("fast", [True, False])
def test_auto_is_bfloat16_where_it_is_fast(monkeypatch, fast):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: fast)
    monkeypatch.setattr(device, "_fast_bf16_cpu", lambda: fast)
    expected = torch.bfloat16 if fast else torch.float32
    assert device.pick_dtype("auto", CUDA) == device.pick_dtype("auto", CPU) == expected
    assert device.pick_dtype("auto", MPS) == torch.float32


def test_memory_is_that_of_the_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 2e9)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 3e9)
    assert (device.peak_memory(CUDA), device.peak_memory(MPS)) == (2, 3)
    assert 0.05 < device.peak_memory(CPU) < 100


def test_only_cuda_is_sent_to_without_waiting():
    """After the type has been changed: where it is sent to there may be no float64."""

    class Kept:
        def __init__(self):
            self.calls = []

        def to(self, *words, **options):
            self.calls.append((*words, *options.values()))
            return self

    for where, waits in ((CUDA, True), (MPS, False), (CPU, False)):
        sent = device.sent(Kept(), where, torch.float32)
        assert sent.calls == [(torch.float32,), (where, waits)]
    assert device.widest(MPS) == torch.float32 and device.widest(CUDA) == torch.float64


def test_compiling_on_cuda_needs_triton(monkeypatch):
    monkeypatch.setattr(compute.shutil, "which", lambda name: name)
    monkeypatch.setattr(compute, "find_spec", lambda name: None)
    compute._require_compiler(CPU)
    with pytest.raises(UserError, match="pip install triton"):
        compute._require_compiler(CUDA)


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
