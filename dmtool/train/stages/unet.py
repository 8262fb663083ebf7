"""The noise predictor's stage: (whitened latents or pixels, captions) -> denoising loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dmtool import codecs, runs, text
from dmtool.chain.pipeline import Pipeline
from dmtool.chain.request import Request
from dmtool.codecs import Codec
from dmtool.cond import Cond
from dmtool.config.stages import LatentShape, TrainUnet, TrainVae
from dmtool.data import source
from dmtool.data.batches import take
from dmtool.data.pictures import Pictures
from dmtool.data.source import Source
from dmtool.data.transforms import to_tensor
from dmtool.device import pick_dtype
from dmtool.diffusion import network
from dmtool.diffusion.sampling import settled
from dmtool.draw.sheet import contact_sheet
from dmtool.errors import UserError
from dmtool.files.directories import Fill
from dmtool.generators.diffusion import Diffusion
from dmtool.runs import Artifact
from dmtool.train.batch import Batch
from dmtool.train.examples import Fixed, normals, uniforms
from dmtool.train.feed import Place, Shuffled
from dmtool.train.stage import Losses, Networks
from dmtool.train.stages.conditions import Captions, flat
from dmtool.train.stages.denoising import DenoisingStage, Times
from dmtool.train.stages.objective import outputs
from dmtool.train.start import data_card


def autoencoder(config: TrainUnet) -> Artifact | None:
    """What makes the latents that a noise predictor is trained on, if it is not trained on pixels;
    UserError if there is none, or of another shape than `latent` says."""
    if config.codec == "pixels":
        return None
    vae = runs.find(config.from_.vae or config.run, TrainVae.stage, config.root)
    check_shape(vae, config.latent)
    return vae


def check_shape(vae: Artifact, wanted: LatentShape | None) -> None:
    """UserError if the autoencoder does not make what `latent` says."""
    made = LatentShape(channels=vae.card["latent"]["channels"], factor=vae.card["factor"])
    if wanted is not None and wanted != made:
        raise UserError(
            f"latent asks for {wanted.channels} channels at 1/{wanted.factor} of the size, and the "
            f"autoencoder in {vae.path} makes {made.channels} at 1/{made.factor}: take another "
            "one, or latent=null"
        )


class Clean:
    """The clean states x_0 [B, C, h, w] of given rows: latents from the cache, or pixels."""

    def __init__(
        self, pictures: Pictures, codec: Codec, key: dict[str, Any],
        device: torch.device, dtype: torch.dtype, flip: bool,
    ) -> None:  # fmt: skip
        self.pictures, self.flip = pictures, flip
        self.cached: list[codecs.Cached] = []
        if codec.space_id == "pixels":
            return
        for mirrored in (False, True) if flip else (False,):
            read, mirror_key = partial(self._read, mirrored), {**key, "mirrored": mirrored}
            count, pixels = len(pictures), pictures.resolution**2
            cached = codecs.cached(codec, read, count, pixels, mirror_key, device, dtype)
            self.cached.append(cached)

    def __len__(self) -> int:
        return len(self.pictures)

    def __call__(self, places: Sequence[Place], mirrored: Tensor) -> Tensor:
        if not self.cached:
            return to_tensor(torch.stack([self.pictures[place]["image"] for place in places]))
        flips = mirrored.long().tolist() if self.flip else [0] * len(places)
        rows = [self.cached[flip][row] for flip, (_, row) in zip(flips, places, strict=True)]
        return torch.stack(rows)

    def _read(self, mirrored: bool, rows: range) -> Tensor:
        images = take(self.pictures, rows)
        return to_tensor(images.flip(-1) if mirrored else images)


@dataclass(frozen=True, eq=False)
class UnetBatch(Batch):
    """Clean states x_0 [B, C, h, w], their noise of the same shape, times [B], and conditions."""

    on_host = frozenset({"t"})

    x_0: Tensor
    eps: Tensor
    t: Tensor
    cond: Cond


class UnetExamples:
    """Batches of x_0, eps, t and conditions, with captions dropped for guidance."""

    def __init__(self, clean: Clean, captions: Captions, config: TrainUnet, times: Times) -> None:
        self.clean, self.captions, self.config = clean, captions, config
        self.times = times

    def __len__(self) -> int:
        return len(self.clean)

    @property
    def pictures(self) -> Pictures | None:
        """What decodes the pictures; None where latents are read."""
        return None if self.clean.cached else self.clean.pictures

    def batch(self, places: Sequence[Place]) -> UnetBatch:
        config = self.config
        times, drop, pick, mirror = uniforms(config.seed, "unet", places, 4).unbind(1)
        x_0 = self.clean(places, mirror < 0.5)
        return UnetBatch(
            x_0,
            eps=normals(config.seed, "eps", places, tuple(x_0.shape[1:])),
            t=self.times(times, places),
            cond=self.captions.cond(places, pick, drop < config.caption_dropout),
        )


class UnetStage(DenoisingStage):
    """See `train.stage.Stage`."""

    name = TrainUnet.stage

    def __init__(
        self, config: TrainUnet, device: torch.device, loaded: Source | None = None
    ) -> None:
        self.config, self.dtype = config, pick_dtype(config.dtype, device)
        self.vae = autoencoder(config)
        self.codec = codecs.load(self.vae, device)
        self.space = codecs.continuous(self.codec.space)
        self.sampler = settled(config.sampler, pictures=self.vae is None)
        self.resolution = self._resolution()
        self.source = loaded or source.load(config.data)
        split = source.splits(self.source, config.data)
        encoder = self.heard(config, device, split)
        if encoder.dim and not flat(split["train"]["caption"]):
            raise UserError("the pictures have no captions: add some, or train with text=none")
        arguments = network.describe(
            config.unet, self.space.channels, encoder, outputs=outputs(config.noise)
        )
        positions = self._latent()["size"] ** 2
        super().__init__(
            config, device, split, encoder,
            arguments=arguments, positions=positions, bins=self.space.bins,
        )  # fmt: skip
        clean, times = self._clean(split["train"], "train"), Times(config, self.denoiser)
        self.feed = Shuffled(UnetExamples(clean, self.captions, config, times), config.seed)
        self.held_out = self._clean(split[self.held], self.held)
        self.held_out_captions = Captions(split[self.held]["caption"], encoder)
        self.text = text.away(encoder, config.preview.prompts, flat(split["val"]["caption"]))

    def _resolution(self) -> int:
        chosen = self.config.resolution
        trained = self.vae.card["resolution"] if self.vae else None
        if self.vae and chosen is not None and chosen != trained:
            raise UserError(
                f"resolution={chosen}, but the autoencoder in {self.vae.path} was trained on "
                f"{trained}: leave resolution=null, or train another autoencoder"
            )
        resolution = chosen or trained
        assert resolution is not None
        size = resolution // self.space.factor
        if size % self.config.unet.factor:
            raise UserError(
                f"the latent of {size} x {size} is not divisible by {self.config.unet.factor}, "
                "the unet's downsampling: take fewer unet.widths or a smaller unet.patch"
            )
        return resolution

    def _clean(self, dataset: Any, split: str) -> Clean:
        config = self.config
        if self.vae and config.data.crop != "center":
            raise UserError(
                "codec=vae encodes each picture once, which data.crop=random does not allow: "
                "take data.crop=center, or codec=pixels"
            )
        key: dict[str, Any] = {"data": self.source.fingerprint, "split": split}
        key |= {"val": config.data.val, "test": config.data.test}
        key |= {"resolution": self.resolution, "background": list(config.data.background)}
        key |= self.source.colours(config.data)
        still = config.data if self.vae is None else replace(config.data, flip=False)
        pictures = Pictures(dataset, still, self.resolution, config.seed)
        return Clean(pictures, self.codec, key, self.device, self.dtype, config.data.flip)

    def losses(self, player: str, models: Networks, batch: UnetBatch) -> Losses:
        return self.objective(models[player], batch.x_0, batch.eps, batch.t, batch.cond)

    def validate(self) -> dict[str, float]:
        """The held-out loss at evenly spread times and fixed noise, uniformly weighted."""
        config, total, count = self.config, 0.0, min(self.config.held_out, len(self.held_out))
        for start in range(0, count, config.batch_size):
            rows = range(start, min(start + config.batch_size, count))
            places = [(row, row) for row in rows]
            x_0 = self.held_out(places, torch.zeros(len(places))).to(self.device)
            eps = normals(config.seed, "held out", places, tuple(x_0.shape[1:])).to(self.device)
            t = (torch.tensor(list(rows), dtype=torch.float64) * GOLDEN % 1).clamp(0.001, 0.999)
            cond = self.held_out_captions.cond(places).to(self.device)
            total += self.denoiser.loss(x_0, eps, t, cond, None).sum().item()
        return {"val_loss": total / count}

    def made(self, fixed: Fixed) -> Iterator[Tensor]:
        """The pictures that `eval-fid` would sample with the same seed and settings."""
        keys = [(self.config.seed, row) for row in fixed.rows]
        requests = map(Request, fixed.captions, keys)
        return (picture.pixels for picture in self._pipeline().pictures(requests))

    def preview(self, path: Path) -> None:
        """The fixed prompts with fixed seeds, as they are sampled."""
        config = self.config
        pipeline = self._pipeline()
        prompts = config.preview.prompts if self.text.dim else [""] * 8
        requests = [Request(prompt, (config.preview.seed, 0)) for prompt in prompts]
        images = [picture.image() for picture in pipeline.pictures(requests)]
        contact_sheet(images, prompts, columns=4, scale=max(1, 128 // self.resolution)).save(path)

    def _pipeline(self) -> Pipeline:
        config = self.config
        generator = Diffusion(
            name=config.run,
            card={
                "resolution": self.resolution,
                "latent": self._latent(),
                "space_id": self.codec.space_id,
            },
            denoiser=self.denoiser,
            text=self.text,
            sampler=self.sampler,
            guidance=config.guidance,
            device=self.device,
        )
        return Pipeline(
            generator=generator,
            codec=self.codec,
            upsampler=None,
            device=self.device,
            dtype=self.dtype,
            batch_size=config.batch_size,
        )

    def _latent(self) -> dict[str, int]:
        size = self.resolution // self.space.factor
        return {"channels": self.space.channels, "size": size}

    def card(self, folder: Path) -> tuple[dict[str, Any], Fill]:
        card = {
            "role": self.config.role,
            "kind": Diffusion.kind,
            "network": self.arguments,
            "resolution": self.resolution,
            "latent": self._latent(),
            "space_id": self.codec.space_id,
            "consumes": "captions",
            "produces": "pictures" if self.vae is None else "latents",
            "noise": self.process,
            "text": self.text.card(),
            "data": data_card(self.source, self.config.data, self.val_pictures),
            "parents": {"vae": self.vae.reference(folder)} if self.vae else {},
        }
        return card, self.text.save


GOLDEN = 0.6180339887498949
"""Multiples of the golden ratio's fraction spread evenly over [0, 1)."""
