import re
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageFilter

from dmtool.data import scene as words
from dmtool.data import source
from dmtool.data.judge import judge, look
from dmtool.data.scene import COLOURS, ObjectKind, Scene, Thing, parse
from dmtool.data.shapes import draw, scene
from dmtool.data.source import load
from dmtool.errors import UserError

SCENES = [scene(0, index) for index in range(2000)]
NAMED = ("objects", "colours", "shapes", "sizes", "relations", "ground")


def drawn(count, size):
    return [(draw(shown, size), caption) for shown, caption in SCENES[:count]]


def thing(size, colour, shape, x, y):
    return Thing(ObjectKind(size, colour, shape), x, y, {"small": 0.21, "large": 0.35}[size])


def wrong(verdict):
    return {name for name in NAMED if not getattr(verdict, name)}


@pytest.mark.parametrize(("count", "size"), [(2000, 64), (500, 32), (50, 128)])
def test_the_judge_accepts_every_rendering(count, size):
    refused = [(caption, judge(image, caption)) for image, caption in drawn(count, size)]
    assert not [item for item in refused if not item[1].ok]


def test_the_judge_refuses_every_caption_of_another_scene():
    pictures = drawn(300, 32)
    for (image, own), (_, other) in pairwise(pictures):
        same = set(parse(own).kinds) == set(parse(other).kinds)
        assert not judge(image, other).ok or (same and parse(own).ground == parse(other).ground)


def test_a_mirrored_picture_breaks_left_and_right_alone():
    left = [item for item in drawn(500, 32) if re.search("left|right", item[1])]
    assert len(left) > 150
    for image, caption in left:
        verdict = judge(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), caption)
        assert not verdict.ok and verdict.objects and verdict.ground
    single = [item for item in drawn(300, 32) if len(parse(item[1]).kinds) == 1]
    assert all(judge(i.transpose(Image.Transpose.FLIP_LEFT_RIGHT), c).ok for i, c in single)


def test_each_fault_is_named():
    caption = "a large red circle left of a small blue square on a white ground"
    circle, square = (
        thing("large", "red", "circle", 0.3, 0.5),
        thing("small", "blue", "square", 0.8, 0.5),
    )
    faults = {
        (): Scene((circle, square), "white"),
        ("ground",): Scene((circle, square), "yellow"),
        ("colours",): Scene(
            (thing("large", "blue", "circle", 0.3, 0.5), thing("small", "red", "square", 0.8, 0.5)),
            "white",
        ),
        ("shapes",): Scene((circle, thing("small", "blue", "star", 0.8, 0.5)), "white"),
        ("sizes",): Scene((thing("small", "red", "circle", 0.3, 0.5), square), "white"),
        ("relations",): Scene((replace(circle, x=0.75), replace(square, x=0.2)), "white"),
        ("objects",): Scene((circle, square, thing("small", "green", "star", 0.5, 0.85)), "white"),
    }
    for size in (32, 64):
        for expected, shown in faults.items():
            assert wrong(judge(draw(shown, size), caption)) == set(expected), expected
        blank = Image.new("RGB", (size, size), COLOURS["white"])
        assert wrong(judge(blank, caption)) == set(NAMED) - {"ground"}
        assert not judge(np.full((size, size, 3), 128, np.uint8), caption).ok


def test_an_object_of_two_colours_is_of_none():
    picture = np.array(draw(Scene((thing("large", "red", "circle", 0.5, 0.5),), "white"), 64))
    picture[:, 32:][picture[:, 32:, 1] < 100] = COLOURS["blue"]
    assert wrong(judge(picture, "a large red circle on a white ground")) == {"colours"}


@pytest.mark.parametrize(("size", "sigma"), [(64, 15), (32, 10)])
def test_the_judge_forgives_mild_noise_and_blur(size, sigma):
    noise = np.random.default_rng(0)
    for image, caption in drawn(100, size):
        soiled = np.asarray(image) + noise.normal(0, sigma, (size, size, 3))
        assert judge(soiled.round().clip(0, 255).astype(np.uint8), caption).ok
        assert judge(image.filter(ImageFilter.GaussianBlur(size / 80)), caption).ok


