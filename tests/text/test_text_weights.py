"""Weights in prompts: their grammar, which tokens they are of, and what they do to states."""

import pytest
import torch

from dmtool.chain.weighted import Weighted
from dmtool.config.parts import HFText, ScratchText
from dmtool.config.validation import validate
from dmtool.diffusion.network import NoisePredictor, condition
from dmtool.errors import UserError
from dmtool.text import load
from dmtool.text.blend import Blend
from dmtool.text.weights import weighed

CPU = torch.device("cpu")
SCRATCH = {"kind": "scratch", "width": 8, "depth": 1, "heads": 2, "max_length": 24,
           "vocabulary": 300}  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a red heart", [("a red heart", 1)]),
        ("a (red:1.3) heart", [("a ", 1), ("red", 1.3), (" heart", 1)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 1.0), (" c", 0.5)]),
        ("((a)) (b)", [("a", 1.1**2), (" ", 1), ("b", 1.1)]),
        ("(a: .5 ) (b:0)", [("a", 0.5), (" ", 1), ("b", 0)]),
        (r"a \(red\:1.3\) \\ \n", [(r"a (red:1.3) \ \n", 1)]),
        ("(kiss: man, man) 10:30", [("kiss: man, man", 1.1), (" 10:30", 1)]),
        ("", []),
    ],
)
def test_the_grammar(prompt, parts):
    text, weights = weighed(prompt)
    assert text == "".join(part for part, _ in parts)
    assert weights == pytest.approx([weight for part, weight in parts for _ in part])


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("a (red", r"'\(' at character 3 is never closed"),
        ("a red:1.3) b", r"'\)' at character 10 closes nothing"),
        ("(red:1,3)", "weight '1,3' is no number"),
        ("(red:big)", "weight 'big'"),
        ("(red:)", "weight ''"),
        ("(red:-1)", "weight '-1'"),
        ("(red:nan)", "weight 'nan'"),
        ("(red:1e999)", "weight '1e999'"),
    ],
)
def test_weights_in_disorder_are_one_line(prompt, says):
    with pytest.raises(UserError, match=says) as error:
        weighed(prompt)
    assert "\n" not in str(error.value)


@pytest.fixture(params=["clip", "t5", "bert", "bytes", "bpe"])
def encoder(request):
    if request.param in ("bytes", "bpe"):
        config = validate(SCRATCH | {"tokenizer": request.param}, ScratchText)
        return load(config, captions=["red heart", "dark skin tone"])
    name = str(request.getfixturevalue(request.param))
    config = {"kind": "hf", "name": name, "layers": [-1, -2], "max_length": 24, "dtype": "fp32",
              "padding": "native"}  # fmt: skip
    return load(validate(config, HFText))


def wrapped(encoder):
    """Weights on an encoder, with the network that reads its ids if it is a learned one."""
    torch.manual_seed(0)
    network = NoisePredictor(torch.nn.Identity(), encoder.network()).eval()
    return Weighted(encoder, network, CPU)


def test_each_token_says_which_characters_it_is(encoder):
    captions = ["a red heart", "", "ü of red " * 9]
    spans, (tokens, _) = encoder.spans(captions), encoder.clipped(captions)
    assert [*map(len, spans)] == [*map(len, tokens)]
    covered = {i for start, stop in spans[0] for i in range(start, stop)}
    assert "".join(captions[0][i] for i in sorted(covered)).replace(" ", "") == "aredheart"
    assert all(stop == 0 for _, stop in spans[1])


@torch.no_grad()
def test_weight_one_is_the_plain_prompt_bit_for_bit(encoder):
    text = wrapped(encoder)
    plain = text.encode(["a red heart", "dark", ""])
    same = text.encode(["a (red:1) heart", "((dark:2):0.5)", ""])
    other = text.encode(["a red heart", "(dark:2)", ""])
    for first, second in ((plain, same), (plain, other)):
        assert torch.equal(first.states[0], second.states[0])
        assert torch.equal(first.pooled, second.pooled) and torch.equal(first.mask, second.mask)
    assert torch.equal(plain.states, same.states)
    assert (plain.states[1] != other.states[1]).any()
    assert torch.equal(plain.states[2], other.states[2])


@torch.no_grad()
def test_half_way_between_two_weights_is_their_mean(encoder):
    text = wrapped(encoder)
    way = [Blend("a (red:0.2) heart", "a (red:1.8) heart", 0.5), "dark"]
    middle = condition(text.predictor, text, way, CPU)
    plain = condition(text.predictor, text, ["a red heart", "dark"], CPU)
    torch.testing.assert_close(middle.states[0], plain.states[0])
    assert torch.equal(middle.mask, plain.mask)


@torch.no_grad()
def test_weighted_states_are_moved_away_from_the_null_caption(encoder):
    """Token by token, by hand."""
    text, prompt = wrapped(encoder), "a red heart"
    plain, found = text.encode([prompt, prompt + prompt]), text.encode(
        ["a (red:1.5) heart", prompt + prompt])  # fmt: skip
    null = text.encode([""]).states[0]
    for place, (start, stop) in enumerate(encoder.spans([prompt])[0]):
        state = plain.states[0, place]
        away = null[place] if len(null) == plain.states.shape[1] else null.mean(0)
        if prompt[start:stop].strip() and 2 <= stop - 1 <= 4:  # its last letter is one of "red"
            assert prompt[start:stop].strip() in "red"
            state = away + 1.5 * (state - away)
        torch.testing.assert_close(found.states[0, place], state)
    assert torch.equal(found.states[1], plain.states[1])
    zero = text.encode(["a (red:0) heart"]).states[0]
    assert torch.isfinite(zero).all()
