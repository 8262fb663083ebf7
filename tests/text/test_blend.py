"""Conditions between two prompts."""

import torch

from dmtool.cond import Cond
from dmtool.diffusion.network import condition
from dmtool.nn.layers import Attention
from dmtool.text.blend import Blend

WORDS = {"": [0.0], "a": [1.0, 2.0], "long one": [3.0, 4.0, 5.0, 6.0]}


class Text:
    """Each caption's tokens are numbers, twice."""

    def encode(self, captions):
        longest = max(len(WORDS[caption]) for caption in captions)
        states, mask = torch.zeros(len(captions), longest, 8), torch.zeros(len(captions), longest)
        for row, caption in enumerate(captions):
            tokens = WORDS[caption]
            states[row, : len(tokens)] = torch.tensor(tokens)[:, None]
            mask[row, : len(tokens)] = 1
        return Cond(states, mask.bool(), states.amax(1))


def said(*prompts):
    return condition(None, Text(), prompts, torch.device("cpu"))


def test_states_are_on_the_line_and_a_short_caption_goes_on_with_its_last_token():
    cond = said(Blend("a", "long one", 0.25), "a", Blend("long one", "a", 1.0))
    assert torch.equal(cond.states[0, :, 0], torch.tensor([1.5, 2.5, 2.75, 3.0]))
    assert cond.mask.tolist() == [[True] * 4, *[[True, True, False, False]] * 2]
    assert torch.equal(cond.pooled[:, 0], torch.tensor([3.0, 2.0, 2.0]))


def test_the_ends_are_the_prompts_to_what_attends_to_them():
    attention = Attention(8, 2, 8)
    x = torch.randn(2, 5, 8)
    blended, plain = said(*[Blend("a", "long one", s) for s in (0.0, 1.0)]), said("a", "long one")
    torch.testing.assert_close(
        attention(x, blended.states, blended.mask), attention(x, plain.states, plain.mask)
    )
    near = said(Blend("a", "", 1e-4))
    torch.testing.assert_close(near.states[:, :2], said("a").states, rtol=0, atol=1e-3)
