"""`dmtool eval-nll`: how probable real pictures are to a generator, given their captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from dmtool import processes, runs
from dmtool.codecs import Codec, load_codec
from dmtool.config.using import EvalNll
from dmtool.data.batches import batches
from dmtool.data.transforms import to_tensor
from dmtool.device import autocast, pick_dtype
from dmtool.generators import kinds
from dmtool.generators.generator import Bits, Density, HasDensity, needed
from dmtool.measure import real_pictures
from dmtool.measure.likelihood import nll_report
from dmtool.measure.real_pictures import RealPictures
from dmtool.measure.result_file import place, publish


def run(config: EvalNll, out: Path | None) -> None:
    """Measure, write and print the likelihood of the chosen pictures.

    Each picture is measured by one process, its noise drawn from (seed, row) alone.
    """
    with processes.of(config) as (group, device):
        artifact = runs.generator(config)
        model = needed(kinds.load(artifact, device), HasDensity, "eval-nll")
        codec = load_codec(artifact, device)
        density = model.density(config, codec.space)
        run, size = config.from_.unet or config.run, artifact.card["resolution"]
        real = real_pictures.of_run(
            artifact.card, runs.run_dir(run, config.root) / "unet", config.data, size
        )
        mine = group.share(real.rows(config.count, config.split))
        bits = DensityMeter(config, density, codec, device).bits(real, mine)
        bar = tqdm(bits, total=len(mine), desc="measuring", unit="pic", disable=group.silent)
        figures = group.merge(list(bar))
        if group.main:
            result = nll_report.result(config, artifact, codec.space, density, figures)
            path = out or place(config, f"nll-{config.split}")
            publish(result, nll_report.summary(result, density), path)


@dataclass(frozen=True)
class DensityMeter:
    """A density, and the codec of the space that it is over."""

    config: EvalNll
    density: Density
    codec: Codec
    device: torch.device

    def bits(self, real: RealPictures, rows: Sequence[int]) -> Iterator[Bits]:
        """Those of each picture, `batch_size` of them at a time."""
        dtype = pick_dtype(self.config.dtype, self.device)
        for part, pictures in batches(real.pictures, rows, self.config.batch_size):
            captions = [real.captions[row] for row in part]
            keys = [(self.config.seed, row) for row in part]
            with autocast(self.device, dtype), torch.no_grad():
                codes = self.codec.encode(to_tensor(pictures.to(self.device)))
                found = self.density.bits(codes, captions, keys)
            for i in range(len(part)):
                yield {name: values[i].cpu().double() for name, values in found.items()}
