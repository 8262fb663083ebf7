"""The upsampler's stage: crops of large pictures -> denoising loss, given the small picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dmtool import text
from dmtool.codecs import BINS
from dmtool.cond import Cond
from dmtool.config.stages import TrainUpsampler
from dmtool.data import source
from dmtool.data.batches import in_order
from dmtool.data.pictures import Pictures
from dmtool.data.quality import psnr
from dmtool.data.source import Source
from dmtool.data.transforms import to_tensor, to_uint8
from dmtool.diffusion import denoise, network
from dmtool.diffusion.network import TextShape
from dmtool.draw.sheet import tile
from dmtool.files.directories import Fill
from dmtool.train.batch import Batch
from dmtool.train.examples import Fixed, normals, uniforms
from dmtool.train.feed import Place, Shuffled
from dmtool.train.stage import Losses, Networks
from dmtool.train.stages.conditions import Captions, flat
from dmtool.train.stages.denoising import DenoisingStage, Times
from dmtool.train.start import data_card
from dmtool.upsamplers.diffusion import DiffusionUpsampler, augmented
from dmtool.upsamplers.upsampler import enlarge, shrink


def arguments(config: TrainUpsampler, text: TextShape) -> dict[str, Any]:
    """All arguments of the upsampler's U-Net."""
    return network.describe(
        config.upsampler,
        channels=3,
        text=text,
        images={"low_res": 3},
        levels=["low_res_level"],
        residual="low_res" if config.noise.prediction == "x0" else None,
    )


@dataclass(frozen=True, eq=False)
class UpsamplerBatch(Batch):
    """Crops uint8 [B, 3, H, W], their noise and that of the augmentation (their shape), the times
    [B] of both, and conditions."""

    on_host = frozenset({"t", "low_t"})

    image: Tensor
    eps: Tensor
    low_eps: Tensor
    t: Tensor
    low_t: Tensor
    cond: Cond


class UpsamplerExamples:
    """Batches of crops, their noise and times, and the augmentation's noise and times."""

    def __init__(
        self, pictures: Pictures, captions: Captions, config: TrainUpsampler, times: Times
    ) -> None:
        self.pictures, self.captions, self.config = pictures, captions, config
        self.times = times

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, places: Sequence[Place]) -> UpsamplerBatch:
        config = self.config
        times, augment, drop, pick = uniforms(config.seed, "upsampler", places, 4).unbind(1)
        images = torch.stack([self.pictures[place]["image"] for place in places])
        shape = tuple(images.shape[1:])
        return UpsamplerBatch(
            images,
            eps=normals(config.seed, "eps", places, shape),
            low_eps=normals(config.seed, "augment", places, shape),
            t=self.times(times, places),
            low_t=augment.double() * config.augmentation,
            cond=self.captions.cond(places, pick, drop < config.caption_dropout),
        )


class UpsamplerStage(DenoisingStage):
    """See `train.stage.Stage`."""

    name = TrainUpsampler.stage

    def __init__(
        self, config: TrainUpsampler, device: torch.device, loaded: Source | None = None
    ) -> None:
        self.config, self.resolution = config, config.resolution
        self.source = loaded or source.load(config.data)
        split = source.splits(self.source, config.data)
        encoder = self.heard(config, device, split)
        super().__init__(
            config, device, split, encoder,
            arguments=arguments(config, encoder), positions=config.resolution**2, bins=BINS,
        )  # fmt: skip
        crop = config.crop_size or config.resolution
        pictures = Pictures(split["train"], config.data, config.resolution, config.seed, crop)
        times = Times(config, self.denoiser)
        self.feed = Shuffled(UpsamplerExamples(pictures, self.captions, config, times), config.seed)
        self.held_out = Pictures(split[self.held], config.data, config.resolution, config.seed)
        self.held_out_captions = [row[0] if row else "" for row in split[self.held]["caption"]]
        self.text = text.away(encoder, flat(split["val"]["caption"]))

    def losses(self, player: str, models: Networks, batch: UpsamplerBatch) -> Losses:
        large = to_tensor(batch.image)
        denoiser = denoise.build(models[player], self.process)
        low = enlarge(shrink(large, self.config.factor), self.config.factor)
        extras = augmented(denoiser, low, batch.low_eps, batch.low_t)
        cond = batch.cond.with_extras(**extras)
        return self.objective(models[player], large, batch.eps, batch.t, cond)

    def validate(self) -> dict[str, float]:
        """PSNR of enlarged held-out pictures, and of bicubic enlargement beside it."""
        ours, bicubic = [], []
        for large, low, enlarged in self._enlarged(min(self.config.held_out, 64)):
            ours.append(psnr(large, enlarged))
            bicubic.append(psnr(large, low))
        means = {"val_psnr": torch.cat(ours).mean(), "val_psnr_bicubic": torch.cat(bicubic).mean()}
        return {name: value.item() for name, value in means.items()}

    def preview(self, path: Path) -> None:
        """Triples of columns: held-out picture, bicubic enlargement, the upsampler's."""
        triples = [torch.stack(triple, dim=1).flatten(0, 1) for triple in self._enlarged(16)]
        tile(torch.cat(triples), columns=6).save(path)

    def made(self, fixed: Fixed) -> Iterator[Tensor]:
        for rows, captions, images in fixed.batches():
            _, large = self._enlarge(rows, captions, images)
            yield from large

    def _enlarged(self, count: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        """uint8 batches on the CPU: held-out pictures, their bicubic and their own enlargement."""
        results = []
        for rows, images in in_order(self.held_out, self.config.batch_size, count):
            captions = [self.held_out_captions[row] for row in rows]
            results.append((images, *self._enlarge(rows, captions, images)))
        return results

    def _enlarge(
        self, rows: list[int], captions: list[str], images: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Pictures made small, and enlarged again: bicubic, and by the network."""
        config = self.config
        denoiser = denoise.build(self.network, self.process)
        level = config.sample_augmentation
        upsampler = DiffusionUpsampler(denoiser, self.text, config.factor, level, config.sampler)
        small = shrink(to_tensor(images.to(self.device)), config.factor)
        large = upsampler(small, captions, [(config.seed, row) for row in rows])
        return to_uint8(enlarge(small, config.factor)).cpu(), to_uint8(large).cpu()

    def card(self, folder: Path) -> tuple[dict[str, Any], Fill]:
        config = self.config
        card = {
            "role": config.role,
            "kind": DiffusionUpsampler.kind,
            "network": self.arguments,
            "resolution": config.resolution,
            "factor": config.factor,
            "augmentation": config.augmentation,
            "sample_augmentation": config.sample_augmentation,
            "consumes": "pictures",
            "produces": "pictures",
            "noise": self.process,
            "text": self.text.card(),
            "data": data_card(self.source, config.data, self.val_pictures),
            "parents": {},
        }
        return card, self.text.save
