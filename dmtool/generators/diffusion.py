"""Generators that denoise: a noise predictor, the steps of a sampler, and what guides them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch

from dmtool import runs
from dmtool.codecs import Space, continuous
from dmtool.cond import Cond
from dmtool.config.guidance import Guidance
from dmtool.config.sampling import Sampler
from dmtool.config.stages import TrainUnet
from dmtool.config.using import EvalNll, Use
from dmtool.diffusion import guiding, network
from dmtool.diffusion.denoise import Denoise, Denoiser
from dmtool.diffusion.guidance import Bad, Tally
from dmtool.diffusion.network import NoisePredictor, condition
from dmtool.diffusion.noise import Schedule
from dmtool.diffusion.samplers import Known, Step, last
from dmtool.diffusion.sampling import settled, thresholded, times, trajectory
from dmtool.diffusion.trained import load_denoiser
from dmtool.errors import UserError
from dmtool.generators.density import DiffusionDensity
from dmtool.generators.generator import Prompted
from dmtool.runs import Artifact
from dmtool.say import counted
from dmtool.text import TextEncoder
from dmtool.text.blend import Prompt
from dmtool.text.encoder import Wrap


@dataclass(frozen=True)
class DiffusionModel:
    """A trained noise predictor and what it hears by, see `generator.Trained` and `HasDensity`."""

    artifact: Artifact
    denoiser: Denoiser
    text: TextEncoder
    device: torch.device

    kind: ClassVar[str] = "diffusion"

    @property
    def name(self) -> str:
        return str(self.artifact.path)

    def generator(self, config: Use) -> Diffusion:
        chosen = config.guidance
        return Diffusion(
            name=self.name,
            card=self.artifact.card,
            denoiser=self.denoiser,
            text=self.text,
            sampler=config.sampler,
            guidance=chosen if self.text.dim else replace(chosen, scale=1.0),
            device=self.device,
            bad=find_bad(config, self),
            perturbed=perturbed(chosen, self.denoiser),
        )

    def density(self, config: EvalNll, space: Space) -> DiffusionDensity:
        numbers = continuous(space)
        return DiffusionDensity(config, self.denoiser, self.text, numbers, self.device)

    def hearing(self, wrap: Wrap) -> DiffusionModel:
        """See `generator.Generator`."""
        return replace(self, text=wrap(self.text, self.denoiser.network))


@dataclass(frozen=True)
class Diffusion:
    """See `generator.Generator`, `Editable` and `Tunable`.

    `bad` is the model that autoguidance leads away from, `perturbed` that of perturbed-attention
    guidance; `given` is what all codes begin with, if not with noise.
    """

    name: str
    card: dict[str, Any]
    denoiser: Denoiser
    text: TextEncoder
    sampler: Sampler
    guidance: Guidance
    device: torch.device
    bad: DiffusionModel | None = None
    perturbed: Denoiser | None = None
    given: Known | None = None

    kind: ClassVar[str] = "diffusion"

    def __post_init__(self) -> None:
        pictures = self.card["space_id"] == "pixels"
        object.__setattr__(self, "sampler", settled(self.sampler, pictures=pictures))

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    @property
    def heeds_negatives(self) -> bool:
        return self.guidance.scale != 1

    def paint(self, requests: Sequence[Prompted]) -> Iterator[Step]:
        """The sampler's steps, from the first state on."""
        prompts = [request.prompt for request in requests]
        cond = condition(self.denoiser.network, self.text, prompts, self.device)
        denoiser = self._guided(requests, prompts)
        latent, keys = self.card["latent"], [request.key for request in requests]
        shape = (latent["channels"], latent["size"], latent["size"])
        how = (self.sampler, "sample", self.device, self.given)
        return trajectory(denoiser, cond, shape, keys, *how)

    def _guided(self, requests: Sequence[Prompted], prompts: list[Prompt]) -> Denoise:
        negative, bad = Cond(), None
        if self.heeds_negatives:
            words = [request.negative for request in requests]
            negative = condition(self.denoiser.network, self.text, words, self.device)
        if self.bad is not None:
            other = self.bad.denoiser
            bad = Bad(other, condition(other.network, self.bad.text, prompts, self.device))
        guided = guiding.build(self.guidance, self.denoiser, negative, bad, self.perturbed)
        return thresholded(guided, self.sampler)

    def network_evaluations(self) -> int:
        """How often a network is evaluated for a picture: counted on a model that costs nothing."""
        return self._counted(self.guidance)

    def calls(self) -> int:
        """How often the noise predictor is called for a picture: a guided pair counts once."""
        return self._counted(None)

    def _counted(self, config: Guidance | None) -> int:
        tally = Tally(self.schedule)
        bad = Bad(tally, Cond()) if self.bad else None
        perturbed = tally if self.perturbed else None
        denoiser: Denoise = tally
        if config is not None:
            denoiser = guiding.build(config, tally, Cond(), bad, perturbed)
        given = None if self.given is None else replace(self.given, x_0=torch.zeros(1), paint=None)
        how = (self.sampler, "count", torch.device("cpu"), given)
        last(trajectory(denoiser, Cond(), (2,), [(0, 0)], *how))
        return tally.evaluations

    def settings(self) -> dict[str, Any]:
        walked = times(self.sampler, self.schedule, self.given)
        return {
            "sampler": asdict(self.sampler),
            "steps": int((walked.diff() < 0).sum()),
            "calls": self.calls(),
            "network_evaluations": self.network_evaluations(),
            "guidance": asdict(self.guidance),
            "bad": self.bad.artifact.card["sha256"] if self.bad else None,
            "checkpoint": self.card["sha256"],
            "pictures_seen": self.card["pictures_seen"],
        }

    def line(self) -> str:
        made = self.settings()
        steps, calls = counted(made["steps"], "step"), counted(made["calls"], "call")
        evaluations = f"{made['network_evaluations']} network evaluations"
        return f"{self.sampler.kind}, {steps}, {calls}, {evaluations} each"

    def hearing(self, wrap: Wrap) -> Diffusion:
        text, bad = wrap(self.text, self.denoiser.network), self.bad
        return replace(self, text=text, bad=None if bad is None else bad.hearing(wrap))

    def edited(self, given: Known) -> Diffusion:
        return replace(self, given=given)

    def tuned(self, sampler: Sampler, guidance: Guidance) -> Diffusion:
        return replace(self, sampler=sampler, guidance=guidance)


