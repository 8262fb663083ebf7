"""Cached states: the same as encoding, computed once."""

import logging
import time
from dataclasses import replace

import pytest
import torch

from dmtool import text
from dmtool.config.parts import HFText, NoText, ScratchText
from dmtool.files import shards
from dmtool.text.encoder import TextEncoder

CAPTIONS = ["red heart", "man pilot dark skin tone", "red heart", "of a ü man"] * 5
INDICES = [3, 0, -1, 1, 2, 2]


def _load(folder, layers=(0, -1)) -> TextEncoder:
    how = {"max_length": 16, "dtype": "fp32", "padding": "native"}
    return text.load(HFText(kind="hf", name=str(folder), layers=list(layers), **how))


def _states(encoder, captions=CAPTIONS) -> text.States:
    return text.cached_states(encoder, captions)


def _directories(tmp_path) -> int:
    return len(list((tmp_path / "cache/text").glob("[!.]*")))


@pytest.mark.parametrize("family", ["clip", "t5", "bert"])
@pytest.mark.parametrize("per_shard", [1, 3, 256])
def test_equal_to_encoding_and_minus_one_is_the_null_caption(
    family, per_shard, request, monkeypatch
):
    monkeypatch.setattr(shards, "ROWS", per_shard)
    encoder = _load(request.getfixturevalue(family))
    states = _states(encoder)
    assert len(states.shards) == -(-4 // per_shard)
    expected = encoder.encode([CAPTIONS[i] if i >= 0 else "" for i in INDICES])
    for indices in (INDICES, torch.tensor(INDICES)):
        cond = states.cond(indices)
        for cached, afresh in zip(cond.named().values(), expected.named().values(), strict=True):
            assert torch.equal(cached, afresh)
    assert len(states) == 20
    with pytest.raises(IndexError, match="of 20"):
        states.cond([20])
    with pytest.raises(IndexError):
        states.cond([-2])


def test_computed_once_for_the_same_captions_and_encoder(bert, t5, tmp_path, monkeypatch):
    calls = []
    each = text.frozen.FrozenEncoder.each
    monkeypatch.setattr(
        text.frozen.FrozenEncoder, "each", lambda self, t: calls.append(len(t)) or each(self, t)
    )
    _states(_load(bert))
    assert sum(calls) == 4  # three distinct captions and the null caption
    moved = bert.rename(tmp_path / "elsewhere")
    again = _states(_load(moved), CAPTIONS[::-1])
    assert sum(calls) == 4 and _directories(tmp_path) == 1
    assert torch.equal(again.cond([0]).mask, _states(_load(moved)).cond([19]).mask)
    _states(_load(moved), [*CAPTIONS, "dark heart"])
    _states(_load(moved, layers=[-1]))
    _states(_load(t5))
    assert sum(calls) == 4 + 5 + 4 + 4 and _directories(tmp_path) == 4


def test_statistics_are_those_of_all_tokens_and_captions(bert, monkeypatch):
    monkeypatch.setattr(shards, "ROWS", 3)
    states = _states(_load(bert))
    cond = states.cond([0, 1, 3, -1])
    statistics = states.statistics()
    for name, rows in (("states", cond.states[cond.mask]), ("pooled", cond.pooled)):
        mean, std = statistics[name]
        expected = rows.double().mean(0), rows.double().std(0, correction=0)
        torch.testing.assert_close(mean.double(), expected[0], atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(std.double(), expected[1], atol=1e-6, rtol=1e-6)


def test_only_captions_too_large_for_half_precision_are_kept_in_single(bert):
    encoder = _load(bert)
    words = encoder._model.embeddings.word_embeddings.weight.data
    expected = _states(encoder).cond([0]).states
    encoder._network = replace(encoder._network, sha256="0" * 64)
    encoder._model.embeddings.LayerNorm.weight.data[3] = 3e4  # times at most 5.6
    words[encoder._network.tokenizer.vocab["pilot"], 3] = 1e3
    states = _states(encoder)
    (values,) = states.shards.column("values")
    assert values.dtype == torch.float32 and values.isfinite().all() and values.max() > 7e4
    large, small = (states.cond([i]).states for i in (1, 3))
    assert torch.equal(small, small.half()) and not torch.equal(large, large.half())
    cond = encoder.encode(CAPTIONS)
    assert torch.equal(cond.states, states.cond(range(20)).states)
    assert expected.isfinite().all()


def test_states_that_are_not_numbers_are_an_error_and_leave_no_shard(bert, tmp_path):
    encoder = _load(bert)
    encoder._model.embeddings.LayerNorm.bias.data[:] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        _states(encoder)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_cut_captions_are_reported_by_every_encoder_once(bert, caplog):
    for _ in range(2):
        caplog.clear()
        encoder = _load(bert)
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                _states(encoder, ["red " * 100, "red", "heart " * 100])
        assert [r.message[:39] for r in caplog.records] == [
            "2 captions are longer than 16 tokens an"
        ]


def test_ids_of_a_learned_encoder_and_nothing_of_none():
    config = ScratchText(
        kind="scratch", tokenizer="bytes", vocabulary=300, width=32, depth=1, heads=4, max_length=64
    )
    encoder = text.load(config)
    cond, expected = _states(encoder).cond(INDICES), encoder.encode(["", *CAPTIONS[:2]])
    assert cond.pooled is None and cond.states.dtype == torch.int64
    assert torch.equal(cond.states[[2, 1, 3]], expected.states)
    assert torch.equal(cond.mask[[2, 1, 3]], expected.mask)
    assert _states(text.load(NoText(kind="none"))).cond(INDICES).states is None


def test_a_batch_is_fast(bert):
    states = _states(_load(bert), [f"{'red heart ' * (i % 7)}{i}" for i in range(2000)])
    batches = torch.randint(-1, 2000, (20, 64))
    states.cond(batches[0])
    start = time.perf_counter()
    for batch in batches:
        states.cond(batch)
    assert (time.perf_counter() - start) / 20 < 5e-3
