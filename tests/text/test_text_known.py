"""An encoder that is away: the same states, and no network in memory."""

import pytest
import torch

from dmtool import text
from dmtool.config.parts import HFText, ScratchText
from dmtool.errors import UserError
from dmtool.text.frozen import FrozenEncoder

ASKED, HELD_OUT = ["red heart", "a man"], ["dark skin tone", "red heart", "man"]


@pytest.fixture
def encoder(bert):
    config = HFText(kind="hf", name=str(bert), layers=[0, -1], max_length=16, dtype="fp32",
                    padding="masked")  # fmt: skip
    return text.load(config)


@pytest.fixture
def loaded(monkeypatch):
    """How often a network is brought to a device."""
    found, there = [], FrozenEncoder._there
    monkeypatch.setattr(FrozenEncoder, "_there", lambda self: found.append(1) or there(self))
    return found


def test_it_says_what_it_said_and_is_gone_until_another_caption_comes(encoder, loaded):
    captions = [*ASKED, *HELD_OUT, "", "a man"]
    expected, new = encoder.encode(captions), encoder.encode(["pilot", "man"])
    known = text.away(encoder, ASKED, HELD_OUT)
    assert encoder._model is None and known.card() == encoder.card()
    assert (known.dim, known.pooled_dim, known.frozen) == (64, 32, encoder.frozen)
    loaded.clear()
    found = known.encode(captions)
    assert not loaded
    for a, b in zip(found.named().values(), expected.named().values(), strict=True):
        assert torch.equal(a, b)
    for _ in range(2):
        found = known.encode(["pilot", "man"])
        for a, b in zip(found.named().values(), new.named().values(), strict=True):
            assert torch.equal(a, b)
        assert len(loaded) == 1 and encoder._model is None


def test_a_second_start_needs_no_network(encoder, bert, loaded):
    text.away(encoder, ASKED, HELD_OUT)
    again = text.load(encoder.config)
    loaded.clear()
    text.away(again, ASKED, HELD_OUT).encode(ASKED)
    assert not loaded


def test_weights_that_have_changed_meanwhile_are_refused(encoder, bert):
    known = text.away(encoder, ASKED)
    with open(bert / "model.safetensors", "ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match="has changed since it was loaded"):
        known.encode(["pilot"])


def test_a_learned_encoder_stays():
    learned = text.load(ScratchText(kind="scratch", tokenizer="bytes", vocabulary=300, width=8,
                                    depth=1, heads=2, max_length=8))  # fmt: skip
    assert text.away(learned, ASKED) is learned
