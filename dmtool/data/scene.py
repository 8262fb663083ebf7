"""What a picture of shapes shows, in words: scenes, their captions, and captions read back.

Lengths and positions are fractions of the picture's side, x to the right and y downwards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

SHAPES = ("circle", "square", "triangle", "star", "cross")
COLOURS = {
    "red": (216, 36, 44),
    "orange": (250, 140, 20),
    "yellow": (252, 226, 60),
    "green": (30, 160, 76),
    "blue": (36, 92, 220),
    "purple": (140, 50, 170),
    "black": (24, 24, 28),
    "white": (250, 250, 250),
}
SIZES = {"small": (0.2, 0.24), "large": (0.33, 0.38)}
"""The least and the greatest extent (the bounding box's side) of each size."""

RELATIONS = {"left of": (1, 0), "right of": (-1, 0), "above": (0, 1), "below": (0, -1)}
"""The direction from the first of two objects to the second."""

_NOUN = rf"an? (?:{'|'.join(SIZES)}) (?:{'|'.join(COLOURS)}) (?:{'|'.join(SHAPES)})"


class Pair(NamedTuple):
    """A colour and the shape that has it."""

    colour: str
    shape: str


@dataclass(frozen=True)
class ObjectKind:
    """What a caption says of one object."""

    size: str
    colour: str
    shape: str

    @property
    def pair(self) -> Pair:
        """What a source may hold out of training."""
        return Pair(self.colour, self.shape)

    def __str__(self) -> str:
        return f"{article(self.size)} {self.size} {self.colour} {self.shape}"


class Description(NamedTuple):
    """What a caption says: the first object is in `relations[i]` to object `i + 1`."""

    kinds: tuple[ObjectKind, ...]
    relations: tuple[str, ...]
    ground: str


@dataclass(frozen=True)
class Thing:
    """One object in a picture: its kind, the centre of its bounding box, the box's side."""

    kind: ObjectKind
    x: float
    y: float
    extent: float


class Scene(NamedTuple):
    """All that a picture shows."""

    things: tuple[Thing, ...]
    ground: str


def article(word: str) -> str:
    """The indefinite article that `word` takes."""
    return "an" if word[0] in "aeiou" else "a"


def holds(relation: str, dx: float, dy: float, clear: float = 1) -> bool:
    """Whether something lies in `relation` to what stands at (dx, dy) from it.

    It does if the two differ in that direction, and at least `clear` times as much as across it.
    """
    right, down = RELATIONS[relation]
    ahead, across = right * dx + down * dy, abs(down * dx) + abs(right * dy)
    return ahead > 0 and ahead >= clear * across


def describe(description: Description) -> str:
    """The caption: "a large red circle left of a small blue square on a white ground"."""
    first, *rest = map(str, description.kinds)
    pairs = zip(description.relations, rest, strict=True)
    others = " and ".join(f"{relation} {other}" for relation, other in pairs)
    ground = f"on {article(description.ground)} {description.ground} ground"
    return " ".join(part for part in (first, others, ground) if part)


def parse(caption: str) -> Description:
    """The inverse of `describe`; ValueError if the caption is not one of its sentences."""
    sentence = re.fullmatch(rf"({_NOUN}) (?:(.+) )?on an? ({'|'.join(COLOURS)}) ground", caption)
    clauses = sentence[2].split(" and ") if sentence and sentence[2] else []
    found = [re.fullmatch(rf"({'|'.join(RELATIONS)}) ({_NOUN})", clause) for clause in clauses]
    if not sentence or not all(found):
        raise ValueError(f"not a caption of shapes: {caption!r}")
    others = [match for match in found if match]
    return Description(
        kinds=(_kind(sentence[1]), *(_kind(match[2]) for match in others)),
        relations=tuple(match[1] for match in others),
        ground=sentence[3],
    )


def pair(words: str) -> Pair:
    """The pair that `words` name, "red circle" say; ValueError if they name none."""
    colour, _, shape = words.partition(" ")
    if colour not in COLOURS or shape not in SHAPES:
        raise ValueError(
            f"{words!r} is no colour ({', '.join(COLOURS)}) and shape ({', '.join(SHAPES)})"
        )
    return Pair(colour, shape)


def _kind(words: str) -> ObjectKind:
    return ObjectKind(*words.split()[1:])
