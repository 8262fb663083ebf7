"""What features, the Fréchet distance and many rows cost, beside torch-fidelity and pytorch-fid.

    python scripts/bench_evaluation.py extraction [--pictures 32] [--threads 1]
    python scripts/bench_evaluation.py solve [--threads 1]
    python scripts/bench_evaluation.py memory

In the environment of `make test-parity`. `extraction`: pictures/s from uint8 pixels in memory to
pool3, in batches of 8, on weights from a seed; all in turn, medians. `solve`: seconds for the
distance of two sets of moments with 2,048 features of full rank. `memory`: what the process takes
at its peak to find the distance of 50,000 rows of 2,048 features to 10,000 others.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, library

from dmtool.config.extractors import InceptionExtractor
from dmtool.files.shards import ROWS
from dmtool.measure.distances.frechet import Moments, frechet_distance
from dmtool.measure.features import weights
from dmtool.measure.features.extractors import load
from dmtool.measure.features.feature_set import FeatureSet
from dmtool.nn.inception import drawn

DIM, BATCH, REPEATS, SIDE = 2048, 8, 5, 256


def extraction(pictures: int) -> None:
    """Print pictures/s of ours and the two libraries', and the ratios to ours."""
    images = torch.randint(0, 256, (pictures, 3, SIDE, SIDE), dtype=torch.uint8)
    with TemporaryDirectory() as folder:
        ways = _networks(Path(folder))
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, network in ways.items():
            spent[name].append(_seconds(lambda run=network: [run(x) for x in images.split(BATCH)]))
    for name, seconds in spent.items():
        print(f"{name:20} {pictures / statistics.median(seconds):8.2f} pictures/s")
    ours = statistics.median(spent["dmtool tf1"])
    _ratios({name: statistics.median(each) / ours for name, each in spent.items()}, "our speed")


def solve() -> None:
    """Print the seconds of ours and the two libraries', and the ratios to ours."""
    from pytorch_fid.fid_score import calculate_frechet_distance
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    random = np.random.default_rng(0)
    mixing = random.normal(size=(DIM, DIM)) / DIM**0.5
    a, b = (Moments.of(random.normal(size=(3 * DIM, DIM)) @ mixing + i) for i in range(2))
    stats = [{"mu": each.mean, "sigma": each.covariance} for each in (a, b)]
    plain = [value for each in stats for value in each.values()]
    ways: dict[str, Callable[[], Any]] = {
        "dmtool": lambda: frechet_distance(a, b).distance,
        "torch-fidelity": lambda: fid_statistics_to_metric(*stats, False),
        "pytorch-fid (sqrtm)": lambda: calculate_frechet_distance(*plain),
    }
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        spent = {name: _seconds(run) for name, run in ways.items()}
    for name, seconds in spent.items():
        print(f"{name:20} {seconds:8.2f} s")
    _ratios({name: seconds / spent["dmtool"] for name, seconds in spent.items()}, "our speed")


def memory() -> None:
    """Print the peak of the process before the rows, with them, and after the distance."""
    peaks = {"imports": _peak()}
    rows = {n: [torch.randn(ROWS, DIM) for _ in range(n // ROWS)] for n in (50_000, 10_000)}
    peaks["with 60,000 rows"] = _peak()
    begun = time.perf_counter()
    one, two = (FeatureSet(n, chunks).moments() for n, chunks in rows.items())
    frechet_distance(one, two)
    peaks["distance found"] = _peak()
    for name, peak in peaks.items():
        print(f"{name:20} {peak:8,.0f} MB at the peak")
    print(f"{time.perf_counter() - begun:.1f} s")


def _networks(folder: Path) -> dict[str, Callable[[Tensor], Any]]:
    """Each library's way from uint8 pictures to pool3, with the same seeded weights."""
    torch.hub.set_dir(str(folder))
    path = folder / "checkpoints" / weights.FID_INCEPTION_STATE.file
    path.parent.mkdir()
    torch.save(drawn(0), path)
    from pytorch_fid.inception import InceptionV3
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    known = weights.Weights(path.name, "", 0, hashlib.sha256(path.read_bytes()).hexdigest())
    weights.FID_INCEPTION_STATE = known
    config = InceptionExtractor(kind="inception", mode="tf1", weights=str(path))
    other = InceptionExtractor(kind="inception", mode="pytorch-fid", weights=str(path))
    theirs = InceptionV3().eval()
    return {
        "dmtool tf1": load(config, "cpu"),
        "torch-fidelity": FeatureExtractorInceptionV3(
            "x", ["2048"], feature_extractor_weights_path=str(path)
        ),
        "dmtool pytorch-fid": load(other, "cpu"),
        "pytorch-fid": lambda images: theirs(images.float() / 255),
    }


def _torchvision() -> None:
    """Both libraries import it; of its operators, which want torch's very build, they need none."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in ("nms", "qnms"):
            library.define(f"torchvision::{name}", "(Tensor a, Tensor b, float c) -> Tensor")


@torch.inference_mode()
def _seconds(run: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def _ratios(by_name: dict[str, float], what: str) -> None:
    print(f"{what}, relative to: " + ", ".join(f"{n} {r:.2f}" for n, r in by_name.items()))


def _peak() -> float:
    """The largest resident set of this process so far, MB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["extraction", "solve", "memory"])
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what == "memory":
        return memory()
    _torchvision()
    return solve() if options.what == "solve" else extraction(options.pictures)


if __name__ == "__main__":
    main()
