"""How much faster explicit attention is than the fused kernel on this CPU, as a ratio.

    python scripts/bench_attention.py

`dmtool.nn.layers.attention` chooses by it. Both ways are timed in turn, so that a drift of speed
cancels out, in processor time of one thread, forward alone (f) and forward and backward (fb).
"""

import statistics
import time
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from dmtool.nn.layers import explicit_attention

TOKENS = [(16, 16), (64, 20), (64, 64), (256, 20), (256, 256), (1024, 20), (1024, 1024)]
HEAD_WIDTHS = [16, 32, 64]
DTYPES = [torch.float32, torch.bfloat16]
REPEATS = 9
SCORES = 2**22
"""Values in the matrix of scores of one call, at most: batch times heads follow from it."""

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def forward(attend: Attend, inputs: list[Tensor]) -> float:
    """The time of one forward pass, in seconds."""
    start = time.thread_time()
    with torch.no_grad():
        attend(*inputs)
    return time.thread_time() - start


def forward_backward(attend: Attend, inputs: list[Tensor]) -> float:
    """The time of one forward and backward pass, in seconds."""
    start = time.thread_time()
    attend(*inputs).sum().backward()
    return time.thread_time() - start


def ratios(measure: Callable[[Attend, list[Tensor]], float], inputs: list[Tensor]) -> str:
    """Fused / explicit: the median, and the least and the most."""
    found = [
        measure(scaled_dot_product_attention, inputs) / measure(explicit_attention, inputs)
        for _ in range(REPEATS)
    ]
    return f"{statistics.median(found):5.2f} ({min(found):.2f} - {max(found):.2f})"


def main() -> None:
    torch.set_num_threads(1)
    print("queries keys head dtype           batch x heads: fused / explicit f, fb")
    for dtype, (queries, keys), width in product(DTYPES, TOKENS, HEAD_WIDTHS):
        many = max(4, min(256, SCORES // (queries * keys)))
        inputs = [
            torch.randn(many // 4, 4, n, width, dtype=dtype, requires_grad=True)
            for n in (queries, keys, keys)
        ]
        shown = ratios(forward, inputs), ratios(forward_backward, inputs)
        print(f"{queries:7} {keys:4} {width:4} {dtype!s:15} {many:5}:", *shown, flush=True)


if __name__ == "__main__":
    main()
