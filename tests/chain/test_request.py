"""What is asked for, of templates: which picture says what, from which noise."""

from pathlib import Path

import pytest

from dmtool.chain.options import MaskFrom, SampleOptions
from dmtool.chain.prompts import Wildcards, gathered
from dmtool.chain.request import requests
from dmtool.diffusion.samplers import Mix
from dmtool.errors import UserError
from dmtool.text.blend import Blend

LISTS = Wildcards(None)
ONE, TWO = "{a|b|c} one", "{a|b|c} two"


def asked(*prompts, n=2, seed=3, **options):
    nothing = dict.fromkeys(("out", "init", "mask", "outpaint", "vary", "frames", "to_seed"))
    options = nothing | {"index": 5, "negative": "{x|y}", "film": False} | options
    options = SampleOptions(
        prompts=list(prompts), wildcards=LISTS, n=n, **{"mask_from": MaskFrom.WHITE} | options
    )
    return requests(options, seed, None)


def drawn(prompt, i):
    return LISTS.drawn(prompt, 3, i)


def test_each_picture_draws_for_itself():
    found = asked(ONE, TWO, n=9)
    keys = [(3, 5 + k) for k in range(9)]
    assert [(r.prompt, r.key) for r in found] == [
        (drawn(prompt, key[1]), key) for prompt in (ONE, TWO) for key in keys
    ]
    assert [r.negative for r in found] == [LISTS.drawn("{x|y}", *k, "negative") for k in keys] * 2
    assert len({r.prompt for r in found}) > 2 and len({r.negative for r in found}) == 2


def test_variations_are_of_the_first_pictures_prompt():
    found = asked(ONE, n=9, vary=0.2)
    assert {r.prompt for r in found} == {drawn(ONE, 5)} and len({r.negative for r in found}) == 1
    assert [r.key for r in found] == [(3, 5), *(Mix((3, 5), (3, 5 + k), 0.2) for k in range(1, 9))]


def test_a_way_keeps_what_its_first_picture_drew():
    found = asked(ONE, TWO, n=2, frames=3, to_seed=8)
    for k in (0, 1):
        i, (first, middle, last) = 5 + k, found[k::2]
        one, two = drawn(ONE, i), drawn(TWO, i)
        assert [first.prompt, middle.prompt, last.prompt] == [one, Blend(one, two, 0.5), two]
        assert [first.key, middle.key, last.key] == [(3, i), Mix((3, i), (8, i), 0.5), (8, i)]
        assert first.negative == middle.negative == last.negative


def test_combinations_are_steps_of_a_way():
    found = asked(*gathered(["{a|b|c} one"], None, LISTS), n=1, frames=2)
    assert [r.prompt for r in found] == ["a one", "b one", "c one"]
    with pytest.raises(UserError, match="a second --prompt"):
        asked(ONE, frames=2)


def test_a_folder_of_lists_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="--wildcards nowhere: there is no such folder"):
        Wildcards(Path("nowhere"))
