"""Templates of prompts: what they may become, that draws are fair, and mistakes in one line."""

from collections import Counter

import pytest

from dmtool.errors import UserError
from dmtool.prompts import Wildcards, gathered, lines

COLOURS = "\ufeffred\n\n# not this\nblue\ndark {green|grey}\n"


@pytest.fixture
def wildcards(tmp_path):
    (tmp_path / "colour.txt").write_text(COLOURS, "utf-8")
    (tmp_path / "hair_colour.txt").write_text("__colour__ hair\nbald\n")
    (tmp_path / "snake.txt").write_text("a __tail__\n")
    (tmp_path / "tail.txt").write_text("tail of __snake__\n")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    return Wildcards(tmp_path)


@pytest.mark.parametrize(
    ("prompt", "all_of_them"),
    [
        ("red heart", ["red heart"]),
        ("", [""]),
        ("{red|blue} {heart|{star|moon}}",
         [f"{c} {f}" for c in ("red", "blue") for f in ("heart", "star", "moon")]),
        ("a{| big} __colour__ dot", [f"a{size} {colour} dot" for size in ("", " big") for colour in
                                     ("red", "blue", "dark green", "dark grey")]),
        ("__hair_colour__", ["red hair", "blue hair", "dark green hair", "dark grey hair", "bald"]),
        ("(a|b:1.3) snake_case __ {x}", ["(a|b:1.3) snake_case __ x"]),
        (r"\{a|b\} \__colour__ \(c\)", [r"\{a|b\} \__colour__ \(c\)"]),
    ],
)  # fmt: skip
def test_a_template_is_all_of_its_prompts_and_each_is_a_template_of_itself(
    wildcards, prompt, all_of_them
):
    assert wildcards.combined(prompt) == all_of_them
    drawn = {wildcards.drawn(prompt, seed, 0) for seed in range(80)}
    assert drawn == {*all_of_them}
    for each in all_of_them:
        assert wildcards.combined(each) == [each]


def test_draws_hang_on_seed_and_number_alone_and_options_are_equally_likely(wildcards):
    prompt = "{a|b|c} {a|b|c}"
    drawn = [wildcards.drawn(prompt, seed, i) for seed in range(60) for i in range(30)]
    assert drawn == [Wildcards(None).drawn(prompt, s, i) for s in range(60) for i in range(30)]
    counts = Counter(drawn)
    expected = len(drawn) / 9
    chi_square = sum((counts[f"{x} {y}"] - expected) ** 2 / expected for x in "abc" for y in "abc")
    assert chi_square < 26.1  # 1 in 1,000, of 8 degrees of freedom
    negative = [wildcards.drawn(prompt, s, i, "negative") for s in range(60) for i in range(30)]
    assert 120 < sum(map(str.__eq__, drawn, negative)) < 290  # a ninth of 1,800 is 200


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("{a|b", "never closed"),
        ("a|b}", "closes nothing"),
        ("__colours__", "there are: colour, empty, hair_colour, snake, tail"),
        ("__snake__", "__snake__ contains itself, by way of snake > tail"),
        ("__empty__", "no lines"),
        ("{0|1|2|3|4|5|6|7|8|9}" * 5, "100,000 combinations, more than 10,000"),
    ],
)
def test_a_template_in_disorder_is_one_line(wildcards, prompt, says):
    with pytest.raises(UserError, match=says) as error:
        wildcards.combined(prompt)
    assert "\n" not in str(error.value)


def test_prompts_are_those_of_the_command_line_and_of_a_file(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("# a comment\n  red heart \n\n\\#1\n", "utf-8")
    assert gathered(["a {b|c}"], file, None) == ["a {b|c}", "red heart", r"\#1"]
    assert gathered(["a {b|c}"], None, Wildcards(None)) == ["a b", "a c"]
    with pytest.raises(UserError, match="--prompt TEXT, or --prompts FILE"):
        gathered([], None, None)
    with pytest.raises(UserError, match="--wildcards DIR"):
        gathered(["__a__"], None, Wildcards(None))
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    for name in ("absent", "latin", "."):
        with pytest.raises(UserError, match="cannot be read"):
            lines(tmp_path / name)
