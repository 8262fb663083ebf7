"""Tiny pretrained text encoders, drawn at random, with tokenizers of their kind."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ["red", "heart", "man", "pilot", "dark", "skin", "tone", "a", "of", "ü"]
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def clip(tmp_path) -> Path:
    """As in Stable Diffusion: vocab.json and merges.txt, the end token is the highest id."""
    folder = tmp_path / "clip"
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), "re", "red</w>"]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    ids = {token: i for i, token in enumerate(vocabulary)}
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n")
    config = transformers.CLIPTextConfig(
        vocab_size=len(ids),
        num_hidden_layers=3,
        max_position_embeddings=24,
        bos_token_id=len(ids) - 2,
        eos_token_id=len(ids) - 1,
        pad_token_id=len(ids) - 1,
        **SIZES,
    )
    return _save(folder, transformers.CLIPTextModel, config)


@pytest.fixture
def t5(tmp_path) -> Path:
    ids = {token: i for i, token in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(ids, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    wrapped.save_pretrained(tmp_path / "t5")
    config = transformers.T5Config(
        vocab_size=len(ids), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4
    )
    return _save(tmp_path / "t5", transformers.T5EncoderModel, config)


@pytest.fixture
def bert(tmp_path) -> Path:
    folder = tmp_path / "bert"
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(words))
    config = transformers.BertConfig(
        vocab_size=len(words), num_hidden_layers=2, max_position_embeddings=24, **SIZES
    )
    return _save(folder, transformers.BertModel, config)


def _save(folder: Path, model: type, config: transformers.PretrainedConfig) -> Path:
    """Weights large enough for tokens to matter to each other."""
    torch.manual_seed(0)
    network = model(config)
    for name, parameter in network.named_parameters():
        if "norm" not in name.lower():
            torch.nn.init.normal_(parameter, std=0.3)
    network.save_pretrained(folder)
    return folder
