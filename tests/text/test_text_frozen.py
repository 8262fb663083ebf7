"""Frozen text encoders against transformers and sentence-transformers, and what they refuse."""

import json
import logging
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load, save_file

from dmtool import text
from dmtool.config.extractors import ClipExtractor
from dmtool.config.parts import HFText, MiniLMText
from dmtool.errors import UserError
from dmtool.measure.features import extractors
from dmtool.measure.record import shared_networks
from dmtool.runs import migrate
from dmtool.text.cache import _identity

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
CAPTIONS = ["red heart", "", "man pilot dark skin tone", "größe 日本語 ❤️ of a ü"]


def _config(folder, layers=(-1,), max_length=20, dtype="fp32", padding="native"):
    return HFText(
        kind="hf",
        name=str(folder),
        layers=list(layers),
        max_length=max_length,
        dtype=dtype,
        padding=padding,
    )


def _load(*given, **named):
    return text.load(_config(*given, **named))


def _minilm(max_length=128):
    return text.load(MiniLMText(kind="minilm", layers=[0, -1], max_length=max_length))


def _close(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def _near(states, b):
    """As near as float16 comes, which they are rounded to."""
    torch.testing.assert_close(states, b, atol=1e-6, rtol=1e-3)


def test_clip_is_used_as_in_stable_diffusion(clip):
    tokenizer = transformers.CLIPTokenizerFast.from_pretrained(clip)
    model = transformers.CLIPTextModel.from_pretrained(clip).eval()
    settings = {"padding": "max_length", "max_length": 20, "truncation": True}
    ids = tokenizer(CAPTIONS, return_tensors="pt", **settings)["input_ids"]
    with torch.no_grad():
        out = model(ids, output_hidden_states=True)
    cond = _load(clip, layers=[-1, -2, 0]).encode(CAPTIONS)
    expected = [out.last_hidden_state, out.hidden_states[-2], out.hidden_states[0]]
    _near(cond.states, torch.cat(expected, -1))
    assert cond.mask.shape == (4, 20) and cond.mask.all()
    end = (ids == tokenizer.eos_token_id).int().argmax(1)
    _close(cond.pooled, out.last_hidden_state[torch.arange(4), end])


def test_clips_masked_padding_is_none_at_all(clip):
    """Attention is causal: what a caption's own tokens are does not hang on what comes after."""
    native, masked = _load(clip), _load(clip, padding="masked")
    (tokens,), _ = masked.clipped(["red heart"])
    whole, short = native.encode(CAPTIONS), masked.encode(CAPTIONS)
    assert short.states.shape[1] == 20 and whole.mask.all() and not short.mask.all()
    _near(short.states[short.mask], whole.states[short.mask])
    assert not short.states[~short.mask].any()
    _close(short.pooled, whole.pooled)
    assert masked.encode(["red heart"]).states.shape[1] == len(tokens) < 20
    spans = masked.spans(["red heart"])
    assert len(spans[0]) == len(tokens)


@pytest.mark.parametrize("family", ["clip", "t5", "bert"])
def test_an_encoder_computes_in_the_type_that_its_card_names(family, request):
    folder = request.getfixturevalue(family)
    exact, half = _load(folder), _load(folder, dtype="bf16")
    assert {p.dtype for p in half._model.parameters()} == {torch.bfloat16}
    assert half.frozen_bytes * 2 == exact.frozen_bytes == 4 * exact.frozen
    a, b = (encoder.encode(CAPTIONS) for encoder in (exact, half))
    assert b.states.dtype == b.pooled.dtype == torch.float32
    error = (a.states - b.states).norm() / a.states.norm()
    assert 1e-4 < error < 0.1 and _identity(half) != _identity(exact)
    assert text.from_card(half.card()).card()["config"]["dtype"] == "bf16"


def test_t5_is_not_computed_in_float16(t5, clip):
    with pytest.raises(UserError, match=r"text.dtype=fp16: T5 encoders overflow"):
        _load(t5, dtype="fp16")
    assert _load(clip, dtype="fp16").encode(CAPTIONS).states.isfinite().all()
    with torch.autocast("cpu", torch.float16):  # of the noise predictor
        large = _load(t5)
        large._model.shared.weight.data *= 3e4
        assert large.encode(CAPTIONS).states.isfinite().all()


def test_cards_of_before_mean_what_they_did(clip):
    encoder, card = _load(clip), _load(clip).card()
    old = {"kind": "hf", "name": str(clip), "layers": [-1], "max_length": 20}
    card = migrate.CARD.migrate({"text": {**card, "config": old}}, 2)["text"]
    assert torch.equal(text.from_card(card).encode(["a"]).states, encoder.encode(["a"]).states)
    assert migrate.CONFIG.migrate({"text": old}, 1)["text"] == {
        **old, "dtype": "fp32", "padding": "native"
    }  # fmt: skip


@pytest.mark.parametrize("family", ["t5", "bert"])
def test_t5_and_bert_equal_transformers_without_padding(family, request):
    folder = request.getfixturevalue(family)
    kind = {"t5": transformers.T5EncoderModel, "bert": transformers.BertModel}[family]
    model, encoder = kind.from_pretrained(folder).eval(), _load(folder, layers=[0, -1])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    cond = encoder.encode(CAPTIONS)
    assert (
        (encoder.dim, encoder.pooled_dim)
        == (64, 32)
        == (cond.states.shape[2], cond.pooled.shape[1])
    )
    for caption, states, mask, pooled in zip(
        CAPTIONS, cond.states, cond.mask, cond.pooled, strict=True
    ):
        with torch.no_grad():
            ids = tokenizer(caption, return_tensors="pt")["input_ids"]
            out = model(ids, output_hidden_states=True)
        _near(states[mask], torch.cat([out.hidden_states[0], out.last_hidden_state], -1)[0])
        _close(pooled, out.last_hidden_state[0].mean(0))
        assert not states[~mask].any()


def test_minilm_equals_sentence_transformers():
    from sentence_transformers import SentenceTransformer

    from dmtool.text.pretrained import minilm_folder

    expected = SentenceTransformer(str(minilm_folder()), device="cpu").encode(CAPTIONS)
    encoder = _minilm()
    cond = encoder.encode(CAPTIONS)
    _close(cond.pooled, torch.from_numpy(expected))
    assert cond.states.shape[2] == encoder.dim == 768
    _close(cond.rows([0]).states[:, :4], encoder.encode(CAPTIONS[:1]).states)


@pytest.mark.parametrize("family", ["clip", "t5", "bert"])
def test_long_captions_are_cut_and_reported(family, request, caplog):
    encoder = _load(request.getfixturevalue(family))
    prompt = "red " * 2500
    with caplog.at_level(logging.WARNING):
        cond = encoder.encode(["red heart", prompt])
    assert cond.states.shape[1] == 20 and encoder.truncated(["a", prompt, prompt]) == 2
    (record,) = caplog.records
    assert "1 caption is longer than 20 tokens" in record.message and "'red red" in record.message
    caplog.clear()
    encoder.encode(["red heart", ""])
    assert not caplog.records


def test_exactly_max_length_tokens_are_not_cut(bert):
    encoder = _load(bert, max_length=4)
    assert encoder.truncated(["red heart", "red red heart"]) == 1


def test_a_card_finds_the_same_encoder_again(t5, tmp_path):
    encoder = _load(t5)
    card = json.loads(json.dumps(encoder.card()))
    _close(text.from_card(card).encode(CAPTIONS).states, encoder.encode(CAPTIONS).states)
    shutil.move(t5, tmp_path / "artifact/text_encoder")
    with pytest.raises(UserError, match="is not there"):
        text.from_card(card)
    assert text.from_card(card, folder=tmp_path / "artifact").card()["sha256"] == card["sha256"]


def test_another_encoder_than_the_runs_is_refused(bert):
    card, weights = _load(bert).card(), bert / "model.safetensors"
    tensors = load(weights.read_bytes())
    tensors["embeddings.LayerNorm.bias"] += 1
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(UserError) as caught:
        text.from_card(card)
    assert card["sha256"] in str(caught.value) and _load(bert).card()["sha256"] in str(caught.value)


def test_minilms_card():
    card = _minilm().card()
    assert card["name"] == "all-MiniLM-L6-v2" and card["sha256"].startswith("53aa51172d142c89")
    with pytest.raises(UserError, match="0000"):
        text.from_card({**card, "sha256": "0000"})


def test_sharded_weights_and_diffusers_folders(clip, tmp_path):
    model = transformers.CLIPTextModel.from_pretrained(clip)
    root = tmp_path / "diffusers"
    model.save_pretrained(root / "text_encoder", max_shard_size="40KB")
    assert len(list((root / "text_encoder").glob("*.safetensors"))) > 1
    (root / "tokenizer").mkdir()
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(clip / name, root / "tokenizer")
    _close(_load(root).encode(CAPTIONS).states, _load(clip).encode(CAPTIONS).states)


def test_loading_is_silent_and_leaves_the_settings(bert, capfd):
    bars = transformers.utils.logging.is_progress_bar_enabled()
    level = transformers.utils.logging.get_verbosity()
    _load(bert).encode(CAPTIONS)
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.is_progress_bar_enabled() == bars
    assert transformers.utils.logging.get_verbosity() == level


def test_what_is_not_supported_is_refused_by_name(bert, t5, tmp_path):
    for wrong, message in (
        ({"layers": [3]}, "no layer 3, only 0 to 2"),
        ({"layers": []}, "text.layers is empty"),
        ({"max_length": 25}, "max_length=25 is more than the 24"),
        ({"max_length": 2}, "max_length=2 leaves no room"),
    ):
        with pytest.raises(UserError, match=message):
            _load(bert, **wrong)
    with pytest.raises(
        UserError, match=r"'no-one/nothing' is neither.*text.name=FOLDER.*hf download"
    ):
        _load("no-one/nothing")
    with pytest.raises(UserError, match=r"empty/config.json cannot be read"):
        (tmp_path / "empty").mkdir()
        _load(tmp_path / "empty")
    with pytest.raises(UserError, match="not valid Unicode"):
        _load(t5).encode(["red \udc80"])
    (t5 / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(UserError, match=r"'gpt2' are not supported; these are: .*bert.*clip.*t5"):
        _load(t5)


def test_another_tokenizer_than_the_runs_is_refused(bert):
    """With the same weights; one that is written in another way is the same."""
    card, file = _load(bert).card(), bert / "vocab.txt"
    words = file.read_text().split()
    transformers.AutoTokenizer.from_pretrained(bert).save_pretrained(bert)
    assert text.from_card(card).card() == card
    for path in bert.glob("*token*"):
        path.unlink()
    swapped = {"red": "heart", "heart": "red"}
    file.write_text("\n".join(swapped.get(word, word) for word in words))
    with pytest.raises(UserError, match=f"the tokenizer of .* of sha256 {card['tokenizer']}"):
        text.from_card(card)
    text.from_card(card | {"tokenizer": None})  # of before there was such a key


def test_incomplete_weights_and_pickles_are_refused(bert):
    weights = bert / "model.safetensors"
    tensors = load(weights.read_bytes())  # not mapped: the file is written anew
    del tensors["embeddings.LayerNorm.bias"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"1 weight is missing.*: embeddings.LayerNorm.bias"):
        _load(bert)
    tensors["embeddings.LayerNorm.bias"] = torch.zeros(7)
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"LayerNorm.bias is \[7\], not \[32\]"):
        _load(bert)
    weights.write_bytes(b"not weights at all")
    with pytest.raises(UserError, match="cannot be read"):
        _load(bert)
    weights.rename(bert / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"no model.safetensors"):
        _load(bert)


def test_a_metric_of_the_network_that_steered_a_model_is_marked(clip):
    words = transformers.CLIPTextConfig.from_pretrained(clip, projection_dim=32)
    sight = {**SIZES, "num_hidden_layers": 1, "image_size": 32, "patch_size": 16}
    sight["projection_dim"] = 32
    parts = {"text_config": words.to_dict(), "vision_config": sight}
    config = transformers.CLIPConfig(**parts, projection_dim=32)
    transformers.CLIPModel(config).save_pretrained(clip)
    metric = extractors.load(ClipExtractor(kind="clip", weights=str(clip)), torch.device("cpu"))
    networks = {metric.name: metric.sha256}
    (line,) = shared_networks(networks, {"text": _load(clip).card()})
    assert line.startswith(f"{metric.name} is of the network that the model's text encoder")
    assert shared_networks(networks, {"text": _minilm().card()}) == []
