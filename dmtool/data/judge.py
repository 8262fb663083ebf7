"""Whether a picture of shapes shows what its caption says: an exact judge, in plain arithmetic.

The ground is the median of the picture's edge. What differs from it falls into connected
components; each is compared, by how much of every pixel it covers, with ideal shapes of the same
area and centroid. Mild noise and blurred edges are forgiven, as generated pictures have them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dmtool.data.outline import Floats, area_and_centroid, coverage
from dmtool.data.scene import COLOURS, SHAPES, Description, holds, parse

PALETTE = np.array(list(COLOURS.values()), dtype=np.float64)
NEAR = 0.4  # of the distance between a colour and its nearest neighbour: still that colour
CORE = 0.8  # of an object's greatest contrast: pixels beyond it are no mixture with the ground
SPECK = 0.0035  # of the picture's area: less is no object but noise
PURE = 0.8  # of an object's area is of one colour
LIKE = 0.65  # overlap (intersection over union) with an ideal shape
BLURS = (0.0, 0.125, 0.25)  # of the ideal shapes that an object is compared with
EXTENTS = {"small": (0.13, 0.28), "large": (0.28, 0.54)}
MOST = 5  # objects that are matched with a caption's

Mask = NDArray[np.bool_]


class Match(NamedTuple):
    """What one way to match the objects seen with those of a caption gets right."""

    colours: bool
    shapes: bool
    sizes: bool
    relations: bool


@dataclass(frozen=True)
class Judgement:
    """What of a caption a picture shows, each for all of the caption's objects at once.

    `objects`: as many as the caption names, no more; `ground`: its colour. The others speak of
    the objects as the caption binds them: a red circle and a blue square are not a blue circle
    and a red square. Where several ways to match objects with words are possible, the best counts;
    `matches` are all that differ.
    """

    objects: bool
    colours: bool
    shapes: bool
    sizes: bool
    relations: bool
    ground: bool
    matches: tuple[Match, ...]

    @property
    def ok(self) -> bool:
        """Whether the picture shows all that the caption says."""
        return self.objects and self.ground and self.shows(*Match._fields)

    def shows(self, *aspects: str) -> bool:
        """Whether one match of objects with words gets all these fields of a `Match` right.

        It need not be the match that counts for the whole caption, and further objects are allowed.
        """
        return any(all(getattr(match, aspect) for aspect in aspects) for match in self.matches)


class Seen(NamedTuple):
    """An object found in a picture; "" stands for what is no colour, shape or size of ours."""

    colour: str
    shape: str
    size: str
    x: float
    y: float


class View(NamedTuple):
    """What a picture shows: the ground's colour and the objects, the largest first."""

    ground: str
    seen: list[Seen]


NOTHING = Seen("", "", "", 0, 0)


def judge(image: Image.Image | NDArray[np.uint8], caption: str) -> Judgement:
    """Compare a square RGB picture (uint8, HWC if an array) with a caption of `shapes`.

    Exact on pictures of `shapes` from 32 pixels on. Raises ValueError if the caption is none of
    theirs or the picture is not square.
    """
    return compare(look(image), parse(caption))


def compare(view: View, description: Description) -> Judgement:
    """What of a description was seen in a picture."""
    matches = tuple(dict.fromkeys(_matches(description, view.seen)))
    best = max(matches, key=sum)
    return Judgement(
        objects=len(view.seen) == len(description.kinds),
        **best._asdict(),
        ground=view.ground == description.ground,
        matches=matches,
    )


def look(image: Image.Image | NDArray[np.uint8]) -> View:
    """The ground's colour and the objects in a square RGB picture, the largest first."""
    pixels = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    if pixels.ndim != 3 or pixels.shape[0] != pixels.shape[1] or pixels.shape[2] != 3:
        raise ValueError(f"expected a square RGB picture, not one of shape {pixels.shape}")
    pixels = pixels.astype(np.float64)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = np.median(edge, axis=0)
    name, near = _nearest(ground)
    contrast = np.linalg.norm(pixels - ground, axis=-1)
    components = _components(contrast > near, SPECK * contrast.size)
    return View(name, [_examine(pixels, ground, contrast, mask) for mask in components])


def _matches(description: Description, seen: list[Seen]) -> Iterator[Match]:
    """Every way to match what is seen with the words."""
    kinds = description.kinds
    missing = max(len(kinds) - len(seen), 0)
    for chosen in permutations([*seen[:MOST], *[NOTHING] * missing], len(kinds)):
        pairs = list(zip(kinds, chosen, strict=True))
        yield Match(
            all(kind.colour == one.colour for kind, one in pairs),
            all(kind.shape == one.shape for kind, one in pairs),
            all(kind.size == one.size for kind, one in pairs),
            all(
                NOTHING not in chosen and holds(relation, one.x - chosen[0].x, one.y - chosen[0].y)
                for relation, one in zip(description.relations, chosen[1:], strict=True)
            ),
        )


