"""Compositional accuracy on drawn pictures, whose truth is known."""

import json
import re

import numpy as np
import pytest

from dmtool.config.compose import composed
from dmtool.config.evaluating import EvalAlign
from dmtool.config.validation import validate
from dmtool.data.judge import judge
from dmtool.data.scene import COLOURS, ObjectKind, Pair, Scene, Thing, parse
from dmtool.data.shapes import draw, scene
from dmtool.errors import UserError
from dmtool.measure.alignment import align
from dmtool.measure.alignment.composition import ASPECTS, accuracies, by_task, groups
from dmtool.measure.alignment.toy_prompts import TASKS, prompts

HELD = {Pair("red", "circle"), Pair("blue", "star")}


def mostly(found, name):
    return [found[name][aspect] for aspect in ("whole", *ASPECTS)]


def test_real_pictures_are_right_in_all_and_faults_are_counted_where_they_are():
    scenes = [scene(3, index) for index in range(60)]
    captions = [caption for _, caption in scenes]
    pictures = [draw(shown, 32) for shown, _ in scenes]
    found = [judge(picture, caption) for picture, caption in zip(pictures, captions, strict=True)]
    several = np.array([" of a " in c or "ove a " in c or "low a " in c for c in captions])
    chosen = {"all": np.full(60, True), "first": np.arange(60) < 20} | groups(captions)
    assert (chosen["objects_1"] == ~several).all() and list(chosen)[2:5] == [
        "objects_1", "objects_2", "objects_3",
    ]  # fmt: skip
    right = accuracies(found, captions, chosen)
    assert all(value in (1, None) for name in right for value in mostly(right, name))
    assert right["objects_1"]["relations"] is None and right["all"]["relations"] == 1
    blank = np.zeros((32, 32, 3), np.uint8)
    blank[:] = COLOURS[parse(captions[0]).ground]
    found[0] = judge(blank, captions[0])
    wrong = accuracies(found, captions, chosen)
    assert wrong["first"]["whole"] == wrong["first"]["objects"] == 19 / 20
    assert wrong["first"]["ground"] == 1 and wrong["all"]["shapes"] == 59 / 60
    word = parse(captions[0]).kinds[0].colour
    having = np.array([f" {word} " in caption.split(" on ")[0] for caption in captions])
    assert (chosen[f"colours_{word}"] == having).all()
    assert wrong[f"colours_{word}"]["colours"] == pytest.approx(1 - 1 / having.sum())
    below = np.array(["below" in caption for caption in captions])
    assert (chosen["relations_below"] == below).all() and below.any()


def test_a_task_asks_what_it_is_about_and_no_more():
    asked = "a large red circle left of a small blue square on a white ground"

    def passed(*things):
        found = judge(draw(Scene(things, "yellow"), 64), asked)
        return {name for name, task in TASKS.items() if 2 in task.counts and task.passed(found)}

    def thing(colour, shape, x):
        return Thing(ObjectKind("large", colour, shape), x, 0.5, 0.35)

    circle, square = thing("red", "circle", 0.25), thing("blue", "square", 0.75)
    every = {"two_objects", "counting", "position", "colour_attribution"}
    assert passed(circle, square) == every
    assert passed(thing("red", "circle", 0.75), thing("blue", "square", 0.25)) == every - {
        "position"
    }
    swapped = passed(thing("blue", "circle", 0.25), thing("red", "square", 0.75))
    assert swapped == every - {"colour_attribution"}
    more = Thing(ObjectKind("small", "green", "star"), 0.5, 0.87, 0.21)
    assert passed(circle, square, more) == every - {"counting"}
    assert passed(circle, thing("blue", "star", 0.75)) == {"counting"}
    assert passed(circle) == set()


def test_the_prompt_set_is_what_it_says():
    found = prompts(6, 1, 3, HELD)
    assert found == prompts(6, 1, 3, HELD) and len(found) == 2 * 6 * len(TASKS)
    assert prompts(4, 1, 3, HELD)[:4] == found[:4]
    counting = [len(p.scene.things) for p in found if p.task == "counting"]
    assert counting == [2, 3] * 6
    for number, prompt in enumerate(found):
        kinds = parse(prompt.caption).kinds
        held = any((kind.colour, kind.shape) in HELD for kind in kinds)
        assert held == (number // 6 % 2 == 1)
        assert judge(draw(prompt.scene, 32), prompt.caption).ok
        if prompt.task in ("two_objects", "position", "colour_attribution"):
            assert len({kind.shape for kind in kinds}) == 2
        if prompt.task == "colour_attribution":
            assert len({kind.colour for kind in kinds}) == 2
    assert {p.task for p in prompts(2, 1, 1, ())} == {"single_object", "colours"}
    assert len(prompts(2, 1, 2, ())) == 2 * len(TASKS)


def test_tasks_are_counted_by_groups():
    found = prompts(2, 1, 2, HELD)
    views = [judge(draw(prompt.scene, 32), prompt.caption) for prompt in found]
    other = judge(np.full((32, 32, 3), 128, np.uint8), found[0].caption)
    unseen = np.arange(len(found)) // 2 % 2 == 1
    views[:1] = [other]  # of single_object, seen
    members = {"all": unseen | ~unseen, "seen": ~unseen, "un": unseen}
    members["few"] = np.arange(len(found)) < 20  # without the last task
    result = by_task(views, [prompt.task for prompt in found], members)
    shares = {name: each["single_object"] for name, each in result.items()}
    assert shares == {"all": 0.75, "seen": 0.5, "un": 1}
    assert list(result["all"]) == ["mean_of_tasks", *TASKS]
    assert result["seen"]["mean_of_tasks"] == pytest.approx(1 - 0.5 / 6)
    assert set(result["un"].values()) == {1}


def test_a_folder_is_judged_if_a_program_can(tmp_path, capsys):
    config = validate(composed("eval_align"), EvalAlign)
    folder, out = tmp_path / "shapes", tmp_path / "out.json"
    folder.mkdir()
    for index in range(4):
        shown, caption = scene(1, index)
        draw(shown, 32).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(caption)
    align.folder(config, folder, out)
    figures = json.loads(out.read_text())["figures"]["all"]
    assert figures == {"n": 4, "composition": dict.fromkeys(("whole", *ASPECTS), 1)}
    assert re.search(r"all +4( +1.000){7}", capsys.readouterr().out)
    draw(shown, 32).crop((0, 0, 32, 30)).save(folder / "3.png")
    with pytest.raises(UserError, match=r"3.png is 32 x 30: .* square"):
        align.folder(config, folder, None)
    (folder / "3.txt").write_text("red heart")
    with pytest.raises(UserError, match=r"no program can check .* give clip=DIR"):
        align.folder(config, folder, None)
