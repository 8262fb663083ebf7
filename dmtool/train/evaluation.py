"""Figures of the pictures that a stage makes, while it trains."""

from __future__ import annotations

import numpy as np
import torch

from dmtool.config.training import Train
from dmtool.data import source
from dmtool.measure import generated, real_pictures
from dmtool.measure.distances.lot import Lot
from dmtool.measure.features import extractors, features
from dmtool.measure.generated import Reference
from dmtool.train.examples import Fixed
from dmtool.train.stage import Stage


class Evaluation:
    """What `every.evaluate` measures: a stage's pictures against all pictures of the set.

    The examples are evenly spread over the val split (or train, if that has none).
    """

    def __init__(self, config: Train, stage: Stage, device: torch.device) -> None:
        chosen, batch_size = config.evaluate, config.batch_size
        self.config = config
        self.extractor = extractors.load(chosen.extractor, device)
        known = real_pictures.of_data(config.data, stage.resolution)
        self.real = known.features(self.extractor, batch_size)
        self.lot = Lot(known.keys, chosen.max_real, config.seed)
        rows = known.rows(chosen.count, source.held_out(len(known.of("val")), least=2))
        captions = [known.captions[row] for row in rows]
        self.fixed = Fixed(rows, captions, known.pictures, batch_size)

    def __call__(self, stage: Stage) -> dict[str, float]:
        """`eval_fd` and the like, of the network as it is."""
        made = stage.made(self.fixed)
        fake = features.extract(self.extractor, made, self.config.batch_size)
        alike = Reference(self.real, [""] * len(self.real), self.lot)  # no groups of captions
        wanted, truth = self.config.evaluate.metrics, np.array(self.fixed.rows)
        found = generated.evaluate(fake, alike, truth, wanted, self.config.seed)["all"]
        return {name: found[name.removeprefix("eval_")] for name in self.config.evaluated}