def load(artifact: Artifact, device: torch.device) -> DiffusionModel:
    """The model of an artifact; UserError if it is damaged, or its text encoder is not there."""
    return DiffusionModel(artifact, *load_denoiser(artifact, device), device)


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


def find_bad(config: Use, guided: DiffusionModel) -> DiffusionModel | None:
    """The model that `guidance.bad` names, if any; UserError if it does not fit the other."""
    name, run = config.guidance.bad, config.from_.bad or config.from_.unet or config.run
    if name is None:
        return None
    good, bad = guided.artifact, runs.find(run, TrainUnet.stage, config.root, name)
    if bad.card["sha256"] == good.card["sha256"]:
        raise UserError(f"guidance.bad={name} is the very model that it guides: name a worse one")
    for key in ("kind", "space_id", "latent"):
        if bad.card[key] != good.card[key]:
            raise UserError(
                f"guidance.bad: {bad.path} has the {key} {bad.card[key]}, {good.path} has "
                f"{good.card[key]}: name an artifact of the same latents, e.g. an earlier one"
            )
    found = load(bad, guided.device)
    some = torch.linspace(0, 1, 9, dtype=torch.float64)
    levels, theirs = (torch.stack(each.denoiser.schedule(some)) for each in (guided, found))
    if not torch.equal(levels, theirs):
        raise UserError(
            f"guidance.bad: {bad.path} has the noise of {bad.card['noise']}, {good.path} that of "
            f"{good.card['noise']}: name an artifact of the same schedule"
        )
    return found