def _components(mask: Mask, smallest: float) -> list[Mask]:
    """The parts of `mask` connected by pixels' sides, of `smallest` pixels or more; largest first.

    Every pixel takes the least number among its neighbours', and that number's own number, until
    nothing changes.
    """
    outside = mask.size
    own = np.where(mask, np.arange(outside).reshape(mask.shape), outside)
    while True:
        wide = np.pad(own, 1, constant_values=outside)
        around = [wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]]
        least = np.where(mask, np.minimum.reduce([own, *around]), outside)
        least = np.append(least.ravel(), outside)[least]
        if np.array_equal(least, own):
            numbers, areas = np.unique(own[mask], return_counts=True)
            parts = sorted(zip(-areas, numbers, strict=True))
            return [own == number for area, number in parts if -area >= smallest]
        own = least


def _examine(pixels: Floats, ground: Floats, contrast: Floats, mask: Mask) -> Seen:
    """What one component is."""
    core = mask & (contrast >= CORE * np.quantile(contrast[mask], 0.9))
    colour = np.median(pixels[core], axis=0)
    name, near = _nearest(colour)
    _, off = _unmix(pixels, ground, colour)
    ink = np.array(COLOURS[name], dtype=np.float64)  # blur thins a small object's own colour
    covered, _ = _unmix(pixels, ground, ink if np.linalg.norm(ink - ground) > near else colour)
    pure = np.mean(off[mask] <= near) >= PURE
    shape, extent, x, y = _fit(covered * _grown(_grown(mask)))
    sizes = (word for word, (least, most) in EXTENTS.items() if least <= extent < most)
    return Seen(name if pure else "", shape, next(sizes, ""), x, y)


def _unmix(pixels: Floats, ground: Floats, colour: Floats) -> tuple[Floats, Floats]:
    """Each pixel as a mixture of two colours: the share of `colour`, and how far it is off."""
    direction = colour - ground
    share = ((pixels - ground) @ direction / (direction @ direction)).clip(0, 1)
    return share, np.linalg.norm(pixels - ground - share[..., None] * direction, axis=-1)


def _fit(covered: Floats) -> tuple[str, float, float, float]:
    """The ideal shape most like a map of coverage, its extent, and its centre (x, y)."""
    size, total = len(covered), covered.sum()
    middles = (np.arange(size) + 0.5) / size
    x, y = covered.sum(axis=0) @ middles / total, covered.sum(axis=1) @ middles / total
    best = (0.0, "", 0.0, x, y)
    for shape in SHAPES:
        area, below = area_and_centroid(shape)
        extent = float(np.sqrt(total / area) / size)
        centre = float(y - below * extent)
        ideal = coverage(shape, x, centre, extent, size)
        likeness = max(_overlap(covered, _blurred(ideal, blur)) for blur in BLURS)
        best = max(best, (likeness, shape, extent, x, centre))
    likeness, shape, extent, x, centre = best
    return shape if likeness >= LIKE else "", extent, x, centre


def _overlap(first: Floats, second: Floats) -> float:
    return float(np.minimum(first, second).sum() / np.maximum(first, second).sum())


def _blurred(covered: Floats, blur: float) -> Floats:
    """The map smoothed by (blur, 1 - 2 blur, blur) both ways."""
    wide = np.pad(covered, 1)
    tall = blur * (wide[:-2] + wide[2:]) + (1 - 2 * blur) * wide[1:-1]
    return blur * (tall[:, :-2] + tall[:, 2:]) + (1 - 2 * blur) * tall[:, 1:-1]


def _grown(mask: Mask) -> Mask:
    """The mask and the pixels around it, where antialiased edges run out."""
    wide = np.pad(mask, 1)
    tall = wide[:-2] | wide[1:-1] | wide[2:]
    return np.asarray(tall[:, :-2] | tall[:, 1:-1] | tall[:, 2:])


def _nearest(colour: Floats) -> tuple[str, float]:
    """The palette's nearest colour, and how far off a pixel may be and still count as it."""
    index = int(np.argmin(np.linalg.norm(PALETTE - colour, axis=-1)))
    apart = np.sort(np.linalg.norm(PALETTE - PALETTE[index], axis=-1))[1]
    return list(COLOURS)[index], NEAR * float(apart)
