"""What a training measures on held-out pictures on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from dmtool.config.base import Listed, Schema, Several
from dmtool.config.extractors import Extractor

Figures = dict[str, Callable[[float, float], float]]
"""Names of held-out figures, each with the function that picks the better of two: min or max."""

EVALUATED: dict[str, Figures] = {
    "fd": {"eval_fd": min},
    "kid": {"eval_kid": min},
    "manifold": {f"eval_{name}": max for name in ("precision", "recall", "density", "coverage")},
    "retrieval": {"eval_r@1": max, "eval_r@10": max},
}
"""The figures that each of `evaluate.metrics` gives."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Schema):
    """What `every.evaluate` measures: pictures for `count` captions of the val split.

    Measures of all pairs take `max_real` real pictures at most (null: all of them).
    """

    count: Annotated[int, Field(gt=1)]
    max_real: Several | None
    metrics: Annotated[list[Literal["fd", "kid", "manifold", "retrieval"]], Listed]
    extractor: Extractor
