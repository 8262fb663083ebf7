"""What it gains on the CPU that glibc's malloc keeps freed memory, as a ratio.

    python scripts/bench_malloc.py [OVERRIDES]

`dmtool.device` has it so. The demo's noise predictor, with fresh weights, is called on 64 guided
latents in processes that keep the memory and in ones that give it back, in turn, one thread each;
printed are the ratio of their processor times (median, least, most) and their peak memory.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from types import SimpleNamespace

import torch

from dmtool import device
from dmtool.cond import Cond
from dmtool.config.compose import composed
from dmtool.config.stages import TrainUnet
from dmtool.config.validation import validate
from dmtool.diffusion.network import NoisePredictor, backbone, describe

CALLS, WARM, REPEATS = 24, 4, 5
ROWS, CHANNELS, SIZE, TOKENS = 128, 8, 8, 12


def timed(keep: bool, overrides: list[str]) -> tuple[float, float]:
    """Processor seconds of CALLS calls, and the peak of this process's memory in MB."""
    if keep:
        device.pick_device("cpu")
    torch.set_num_threads(1)
    config = validate(composed("train_unet", ["experiment=demo_unet", *overrides]), TrainUnet)
    text = SimpleNamespace(dim=768, pooled_dim=384)
    predictor = NoisePredictor(backbone(describe(config.unet, CHANNELS, text)), None).eval()
    x = torch.randn(ROWS, CHANNELS, SIZE, SIZE)
    cond = Cond(torch.randn(ROWS, TOKENS, text.dim), pooled=torch.randn(ROWS, text.pooled_dim))
    dtype = device.pick_dtype("auto", torch.device("cpu"))
    with torch.inference_mode(), device.autocast(torch.device("cpu"), dtype):
        for call in range(WARM + CALLS):
            if call == WARM:
                started = time.process_time()
            predictor(x, torch.ones(ROWS), cond)
    seconds = time.process_time() - started
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    if sys.argv[1:2] in (["--keep"], ["--return"]):
        print(json.dumps(timed(sys.argv[1] == "--keep", sys.argv[2:])))
        return
    found: dict[str, list[tuple[float, float]]] = {"--keep": [], "--return": []}
    for way in [*found] * REPEATS:
        command = [sys.executable, __file__, way, *sys.argv[1:]]
        found[way].append(json.loads(subprocess.check_output(command)))
    kept, returned = found.values()
    ratios = [slow / fast for (slow, _), (fast, _) in zip(returned, kept, strict=True)]
    middle = statistics.median(ratios)
    print(f"given back / kept: {middle:.2f} ({min(ratios):.2f} - {max(ratios):.2f})")
    for way, each in found.items():
        print(f"{way[2:]:6} peak {statistics.median(memory for _, memory in each):.0f} MB")


if __name__ == "__main__":
    main()
