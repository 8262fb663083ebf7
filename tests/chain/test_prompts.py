"""Templates of prompts: what they may become, that draws are fair, and mistakes in one line."""

from collections import Counter
from itertools import permutations

import pytest

from dmtool.chain.prompts import Wildcards, gathered, lines
from dmtool.errors import UserError

COLOURS = "\ufeffred\n\n# not this\nblue\ndark {green|grey}\n"


@pytest.fixture
def wildcards(tmp_path):
    (tmp_path / "colour.txt").write_text(COLOURS, "utf-8")
    (tmp_path / "hair_colour.txt").write_text("__colour__ hair\nbald\n")
    (tmp_path / "my colour.txt").write_text("3::red\ndeep blue\n")
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
        ("a{3::x| .5 ::y|z}", ["ax", "ay", "az"]),
        ("{2$$a|b|c}", ["a, b", "a, c", "b, a", "b, c", "c, a", "c, b"]),
        ("{1-2$$ and $$a|{b|c}}", ["a", "b", "c", "a and b", "a and c", "b and a", "c and a"]),
        ("{-2$$$$a|b}", ["a", "b", "ab", "ba"]),
        ("{2-$$+$$a|b}{9$$c}{0$$d}", ["a+bc", "b+ac"]),
        ("{2$$ __my colour__ }", ["red, deep blue", "deep blue, red"]),
        ("__my colour.txt__ __my colour __ x", ["red red x", "red deep blue x", "deep blue red x",
                                                "deep blue deep blue x"]),
        ("{(a:1.3)|2::(b)} a::b $$ 5$ ____ and __ c __", [
            f"{x} a::b $$ 5$ ____ and __ c __" for x in ("(a:1.3)", "(b)")]),
        (r"{a\:\:b|2\$\$} \$\{x\}", [r"a\:\:b \$\{x\}", r"2\$\$ \$\{x\}"]),
        ("{{2$$a|b}|c}", ["a, b", "b, a", "c"]),
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


def chi_square(drawn, expected):
    """Of what was drawn against the shares {text: share} that are expected."""
    counts, n = Counter(drawn), len(drawn)
    assert set(counts) == set(expected) and sum(expected.values()) == pytest.approx(1)
    return sum((counts[text] - n * p) ** 2 / (n * p) for text, p in expected.items())


def test_what_weighs_more_is_drawn_more_often_by_seed_and_number_alone(wildcards):
    """Bounds are 1 in 1,000 of the degrees of freedom."""
    drawn = [wildcards.drawn("{6::a|3::b|c}", 7, i) for i in range(3000)]
    assert chi_square(drawn, {"a": 0.6, "b": 0.3, "c": 0.1}) < 13.8
    assert drawn[::-1] == [Wildcards(None).drawn("{6::a|3::b|c}", 7, 2999 - i) for i in range(3000)]
    drawn = [wildcards.drawn("__my colour__", 7, i) for i in range(1000)]
    assert chi_square(drawn, {"red": 0.75, "deep blue": 0.25}) < 10.8


def test_several_are_drawn_without_repeats_each_by_its_weight_among_those_left(wildcards):
    weight = {"a": 2, "b": 1, "c": 1}
    pairs = {
        f"{x}, {y}": weight[x] / 4 * weight[y] / (4 - weight[x]) / 2
        for x, y in permutations("abc", 2)
    }
    single = {x: w / 4 / 2 for x, w in weight.items()}
    drawn = [wildcards.drawn("{1-2$$2::a|b|c}", 3, i) for i in range(4000)]
    assert chi_square(drawn, single | pairs) < 26.1


def test_old_prompts_draw_what_they_did():
    """As recorded before there were weights and counts: seeds keep their pictures."""
    drawn = [Wildcards(None).drawn("{a|b|c} {d|{e|f}}", 5, i) for i in range(8)]
    assert drawn == ["a d", "c e", "b d", "b d", "a d", "c d", "b d", "c f"]


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("{a|b", "never closed"),
        ("a|b}", "closes nothing"),
        ("__colours__", "there are: colour, empty, hair_colour, my colour, snake, tail"),
        ("__snake__", "__snake__ contains itself, by way of snake > tail"),
        ("__empty__", "no lines"),
        ("{red::0.9|blue}", "'red' before '::' is no weight"),
        ("{a|0::b}", "'0' before '::' is no weight"),
        ("{a b {c}::d}", "a weight stands at the beginning of an option"),
        ("{a|2$$b}", "a count stands at the beginning of the braces"),
        ("{two$$a|b}", "'two' before '\\$\\$' is no count"),
        ("{3-2$$a|b}", "ends before it begins"),
        ("${x=a} b", "no variables"),
        ("{@a|b}", "names a sampler of dynamic-prompts"),
        ("{" * 60, "more than 50 braces"),
        ("__my colours__", "there is no .*my colours.txt"),
        ("__colours.txt__", r"there is no [^ ]*/colours\.txt \("),
        ("__../secret__", "there is no"),
        ("__colo*__", "there is no .*the text itself is"),
        ("{1-$$" + "a|" * 30 + "b}", "countless combinations"),
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
