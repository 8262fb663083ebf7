"""Autoencoders, one schema a kind: the network that its card states, and how it is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from dmtool.config.base import Count, Natural, NonNegative, OneOf, Positive, Schema, Share
from dmtool.config.parts import divisible

Level = Annotated[int, Field(ge=2)]


@dataclass(frozen=True, kw_only=True)
class VaeShape(Schema):
    """What all kinds share of their networks. They make the picture smaller by `factor`."""

    training: ClassVar[frozenset[str]] = frozenset({"kind"})
    """What its card need not know: how it is trained."""
    learns_by: ClassVar[tuple[str, ...]] = ()
    """What of it the network itself is told."""

    patch: Count
    widths: Annotated[list[Count], Field(min_length=1)]
    encoder_blocks: Count
    decoder_blocks: Count
    middle: bool
    groups: Count

    def __post_init__(self) -> None:
        divisible("vae.widths", self.widths, "vae.groups", self.groups)

    @property
    def factor(self) -> int:
        return int(self.patch * 2 ** (len(self.widths) - 1))

    @property
    def channels(self) -> int:
        """Of the code."""
        raise NotImplementedError

    @property
    def arguments(self) -> dict[str, Any]:
        """All arguments of the network, as its card states them."""
        return {name: value for name, value in asdict(self).items() if name not in self.training}

    @property
    def learning(self) -> dict[str, Any]:
        """And those by which it learns."""
        return {name: getattr(self, name) for name in self.learns_by}


@dataclass(frozen=True, kw_only=True)
class ContinuousNetwork(VaeShape):
    """The code has `latent_channels` numbers a position."""

    latent_channels: Count

    @property
    def channels(self) -> int:
        return self.latent_channels


@dataclass(frozen=True, kw_only=True)
class AeVae(ContinuousNetwork):
    """The code is what the encoder says."""

    kind: Literal["ae"]


@dataclass(frozen=True, kw_only=True)
class KlVae(ContinuousNetwork):
    """`beta` is the weight of the KL divergence, both per picture value; each channel of a picture
    has `free_bits` free of it; it rises from 0 over the first `warmup` pictures."""

    training = VaeShape.training | {"beta", "free_bits", "warmup"}
    learns_by = ("free_bits",)

    kind: Literal["kl"]
    beta: NonNegative
    free_bits: NonNegative
    warmup: Natural


@dataclass(frozen=True, kw_only=True)
class SparseNetwork(ContinuousNetwork):
    """Values are 0 or above; of a position's only the `k` largest are kept, if that is said."""

    k: Count | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k is not None and self.k > self.latent_channels:
            raise ValueError(f"k={self.k} of {self.latent_channels} latent_channels: take fewer")


@dataclass(frozen=True, kw_only=True)
class SparseVae(SparseNetwork):
    """`l1` is the first weight of the mean of the values; it then moves, by the share `pace` a
    step at most, until the share `rate` of them is not 0. Without a rate it stays."""

    training = VaeShape.training | {"l1", "rate", "pace"}
    learns_by = ("rate", "pace")

    kind: Literal["sparse"]
    l1: NonNegative
    rate: Share | None
    pace: Positive

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k is not None and (self.l1 or self.rate is not None):
            raise ValueError(f"k={self.k} says how many values are kept: take l1=0 and rate=null")


@dataclass(frozen=True, kw_only=True)
class FsqNetwork(VaeShape):
    """A code of one number a channel, each rounded to one of so many `levels`."""

    levels: Annotated[list[Level], Field(min_length=1)]

    @property
    def channels(self) -> int:
        return len(self.levels)


@dataclass(frozen=True, kw_only=True)
class FsqVae(FsqNetwork):
    """Finite scalar quantisation (Mentzer et al., arXiv:2309.15505)."""

    kind: Literal["fsq"]


@dataclass(frozen=True, kw_only=True)
class VqNetwork(ContinuousNetwork):
    """The code is the nearest of a book of `codes`; `cosine`: on the unit sphere."""

    codes: Level
    cosine: bool


@dataclass(frozen=True, kw_only=True)
class VqVae(VqNetwork):
    """A book of moving averages (van den Oord et al., arXiv:1711.00937, appendix A.1).

    `commitment` is the weight of the mean squared distance of features from their codes; averages
    keep the share `decay` a step; what is used less than `restart` times as often as on even use
    begins anew where some feature is (0: never).
    """

    training = VaeShape.training | {"commitment", "decay", "restart"}
    learns_by = ("decay", "restart")

    kind: Literal["vq"]
    commitment: NonNegative
    decay: Annotated[float, Field(ge=0, lt=1)]
    restart: Annotated[float, Field(ge=0, lt=1)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.restart and self.latent_channels < 2:
            raise ValueError("restart draws by two of the code's channels: take more, or restart=0")


Vae = Annotated[AeVae | KlVae | SparseVae | FsqVae | VqVae, OneOf]
