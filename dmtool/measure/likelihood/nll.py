"""`dmtool eval-nll`: how probable real pictures are to a noise predictor, given their captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from dmtool import processes, runs
from dmtool.codecs.latents import Codec
from dmtool.codecs.parents import load_codec
from dmtool.cond import Cond
from dmtool.config.using import EvalNll, FlowLikelihood, VariationalBound
from dmtool.data.batches import batches
from dmtool.data.transforms import to_tensor
from dmtool.device import autocast, pick_device, pick_dtype
from dmtool.diffusion.denoise import Denoiser
from dmtool.diffusion.likelihood import flow_likelihood, variational_bound
from dmtool.diffusion.network import condition
from dmtool.diffusion.samplers import PictureNoise
from dmtool.diffusion.sampling import grid
from dmtool.diffusion.trained import load_denoiser
from dmtool.files.atomic import write_json
from dmtool.measure import real_pictures
from dmtool.measure.likelihood import nll_report
from dmtool.measure.likelihood.nll_report import Figures
from dmtool.measure.real_pictures import RealPictures
from dmtool.say import say
from dmtool.text import TextEncoder


def run(config: EvalNll, out: Path | None) -> None:
    """Measure, write and print the likelihood of the chosen pictures.

    Each picture is measured by one process, its noise drawn from (seed, row) alone.
    """
    device = pick_device(config.device)
    with processes.started(device, config.timeout) as group:
        artifact = runs.find(config.from_.unet or config.run, "unet", config.root, config.artifact)
        denoiser, text = load_denoiser(artifact, device)
        model = Model(config, denoiser, text, load_codec(artifact, device), device)
        run, size = config.from_.unet or config.run, artifact.card["resolution"]
        real = real_pictures.of_run(
            artifact.card, runs.run_dir(run, config.root) / "unet", config.data, size
        )
        mine = group.share(real.rows(config.count, config.split))
        bar = tqdm(model.figures(real, mine), total=len(mine), desc="measuring", unit="pic",
                   disable=group.silent)  # fmt: skip
        figures = group.merge(list(bar))
        if group.main:
            result = nll_report.result(config, artifact, denoiser, model.codec, figures)
            folder = runs.run_dir(config.run, config.root) / "eval"
            path = out or folder / f"nll-{config.split}.json"
            write_json(path, result)
            say(nll_report.summary(result))
            say(f"written to {path}")


@dataclass(frozen=True)
class Model:
    """A noise predictor, without guidance, and the space that it works in."""

    config: EvalNll
    denoiser: Denoiser
    text: TextEncoder
    codec: Codec
    device: torch.device

    def figures(self, real: RealPictures, rows: Sequence[int]) -> Iterator[Figures]:
        """The figures of each picture, `batch_size` of them at a time."""
        for part, pictures in batches(real.pictures, rows, self.config.batch_size):
            found = self._batch(pictures, [real.captions[row] for row in part], part)
            for i in range(len(part)):
                yield {name: values[i].cpu().double() for name, values in found.items()}

    def _batch(self, images: Tensor, captions: list[str], rows: Sequence[int]) -> Figures:
        config = self.config
        with autocast(self.device, pick_dtype(config.dtype, self.device)), torch.no_grad():
            x_0 = self.codec.encode(to_tensor(images.to(self.device)))
            cond = condition(self.denoiser.network, self.text, captions, self.device)
            found = self._bound(config.bound, x_0, cond, rows) if config.bound else {}
            return found | (self._flow(config.flow, x_0, cond, rows) if config.flow else {})

    def _bound(
        self, config: VariationalBound, x_0: Tensor, cond: Cond, rows: Sequence[int]
    ) -> Figures:
        times = grid(config.grid, config.steps, self.denoiser.schedule)
        found = variational_bound(
            self.denoiser,
            x_0,
            cond,
            times,
            variance=nll_report.chosen_variance(config, self.denoiser),
            noise=self._noise("bound", rows),
            bins=self.codec.bins,
        )
        return found._asdict()

    def _flow(
        self, config: FlowLikelihood, x_0: Tensor, cond: Cond, rows: Sequence[int]
    ) -> Figures:
        if self.codec.bins:
            uniform = torch.special.ndtr(self._noise("dequantise", rows)(x_0))
            x_0 = x_0 + (uniform - 0.5) * self.codec.bins
        draw = self._noise("probes", rows)
        probes = [draw(x_0) for _ in range(config.probes)]
        if config.probe == "rademacher":
            probes = [torch.where(probe < 0, -1.0, 1.0) for probe in probes]
        found = flow_likelihood(
            self.denoiser,
            x_0,
            cond,
            steps=config.steps,
            low=config.low,
            high=config.high,
            probes=probes,
        )
        return {"flow": found}

    def _noise(self, purpose: str, rows: Sequence[int]) -> PictureNoise:
        return PictureNoise([(self.config.seed, purpose, row) for row in rows])
