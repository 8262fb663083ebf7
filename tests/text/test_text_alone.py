"""What a caption is heard as depends on nothing but the caption."""

import pytest
import torch

from dmtool import text
from dmtool.config.parts import HFText, MiniLMText, ScratchText
from dmtool.text.frozen import rounded

CAPTIONS = ["red heart", "", "man pilot dark skin tone", "größe 日本語 of a ü", "a", "red of",
            "heart heart heart", "dark tone", "pilot", "skin skin", "red red red", "ü"]  # fmt: skip


@pytest.fixture(params=["minilm", "clip", "t5", "bert", "bytes"])
def encoder(request):
    if request.param == "minilm":
        return text.load(MiniLMText(kind="minilm", layers=[0, -1], max_length=64))
    if request.param == "bytes":
        return text.load(ScratchText(kind="scratch", tokenizer="bytes", vocabulary=300, width=8,
                                     depth=1, heads=2, max_length=64))  # fmt: skip
    name = str(request.getfixturevalue(request.param))
    how = {"max_length": 20, "dtype": "fp32", "padding": "native"}
    return text.load(HFText(kind="hf", name=name, layers=[0, -1], **how))


def heard(cond, row):
    """All of a caption, to the bit."""
    pooled = None if cond.pooled is None else cond.pooled[row].tolist()
    return cond.states[row][cond.mask[row]].tolist(), pooled


def test_its_states_are_the_same_bits_in_any_batch_and_under_any_autocast(encoder):
    together = encoder.encode(CAPTIONS)
    alone = [heard(encoder.encode([caption]), 0) for caption in CAPTIONS]
    assert [heard(together, row) for row in range(len(CAPTIONS))] == alone
    for computing in (torch.bfloat16, torch.float16):
        with torch.inference_mode(), torch.autocast("cpu", computing):
            turned = encoder.encode(CAPTIONS[::-1] * 2)
        assert [heard(turned, row) for row in range(len(turned.mask))] == alone[::-1] * 2
    assert turned.states.dtype in (torch.float32, torch.int64)


def test_states_are_rounded_to_halves_but_for_captions_beyond_their_range():
    values = torch.tensor([[[0.1, 6e4]], [[0.1, 7e4]], [[1e-9, -7e4]]])
    found = rounded(values)
    assert torch.equal(found[0], values[0].half().float()) and torch.equal(found[1:], values[1:])