def test_captions_are_grammatical_and_read_back():
    captions = [caption for _, caption in SCENES]
    for caption in captions:
        assert words.describe(parse(caption)) == caption
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|  ", caption)
    counts = np.bincount([len(parse(caption).kinds) for caption in captions])
    assert counts[0] == 0 and (counts[1:] > 500).all()
    text = " ".join(captions)
    assert all(word in text for word in (*words.COLOURS, *words.SHAPES, *words.RELATIONS, " an "))
    with pytest.raises(ValueError, match="not a caption of shapes: 'a red heart'"):
        parse("a red heart")


def test_objects_keep_apart_and_off_the_ground_colour():
    for shown, _ in SCENES:
        boxes = np.array([(o.x, o.y, o.extent / 2) for o in shown.things])
        assert shown.ground not in {o.kind.colour for o in shown.things}
        assert (boxes[:, :2] - boxes[:, 2:] > 0.03).all() and (
            boxes[:, :2] + boxes[:, 2:] < 0.97
        ).all()
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                assert np.abs(a[:2] - b[:2]).max() - a[2] - b[2] > 2 / 32


def test_coverage_has_the_exact_area():
    circle = draw(Scene((thing("large", "black", "circle", 0.51, 0.47),), "white"), 64)
    dark = (250 - np.asarray(circle)[..., 0].astype(float)).sum() / (250 - 24)
    assert abs(dark / (np.pi * (0.175 * 64) ** 2) - 1) < 0.01


def test_picture_i_depends_on_seed_and_i_alone(config):
    few, many = (load(config("shapes", count=n, size=16, seed=-3)).dataset for n in (5, 9))
    assert [row["caption"] for row in few] == [row["caption"] for row in many][:5]
    assert all(a["image"] == b["image"] for a, b in zip(few, many, strict=False))
    assert few[3]["caption"] == [scene(-3, 3)[1]] and scene(-3, 3) != scene(4, 3)
    pair = load(config("shapes", count=30, size=16, min_objects=2, max_objects=2)).dataset
    assert {len(parse(row["caption"][0]).kinds) for row in pair} == {2}


def test_what_is_seen_stands_where_it_was_drawn():
    for shown, _ in SCENES[:100]:
        ground, seen = look(draw(shown, 64))
        assert ground == shown.ground
        found = {(one.size, one.colour, one.shape): (one.x, one.y) for one in seen}
        for one in shown.things:
            place = found[tuple(asdict(one.kind).values())]
            assert np.hypot(place[0] - one.x, place[1] - one.y) < 0.02


def test_pairs_are_held_out_of_all_but_the_test_split(config):
    settings = {"count": 300, "size": 16, "test": 0.3, "max_objects": 2}
    held = {("red", "circle"), ("blue", "star"), ("white", "cross")}
    plain = config("shapes", **settings)
    out = replace(plain, hold_out=[" ".join(pair) for pair in sorted(held)])

    def pairs(shapes, name):
        captions = source.split(load(shapes), shapes, name)["caption"]
        return [{(k.colour, k.shape) for k in parse(texts[0]).kinds} for texts in captions]

    assert not any(pair & held for name in ("train", "val") for pair in pairs(out, name))
    assert pairs(out, "test") == pairs(plain, "test") and any(p & held for p in pairs(out, "test"))
    same = [not pair & held for pair in pairs(plain, "train")]
    kept = zip(pairs(out, "train"), pairs(plain, "train"), same, strict=True)
    assert 0 < sum(same) < len(same) and all(a == b for a, b, keep in kept if keep)
    for wrong, message in {
        "red heart": "'red heart' is no colour",
        "circle": "'circle' is no colour",
    }.items():
        with pytest.raises(UserError, match=message):
            load(replace(plain, hold_out=[wrong]))
    with pytest.raises(UserError, match="leaves nothing star to train on"):
        load(replace(plain, hold_out=[f"{colour} star" for colour in COLOURS]))
