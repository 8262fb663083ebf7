"""The learned text encoder's tokens, and the encoder of unconditional models."""

import json

import pytest
import torch

from dmtool import text
from dmtool.cond import Cond
from dmtool.config.parts import NoText, ScratchText
from dmtool.errors import UserError

CAPTIONS = ["red heart", "", "größe 日本語 ❤️", "red heart with arrow", "blue heart"]


def _config(tokenizer="bytes", **values) -> ScratchText:
    defaults = {"vocabulary": 300, "width": 32, "depth": 1, "heads": 4, "max_length": 64}
    return ScratchText(kind="scratch", tokenizer=tokenizer, **{**defaults, **values})


def test_bytes_are_utf8_between_begin_and_end():
    cond = text.load(_config()).encode(CAPTIONS)
    for caption, ids, mask in zip(CAPTIONS, cond.states, cond.mask, strict=True):
        begin, *body, end = ids[mask].tolist()
        assert (begin, end) == (1, 2)
        assert bytes(i - 3 for i in body).decode() == caption
    assert cond.states.dtype == torch.int64 and not cond.states[~cond.mask].any()


def test_bpe_is_shorter_loses_nothing_and_is_read_back(tmp_path):
    encoder = text.load(_config("bpe"), captions=CAPTIONS)
    cond = encoder.encode(CAPTIONS)
    assert cond.mask[0].sum() == 4  # begin, red, heart, end
    assert encoder.tokens.size == encoder.vocabulary <= 300
    encoder.save(tmp_path)
    again = text.from_card(json.loads(json.dumps(encoder.card())), folder=tmp_path)
    assert torch.equal(again.encode(CAPTIONS).states, cond.states)
    shuffled = text.load(_config("bpe"), captions=iter(CAPTIONS[::-1]))
    assert shuffled.card() == encoder.card()


def test_another_tokenizer_than_the_runs_is_refused(tmp_path):
    encoder = text.load(_config("bpe"), captions=CAPTIONS)
    with pytest.raises(UserError, match=r"tokenizer.json.*missing"):
        text.from_card(encoder.card(), folder=tmp_path)
    text.load(_config("bpe"), captions=["something else"]).save(tmp_path)
    with pytest.raises(UserError, match=encoder.card()["sha256"]):
        text.from_card(encoder.card(), folder=tmp_path)


def test_long_captions_keep_their_end(caplog):
    encoder = text.load(_config(max_length=16))
    cond = encoder.encode(["ü" * 10_000, "a"])
    assert cond.states.shape == (2, 16) and cond.states[0, -1] == 2
    assert "1 caption is longer than 16 tokens" in caplog.text
    assert encoder.truncated(["a" * 14, "a" * 15]) == 1


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe"])
def test_the_network_takes_the_tokens(tokenizer):
    encoder = text.load(_config(tokenizer), captions=CAPTIONS)
    assert encoder.trainable
    cond = encoder.encode(CAPTIONS)
    states, pooled = encoder.network()(cond.states, cond.mask)
    assert states.shape[2] == encoder.dim and pooled.shape == (5, encoder.pooled_dim)


def test_mistakes_are_named():
    with pytest.raises(UserError, match="max_length=2 leaves no room"):
        text.load(_config(max_length=2))
    with pytest.raises(UserError, match="vocabulary=100 is less than the 259"):
        text.load(_config("bpe", vocabulary=100), captions=CAPTIONS)
    with pytest.raises(UserError, match="there are none: use bytes"):
        text.load(_config("bpe"))


def test_no_text():
    encoder = text.load(NoText(kind="none"))
    assert (encoder.dim, encoder.pooled_dim, encoder.trainable) == (0, 0, False)
    assert (
        Cond.cat([encoder.encode(["a"]), text.from_card(encoder.card()).encode(["b"])]).batch == 0
    )
