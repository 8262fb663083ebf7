"""Coloured shapes drawn from a seed, with captions that a program can check (see `judge.py`)."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import combinations, product, starmap
from random import Random
from typing import Any

import numpy as np
from PIL import Image
from tqdm import trange

from dmtool.config.parts import ShapesData
from dmtool.data.outline import coverage
from dmtool.data.scene import (
    COLOURS,
    RELATIONS,
    SHAPES,
    SIZES,
    Description,
    ObjectKind,
    Pair,
    Scene,
    Thing,
    describe,
    holds,
    pair,
)
from dmtool.data.splits import split_of
from dmtool.data.store import Example, Source, stored
from dmtool.errors import UserError

MARGIN = 0.05  # from the picture's edge, a share of its side
GAP = 0.075  # between bounding boxes: at least two pixels of 32
CLEAR = 1.4  # how much farther along a relation than across it
TRIES = 200  # of places for the same objects


def load(config: ShapesData) -> Source:
    """`config.count` pictures of `config.size` pixels, from the cache or drawn now.

    Picture i depends on (seed, i), `min_objects` and `max_objects` alone: more pictures begin with
    the same ones, and another size shows the same scenes. With `hold_out`, those of the train and
    val splits show none of its pairs of a colour and a shape; those of the test split may.
    UserError for what is no such pair, and if a colour or a shape is left without any.
    """
    held = held_out(config)
    facts = ("kind", "count", "size", "seed", "min_objects", "max_objects")
    key: dict[str, Any] = {name: getattr(config, name) for name in facts}
    key |= {"hold_out": sorted(held), "test": config.test} if held else {}
    return stored(key, lambda _: _examples(config, held))


def held_out(config: ShapesData) -> frozenset[Pair]:
    """The pairs of `config.hold_out`; UserError as `load`."""
    try:
        held = frozenset(map(pair, config.hold_out))
    except ValueError as error:
        raise UserError(f"data.hold_out: {error}") from error
    left = {word for each in product(COLOURS, SHAPES) if each not in held for word in each}
    gone = [word for word in (*COLOURS, *SHAPES) if word not in left]
    if gone:
        raise UserError(f"data.hold_out leaves nothing {gone[0]} to train on: hold out fewer pairs")
    return held


def scene(
    seed: int,
    index: int,
    min_objects: int = 1,
    max_objects: int = 3,
    without: Collection[Pair] = (),
) -> tuple[Scene, str]:
    """Scene number `index` of `seed`, with no pair of `without`, and its caption."""
    random = Random(f"shapes {seed} {index}")
    count = random.randint(min_objects, max_objects)
    return arranged(random, count, lambda kinds: not any(kind.pair in without for kind in kinds))


def arranged(
    random: Random, count: int, wanted: Callable[[Sequence[ObjectKind]], bool]
) -> tuple[Scene, str]:
    """A scene of `count` objects, of kinds that are `wanted` together, and its caption.

    Objects keep clear of each other and of the edge, none has the ground's colour, no two are of
    the same size, colour and shape, and what the caption says of their places is plain to see.
    """
    while True:
        ground, kinds = _kinds(random, count)
        if not wanted(kinds):
            continue
        for _ in range(TRIES):
            things = tuple(_place(random, kind) for kind in kinds)
            relations = [_relation(things[0], other) for other in things[1:]]
            if all(relations) and not any(starmap(_touching, combinations(things, 2))):
                return Scene(things, ground), describe(Description(kinds, tuple(relations), ground))


def draw(scene: Scene, size: int) -> Image.Image:
    """The scene as an RGB picture of `size` pixels, antialiased."""
    canvas = np.empty((size, size, 3))
    canvas[:] = COLOURS[scene.ground]
    for thing in scene.things:
        covered = coverage(thing.kind.shape, thing.x, thing.y, thing.extent, size)[..., None]
        canvas += covered * (COLOURS[thing.kind.colour] - canvas)
    return Image.fromarray(canvas.round().astype(np.uint8))


def _examples(config: ShapesData, held: frozenset[Pair]) -> Iterator[Example]:
    for index in trange(config.count, desc="drawing shapes", unit="pictures"):
        key = f"{index:08d}"
        without = held if split_of(key, config) != "test" else ()
        shown, caption = scene(config.seed, index, config.min_objects, config.max_objects, without)
        file = io.BytesIO()
        draw(shown, config.size).save(file, "png", compress_level=1)
        yield Example(key, [caption], file.getvalue())


def _kinds(random: Random, count: int) -> tuple[str, tuple[ObjectKind, ...]]:
    """A ground, and `count` different kinds of objects that show on it."""
    ground, *colours = random.sample(list(COLOURS), len(COLOURS))
    kinds: list[ObjectKind] = []
    while len(kinds) < count:
        kind = ObjectKind(random.choice(list(SIZES)), random.choice(colours), random.choice(SHAPES))
        kinds += [] if kind in kinds else [kind]
    return ground, tuple(kinds)


def _place(random: Random, kind: ObjectKind) -> Thing:
    extent = random.uniform(*SIZES[kind.size])
    near, far = MARGIN + extent / 2, 1 - MARGIN - extent / 2
    return Thing(kind, random.uniform(near, far), random.uniform(near, far), extent)


def _relation(first: Thing, second: Thing) -> str:
    """How the first stands to the second, or "" if that is not plain."""
    dx, dy = second.x - first.x, second.y - first.y
    return next((relation for relation in RELATIONS if holds(relation, dx, dy, CLEAR)), "")


def _touching(first: Thing, second: Thing) -> bool:
    reach = (first.extent + second.extent) / 2 + GAP
    return abs(first.x - second.x) < reach and abs(first.y - second.y) < reach
