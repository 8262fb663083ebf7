"""From prompts to pictures: text -> noise predictor -> decoder -> upsampler.

Everything a stage needs to know of another stands in its artifact's card; what does not fit is
refused with both values named.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from dmtool import runs, text
from dmtool.chain.edit import Edit
from dmtool.chain.request import Request
from dmtool.codecs import latents
from dmtool.codecs.latents import Codec
from dmtool.cond import Cond
from dmtool.config.guidance import Guidance
from dmtool.config.sampling import Sampler
from dmtool.config.using import Use
from dmtool.data.transforms import to_image, to_uint8
from dmtool.device import autocast, pick_device, pick_dtype
from dmtool.diffusion import denoise, guiding, network
from dmtool.diffusion.denoise import Denoise, Denoiser
from dmtool.diffusion.guidance import Bad, Tally
from dmtool.diffusion.network import NoisePredictor, condition
from dmtool.diffusion.samplers import Known, Step, last
from dmtool.diffusion.sampling import settled, thresholded, times, trajectory
from dmtool.errors import UserError
from dmtool.runs import Artifact, fitting
from dmtool.text import TextEncoder
from dmtool.text.blend import Prompt
from dmtool.upsamplers.diffusion import Upsampler


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


@dataclass(frozen=True)
class BadModel:
    """The noise predictor that autoguidance leads away from."""

    denoiser: Denoiser
    text: TextEncoder
    sha256: str


@dataclass
class Pipeline:
    """The chain of a run's artifacts, ready to sample."""

    card: dict[str, Any]
    denoiser: Denoiser
    text: TextEncoder
    codec: Codec
    upsampler: Upsampler | None
    sampler: Sampler
    guidance: Guidance
    device: torch.device
    dtype: torch.dtype
    batch_size: int
    bad: BadModel | None = None
    perturbed: Denoiser | None = None

    def __post_init__(self) -> None:
        self.sampler = settled(self.sampler, pictures=self.codec.space_id == "pixels")

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
            steps = deque(self.steps(requests), maxlen=None if film else 1)
            small = self.codec.decode(steps[-1].x).clamp(-1, 1)
            if requests[0].edit is not None:
                small = requests[0].edit.pasted(small)
            states = [step.x for step in steps] + [step.x_0 for step in steps]
            frames = [to_uint8(self.codec.decode(z)).cpu() for z in states] if film else None
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

    def steps(self, requests: Sequence[Request]) -> Iterator[Step]:
        """The noise predictor's steps for one batch, whose pictures have the same edit, or none."""
        prompts = [request.prompt for request in requests]
        cond = condition(self.denoiser.network, self.text, prompts, self.device)
        denoiser = self._guided(requests, prompts)
        latent, edit = self.card["latent"], requests[0].edit
        shape = (latent["channels"], latent["size"], latent["size"])
        keys = [request.key for request in requests]
        pixels = latent["size"] * self.codec.factor
        given = None if edit is None else edit.given(self.codec, pixels, self.device)
        return trajectory(denoiser, cond, shape, keys, self.sampler, "sample", self.device, given)

    def _guided(self, requests: Sequence[Request], prompts: list[Prompt]) -> Denoise:
        negative, bad = Cond(), None
        if self.guidance.scale != 1:
            words = [request.negative for request in requests]
            negative = condition(self.denoiser.network, self.text, words, self.device)
        if self.bad is not None:
            other = self.bad.denoiser
            bad = Bad(other, condition(other.network, self.bad.text, prompts, self.device))
        guided = guiding.build(self.guidance, self.denoiser, negative, bad, self.perturbed)
        return thresholded(guided, self.sampler)

    def network_evaluations(self, edit: Edit | None = None) -> int:
        """How often a network is evaluated for a picture: counted on a model that costs nothing."""
        return self._counted(self.guidance, edit)

    def calls(self, edit: Edit | None = None) -> int:
        """How often the noise predictor is called for a picture: a guided pair counts once."""
        return self._counted(None, edit)

    def _counted(self, config: Guidance | None, edit: Edit | None) -> int:
        tally = Tally(self.denoiser.schedule)
        bad = Bad(tally, Cond()) if self.bad else None
        perturbed = tally if self.perturbed else None
        denoiser: Denoise = tally
        if config is not None:
            denoiser = guiding.build(config, tally, Cond(), bad, perturbed)
        cpu, given = torch.device("cpu"), _walked(edit)
        last(trajectory(denoiser, Cond(), (2,), [(0, 0)], self.sampler, "count", cpu, given))
        return tally.evaluations

    def settings(self, edit: Edit | None = None) -> dict[str, Any]:
        """What a figure or a PNG must say of how it was made."""
        walked = times(self.sampler, self.denoiser.schedule, _walked(edit))
        return {
            "sampler": asdict(self.sampler),
            "steps": int((walked.diff() < 0).sum()),
            "calls": self.calls(edit),
            "network_evaluations": self.network_evaluations(edit),
            "guidance": asdict(self.guidance),
            "bad": self.bad.sha256 if self.bad else None,
            "checkpoint": self.card["sha256"],
            "pictures_seen": self.card["pictures_seen"],
            "dtype": str(self.dtype).removeprefix("torch."),
            "upsampled": self.upsampler is not None,
        } | ({} if edit is None else {"edit": edit.settings})


