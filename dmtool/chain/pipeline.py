"""From prompts to pictures: generator -> decoder -> upsampler.

Everything a stage needs to know of another stands in its artifact's card; what does not fit is
refused with both values named.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from dmtool import runs
from dmtool.chain.edit import Edit
from dmtool.chain.request import Request
from dmtool.codecs import Codec, load_codec
from dmtool.config.stages import TrainUpsampler
from dmtool.config.using import Use
from dmtool.data.transforms import to_image, to_uint8
from dmtool.device import autocast, pick_device, pick_dtype
from dmtool.errors import UserError
from dmtool.generators import kinds as generators
from dmtool.generators.generator import Editable, Generator, Painting, needed
from dmtool.runs import Artifact
from dmtool.upsamplers import kinds as upsamplers
from dmtool.upsamplers.upsampler import Upsampler


@dataclass(frozen=True)
class Picture:
    """A picture that was made: uint8 [3, H, W], before the upsampler in `small`.

    `film`, if it was asked for, holds the decoded states from noise to picture, uint8 [S, 3, H, W],
    and below them the decoded estimates of the clean picture, [2 S, 3, H, W] in all.
    """

    request: Request
    pixels: Tensor
    small: Tensor
    film: Tensor | None = None

    def image(self) -> Image.Image:
        return to_image(self.pixels)


@dataclass
class Pipeline:
    """The chain of a run's artifacts, ready to sample."""

    generator: Generator
    codec: Codec
    upsampler: Upsampler | None
    device: torch.device
    dtype: torch.dtype
    batch_size: int

    @property
    def card(self) -> dict[str, Any]:
        """The generator's."""
        return self.generator.card

    def sample(
        self,
        prompt: str,
        n: int = 1,
        seed: int = 0,
        negative: str = "",
        edit: Edit | None = None,
    ) -> list[Image.Image]:
        """`n` pictures of a prompt; picture i depends on (seed, i) alone, and on what is edited."""
        requests = [Request(prompt, (seed, i), negative, edit) for i in range(n)]
        return [picture.image() for picture in self.pictures(requests)]

    def pictures(self, requests: Iterable[Request], film: bool = False) -> Iterator[Picture]:
        """Pictures in the order of their requests, made `batch_size` at a time."""
        for _, alike in groupby(requests, lambda request: request.edit):
            while batch := list(islice(alike, self.batch_size)):
                yield from self._batch(batch, film)

    @torch.inference_mode()
    def _batch(self, requests: list[Request], film: bool) -> list[Picture]:
        with autocast(self.device, self.dtype):
            states = deque(self.steps(requests), maxlen=None if film else 1)
            small = self.codec.decode(states[-1].x).clamp(-1, 1)
            if requests[0].edit is not None:
                small = requests[0].edit.pasted(small)
            codes = [state.x for state in states] + [state.x_0 for state in states]
            frames = [to_uint8(self.codec.decode(z)).cpu() for z in codes] if film else None
            large = self._enlarged(small, requests)
        pairs = zip(requests, to_uint8(large).cpu(), to_uint8(small).cpu(), strict=True)
        return [
            Picture(request, pixels, low, torch.stack([f[i] for f in frames]) if frames else None)
            for i, (request, pixels, low) in enumerate(pairs)
        ]

    def _enlarged(self, small: Tensor, requests: Sequence[Request]) -> Tensor:
        """The pictures as the upsampler, if any, enlarges them; what is known it keeps as well."""
        if self.upsampler is None:
            return small
        prompts = [request.prompt for request in requests]
        keys, edit = [request.key for request in requests], requests[0].edit
        if edit is None:
            return self.upsampler(small, prompts, keys)
        known = edit.known(small.shape[-1] * self.upsampler.factor, self.device)
        return edit.pasted(self.upsampler(small, prompts, keys, known))

    def steps(self, requests: Sequence[Request]) -> Iterator[Painting]:
        """The generator's states for one batch, whose pictures have the same edit, or none."""
        edit = requests[0].edit
        if edit is None:
            return self.generator.paint(requests)
        given = edit.given(self.codec, self.card["resolution"], self.device)
        return self._editable().edited(given).paint(requests)

    def _editable(self) -> Editable:
        return needed(self.generator, Editable, "--init")

    def painter(self, edit: Edit | None) -> Generator:
        """The generator as it goes through such an edit's steps, to ask it what they are."""
        if edit is None:
            return self.generator
        return self._editable().edited(edit.walk(torch.zeros(1)))

    def settings(self, edit: Edit | None = None) -> dict[str, Any]:
        """What a figure or a PNG must say of how it was made."""
        return {
            **self.painter(edit).settings(),
            "dtype": str(self.dtype).removeprefix("torch."),
            "upsampled": self.upsampler is not None,
        } | ({} if edit is None else {"edit": edit.settings})


def load(config: Use) -> Pipeline:
    """The chain that a config names; UserError if a part is missing or does not fit."""
    device = pick_device(config.device)
    artifact = runs.generator(config)
    return Pipeline(
        generator=generators.load(artifact, device).generator(config),
        codec=load_codec(artifact, device),
        upsampler=find_upsampler(config, artifact.card["resolution"], device),
        device=device,
        dtype=pick_dtype(config.dtype, device),
        batch_size=config.batch_size,
    )


def find_upsampler(config: Use, resolution: int, device: torch.device) -> Upsampler | None:
    """The upsampler that pictures go through; UserError if it does not fit."""
    artifact = upsampler_artifact(config)
    if artifact is None:
        return None
    check_upsampler(artifact, resolution)
    how = config.upsample
    return upsamplers.load(artifact, how.augmentation, how.sampler, device)


def upsampler_artifact(config: Use) -> Artifact | None:
    """The upsampler named in `from.upsampler`, or the run's, if it is wanted and there."""
    if config.upsample.use == "never":
        return None
    run = config.from_.upsampler or config.run
    stage = TrainUpsampler.stage
    folder = runs.run_dir(run, config.root) / stage / "artifacts"
    named = config.upsample.use == "always" or config.from_.upsampler is not None
    if not named and not folder.is_dir():
        return None
    return runs.find(run, stage, config.root, config.upsample.artifact)


def check_upsampler(artifact: Artifact, resolution: int) -> None:
    """Refuse an upsampler that was trained to enlarge pictures of another size."""
    small = artifact.card["resolution"] // artifact.card["factor"]
    if small != resolution:
        raise UserError(
            f"{artifact.path} enlarges pictures of {small} pixels, the noise predictor makes "
            f"{resolution}: train another upsampler, or leave it out with upsample.use=never"
        )
