"""What the chain asks of every generator, and what only some of them can do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from torch import Tensor

from dmtool.codecs import Space
from dmtool.config.guidance import Guidance
from dmtool.config.sampling import Sampler
from dmtool.config.using import EvalNll, Use
from dmtool.diffusion.noise import Schedule
from dmtool.diffusion.samplers import Key, Known, Source
from dmtool.errors import UserError
from dmtool.text import TextEncoder
from dmtool.text.blend import Prompt
from dmtool.text.encoder import Wrap


@dataclass(frozen=True)
class Prompted:
    """A code that is asked for: it depends on nothing else, not on the batch it is in.

    `prompt` may lie between two, and `key`, (seed, i), the source of its noise, between two keys.
    """

    prompt: Prompt
    key: Source
    negative: str = ""


class Painting(Protocol):
    """On the way to codes [B, ...]: `x` is what there is of them, `x_0` what they seem to become.

    Both can be decoded.
    """

    @property
    def x(self) -> Tensor: ...

    @property
    def x_0(self) -> Tensor: ...


class Named(Protocol):
    """What refusals say of a generator: "`name` is a `kind` generator"."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...


class Generator(Named, Protocol):
    """Prompts and seeds -> codes, with all that it paints by settled.

    `card` is its artifact's, `text` what it hears prompts by; `heeds_negatives` says whether a
    negative prompt changes anything.
    """

    @property
    def card(self) -> dict[str, Any]: ...

    @property
    def text(self) -> TextEncoder: ...

    @property
    def heeds_negatives(self) -> bool: ...

    def paint(self, requests: Sequence[Prompted]) -> Iterator[Painting]:
        """The states of one batch, on the generator's device; the last one's `x` is the code."""
        ...

    def settings(self) -> dict[str, Any]:
        """What a figure or a PNG must say of how codes are painted, for JSON."""
        ...

    def line(self) -> str:
        """What a code costs, in a few words."""
        ...

    def hearing(self, wrap: Wrap) -> Self:
        """The same one, which hears by what `wrap` makes of its text encoders."""
        ...


class Trained(Named, Protocol):
    """What an artifact of a generator holds, before it is said how it paints."""

    def generator(self, config: Use) -> Generator:
        """UserError for settings that do not fit it."""
        ...


@runtime_checkable
class Editable(Protocol):
    """A generator that can begin with a code, and keep a part of it."""

    def edited(self, given: Known) -> Generator:
        """The same one, all of whose codes begin with a given one."""
        ...


@runtime_checkable
class Tunable(Protocol):
    """A generator whose sampler and guidance can be searched, at the times of a noise schedule."""

    @property
    def schedule(self) -> Schedule: ...

    @property
    def guidance(self) -> Guidance: ...

    def tuned(self, sampler: Sampler, guidance: Guidance) -> Generator:
        """The same one, with other settings."""
        ...


Bits = dict[str, Tensor]
"""Bits per dimension by name, of one code or of a batch [B, ...] of them."""


class Density(Protocol):
    """How probable codes are; `unit` says whose dimensions its bits are per."""

    @property
    def unit(self) -> str: ...

    def bits(self, codes: Tensor, captions: Sequence[str], keys: Sequence[Key]) -> Bits:
        """Of a batch of codes, on their device. What is random of each is drawn from its key."""
        ...

    def result(self, figures: Sequence[Bits]) -> dict[str, dict[str, Any]]:
        """What is to be said of so many codes' bits, for JSON: `figures`, of the `protocol` what is
        the density's own, and more by name."""
        ...

    def lines(self, result: dict[str, Any]) -> list[str]:
        """The figures of such a result, as they are printed."""
        ...


@runtime_checkable
class HasDensity(Protocol):
    """A model of a generator that says how probable codes are."""

    def density(self, config: EvalNll, space: Space) -> Density:
        """UserError for the codes of a space that it does not paint."""
        ...


WORDS: dict[type, str] = {
    Editable: "a generator that can begin with a picture",
    Tunable: "a sampler's steps",
    HasDensity: "a density",
}
"""Of each protocol, what a generator lacks that does not fulfil it."""

P = TypeVar("P")


def needed(found: Named, protocol: type[P], command: str) -> P:
    """The generator, or model of one, as what a command needs; UserError if it is not."""
    if isinstance(found, protocol):
        return found
    raise UserError(
        f"`{command}` needs {WORDS[protocol]}; {found.name} is a {found.kind} generator"
    )