def _walked(edit: Edit | None) -> Known | None:
    return None if edit is None else edit.walk(torch.zeros(1))


def load(config: Use) -> Pipeline:
    """The chain that a config names; UserError if a part is missing or does not fit."""
    device = pick_device(config.device)
    artifact = runs.find(config.from_.unet or config.run, "unet", config.root, config.artifact)
    denoiser, encoder = load_denoiser(artifact, device)
    return Pipeline(
        card=artifact.card,
        denoiser=denoiser,
        text=encoder,
        codec=load_codec(artifact, device),
        upsampler=find_upsampler(config, artifact.card["resolution"], device),
        sampler=config.sampler,
        guidance=_guidance(config.guidance, encoder),
        device=device,
        dtype=pick_dtype(config.dtype, device),
        batch_size=config.batch_size,
        bad=find_bad(config, artifact, denoiser, device),
        perturbed=perturbed(config.guidance, denoiser),
    )


def _guidance(config: Guidance, encoder: TextEncoder) -> Guidance:
    return config if encoder.dim else replace(config, scale=1.0)


def perturbed(config: Guidance, denoiser: Denoiser) -> Denoiser | None:
    """The noise predictor that perturbed-attention guidance leads away from, if there is any;
    UserError if it has no self-attention there."""
    if not config.perturbed.scale:
        return None
    assert isinstance(denoiser.network, NoisePredictor)
    try:
        worse = network.perturbed(denoiser.network, config.perturbed.levels)
    except ValueError as error:
        raise UserError(f"guidance.perturbed.levels: {error}") from error
    return replace(denoiser, network=worse)


def find_bad(
    config: Use, good: Artifact, guided: Denoiser, device: torch.device
) -> BadModel | None:
    """The artifact that `guidance.bad` names, if any; UserError if it does not fit."""
    name, run = config.guidance.bad, config.from_.bad or config.from_.unet or config.run
    if name is None:
        return None
    bad = runs.find(run, "unet", config.root, name)
    if bad.card["sha256"] == good.card["sha256"]:
        raise UserError(f"guidance.bad={name} is the very model that it guides: name a worse one")
    for key in ("space_id", "latent"):
        if bad.card[key] != good.card[key]:
            raise UserError(
                f"guidance.bad: {bad.path} has the {key} {bad.card[key]}, {good.path} has "
                f"{good.card[key]}: name an artifact of the same latents, e.g. an earlier one"
            )
    denoiser, encoder = load_denoiser(bad, device)
    times = torch.linspace(0, 1, 9, dtype=torch.float64)
    levels, theirs = (torch.stack(each.schedule(times)) for each in (guided, denoiser))
    if not torch.equal(levels, theirs):
        raise UserError(
            f"guidance.bad: {bad.path} has the noise of {bad.card['noise']}, {good.path} that of "
            f"{good.card['noise']}: name an artifact of the same schedule"
        )
    return BadModel(denoiser, encoder, bad.card["sha256"])


