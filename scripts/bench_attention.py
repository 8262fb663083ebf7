"""How much faster explicit attention trains than the fused kernel on this CPU, as a ratio.

    python scripts/bench_attention.py

`dmtool.nn.layers.attention` takes explicit products for gradients in half precision on a CPU.
Both ways are timed in turn, forward and backward, so that a drift of speed cancels out.
"""

import statistics
import time
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from dmtool.nn.layers import explicit_attention

SHAPES = [(64, 8, 16, 16, 24), (64, 8, 16, 20, 24), (64, 8, 64, 64, 16), (8, 8, 256, 256, 40)]
REPEATS = 15


def seconds(attend: Callable[[Tensor, Tensor, Tensor], Tensor], inputs: list[Tensor]) -> float:
    """The time of one forward and backward pass."""
    start = time.perf_counter()
    attend(*inputs).sum().backward()
    return time.perf_counter() - start


def main() -> None:
    print("batch heads queries keys width: fused / explicit, median (least - most)")
    for dtype, shape in product((torch.float32, torch.bfloat16), SHAPES):
        batch, heads, queries, keys, width = shape
        inputs = [
            torch.randn(batch, heads, n, width, dtype=dtype, requires_grad=True)
            for n in (queries, keys, keys)
        ]
        ratios = [
            seconds(scaled_dot_product_attention, inputs) / seconds(explicit_attention, inputs)
            for _ in range(REPEATS)
        ]
        shown = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})"
        print(f"{batch:5} {heads:5} {queries:7} {keys:4} {width:5} {dtype}: {shown}")


if __name__ == "__main__":
    main()
