"""`dmtool sample` with templates and weights, on tiny trainings."""

from functools import partial

import numpy as np
import pytest
from PIL import Image
from tiny import trainer

from dmtool import load, tasks
from dmtool.config import validate
from dmtool.errors import UserError
from dmtool.hydra_main import composed
from dmtool.prompts import Wildcards
from dmtool.sample import sample
from dmtool.schemas import Use

WORDS = ["sampler=ddim", "sampler.steps=2", "upsample.use=never", "dtype=fp32", "guidance.scale=3"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    trainer("unet", root, "limit.pictures=32").run()
    return root


def test_pictures_say_the_prompt_that_was_drawn_and_that_prompt_gives_them_again(run, tmp_path):
    config = validate(composed("sample", [f"run={run}", "seed=3", *WORDS]), Use)
    paint = partial(sample, config, film=False, wildcards=Wildcards(None))
    paint(prompts=["a {red|blue} (circle:1.5)"], n=4, negative="{a|b}", out=tmp_path / "drawn")
    files = sorted((tmp_path / "drawn").iterdir())
    said = [Image.open(file).text for file in files]
    assert {text["prompt"] for text in said} == {"a red (circle:1.5)", "a blue (circle:1.5)"}
    assert {text["negative"] for text in said} <= {"a", "b"}
    for file, text in zip(files, said, strict=True):
        i = int(text["index"])
        out = tmp_path / f"again-{i}"
        paint(prompts=[text["prompt"]], n=i + 1, negative=text["negative"], out=out)
        again = sorted(out.iterdir())[-1]
        assert (np.asarray(Image.open(again)) == np.asarray(Image.open(file))).all()
    with pytest.raises(UserError, match="never closed"):
        paint(prompts=["red", "(blue"], n=1, negative="", out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_weights_change_a_picture_and_weight_one_does_not(run):
    chain = load(str(run), *WORDS)
    plain, same, more = (
        np.asarray(chain.sample(prompt)[0])
        for prompt in ("a red circle", "a (red:1) circle", "a (red:3) circle")
    )
    assert (plain == same).all() and (plain != more).any()


def test_words_of_the_command_line_are_gathered(run, tmp_path):
    (tmp_path / "prompts").write_text("a {red|blue} circle\n")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/size.txt").write_text("small\nlarge\n")
    said = tasks.Said(["__size__"], str(tmp_path / "prompts"), str(tmp_path / "lists"), True)
    config = composed("sample", [f"run={run}", *WORDS])
    tasks.sample(config, said, 1, "", str(tmp_path / "out"), False)
    prompts = [Image.open(file).text["prompt"] for file in sorted((tmp_path / "out").iterdir())]
    assert prompts == ["small", "large", "a red circle", "a blue circle"]