def load_denoiser(artifact: Artifact, device: torch.device) -> tuple[Denoiser, TextEncoder]:
    """The denoiser of an artifact and the text encoder that it was trained with."""
    card = artifact.card
    encoder = text.from_card(card["text"], device, artifact.path)
    predictor = fitting.loaded(artifact, lambda: network.build(card["network"], encoder))
    predictor.to(device).eval().requires_grad_(False)
    return denoise.build(network.Sampling(predictor), card["noise"]), encoder


def load_codec(artifact: Artifact, device: torch.device) -> Codec:
    """The decoder of the space that a noise predictor was trained in."""
    if "vae" not in artifact.card["parents"]:
        return latents.load(None, device)
    codec, card = latents.load(parent_vae(artifact), device), artifact.card
    made = codec.factor * card["latent"]["size"]
    if (codec.channels, made) != (card["latent"]["channels"], card["resolution"]):
        raise UserError(
            f"{artifact.path} paints {card['latent']} for pictures of {card['resolution']}, and "
            f"its autoencoder makes {codec.channels} channels at 1/{codec.factor} of the size"
        )
    return codec


def parent_vae(artifact: Artifact) -> Artifact:
    """The autoencoder that a noise predictor was trained on; UserError if it is another now."""
    vae = runs.parent(artifact, "vae")
    check_space(vae, artifact.card, artifact.path)
    return vae


def check_space(vae: Artifact, card: dict[str, Any], place: Path) -> None:
    """UserError if what has this card, and stands there, was trained in another latent space."""
    now, then = vae.card["space_id"], card["space_id"]
    if now != then:
        raise UserError(
            f"{vae.path.resolve()} has the latent space {now}, but {place} was trained on "
            f"{then}: train it again, or put that autoencoder back"
        )


def find_upsampler(config: Use, resolution: int, device: torch.device) -> Upsampler | None:
    """The upsampler that pictures go through; UserError if it does not fit."""
    artifact = upsampler_artifact(config)
    if artifact is None:
        return None
    check_upsampler(artifact, resolution)
    return load_upsampler(artifact, config.upsample.augmentation, config.upsample.sampler, device)


def upsampler_artifact(config: Use) -> Artifact | None:
    """The upsampler named in `from.upsampler`, or the run's, if it is wanted and there."""
    if config.upsample.use == "never":
        return None
    run = config.from_.upsampler or config.run
    folder = runs.run_dir(run, config.root) / "upsampler" / "artifacts"
    named = config.upsample.use == "always" or config.from_.upsampler is not None
    if not named and not folder.is_dir():
        return None
    return runs.find(run, "upsampler", config.root, config.upsample.artifact)


def check_upsampler(artifact: Artifact, resolution: int) -> None:
    """Refuse an upsampler that was trained to enlarge pictures of another size."""
    small = artifact.card["resolution"] // artifact.card["factor"]
    if small != resolution:
        raise UserError(
            f"{artifact.path} enlarges pictures of {small} pixels, the noise predictor makes "
            f"{resolution}: train another upsampler, or leave it out with upsample.use=never"
        )


def load_upsampler(
    artifact: Artifact, augmentation: float | None, sampler: Sampler, device: torch.device
) -> Upsampler:
    """The upsampler of an artifact; `augmentation`: None is its own."""
    denoiser, encoder = load_denoiser(artifact, device)
    level = artifact.card["sample_augmentation"] if augmentation is None else augmentation
    if level > artifact.card["augmentation"]:
        raise UserError(
            f"an augmentation of {level} is above {artifact.card['augmentation']}, the most "
            f"that {artifact.path} was trained with"
        )
    return Upsampler(denoiser, encoder, artifact.card["factor"], level, sampler)
