"""Figures of the pictures that a stage makes, while it trains."""

from __future__ import annotations

import numpy as np
import torch

from dmtool.evaluate import extractors, features, generated, reals
from dmtool.schemas import Train
from dmtool.train.examples import Fixed
from dmtool.train.stage import Stage


class Evaluation:
    """What `every.evaluate` measures: a stage's pictures against all pictures of the set.

    The examples are evenly spread over the val split (or train, if that has none).
    """

    def __init__(self, config: Train, stage: Stage, device: torch.device) -> None:
        chosen = config.evaluate
        self.config = config
        self.extractor = extractors.load(chosen.extractor, device)
        real = reals.of_source(stage.source, config.data, stage.resolution)
        self.real = real.features(self.extractor, config.batch_size)
        rows = real.rows(chosen.count, "val" if len(real.of("val")) > 1 else "train")
        captions = [real.captions[row] for row in rows]
        self.fixed = Fixed(rows, captions, real.pictures, config.batch_size)

    def __call__(self, stage: Stage) -> dict[str, float]:
        """`eval_fd` and the like, of the network as it is."""
        made = stage.made(self.fixed)
        fake = features.extract(self.extractor, made, self.config.batch_size)
        alike = [""] * len(self.real)  # no groups of captions
        wanted, truth = self.config.evaluate.metrics, np.array(self.fixed.rows)
        found = generated.evaluate(fake, self.real, truth, alike, wanted, self.config.seed)["all"]
        return {name: found[name.removeprefix("eval_")] for name in self.config.evaluated}
