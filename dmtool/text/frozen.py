"""Frozen text encoders: the packaged MiniLM, and CLIP, T5 and BERT-like networks by folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dmtool.config.parts import HFText, MiniLMText
from dmtool.device import DTYPES, autocast
from dmtool.errors import UserError
from dmtool.text import pretrained
from dmtool.text.encoder import Encoded, TextEncoder, card, check_room

GROUP = 16
"""Captions that a network computes at once, always: see `FrozenEncoder.each`."""

MINILM = "all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class FrozenEncoder(TextEncoder):
    """A pretrained text network; `layers` of its hidden states, concatenated, are the states.

    Layer 0 is the embeddings' output and -1 the network's own output, after its final norm; layers
    between are the residual stream as it is (of CLIP, -2 is what Stable Diffusion XL takes, -1 what
    Stable Diffusion 1.x takes). Beside `layers`:

    - CLIP: pooled is the output at the end token. With native padding captions are padded to
      `max_length` and the mask is True over the padding as well, all as in Stable Diffusion.
    - T5 and BERT-like: pooled is the mean of the output over the tokens.
    - MiniLM: as BERT-like, and pooled is normalised to length 1, as in Sentence-BERT
      (arXiv:1908.10084).
    """

    def __init__(
        self,
        config: MiniLMText | HFText,
        name: str,
        network: pretrained.Pretrained,
        device: torch.device | str,
    ) -> None:
        self.config, self.name, self._network = config, name, network
        self.device = torch.device(device)
        self.dtype = DTYPES[config.dtype]
        self._padded = network.family.clip and config.padding == "native"
        self._model = model = network.network(self.dtype)
        self._layers = chosen_layers(config.layers, model.config.num_hidden_layers)
        self.max_length = config.max_length
        self.pooled_dim = int(model.config.hidden_size)
        self.dim = self.pooled_dim * len(self._layers)
        self._frozen = sum(parameter.numel() for parameter in model.parameters())
        _check_length(config.max_length, network, model.config)

    def leave(self) -> None:
        """Take the network from the device and from memory; it comes back when it is needed."""
        self._model = None
        if self.device.type != "cpu":
            torch.accelerator.empty_cache()

    def clipped(self, captions: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        tokenizer, longest = self._network.tokenizer, self.max_length
        ids = tokenizer(list(captions), verbose=False)["input_ids"]
        lost = [i for i, caption in enumerate(ids) if len(caption) > longest]
        for i in lost:
            ids[i] = tokenizer(captions[i], truncation=True, max_length=longest)["input_ids"]
        if self._padded:
            ids = [[*c, *[tokenizer.pad_token_id] * (longest - len(c))] for c in ids]
        return ids, lost

    @torch.no_grad()
    def each(self, tokens: Sequence[list[int]]) -> list[Encoded]:
        """In float32 whatever the caller computes in, and rounded as the cache keeps it.

        Networks compute batches of `GROUP` captions of one length, filled up with the first: so
        products have the same shape for a caption whatever it comes with, and the same bits.
        """
        alike: dict[int, list[tuple[int, ...]]] = {}
        for caption in dict.fromkeys(map(tuple, tokens)):
            alike.setdefault(len(caption), []).append(caption)
        found: dict[tuple[int, ...], Encoded] = {}
        with autocast(self.device, torch.float32):
            for same in alike.values():
                for start in range(0, len(same), GROUP):
                    group = same[start : start + GROUP]
                    found |= zip(group, self._group(group), strict=False)
        return [found[tuple(caption)] for caption in tokens]

    def _group(self, captions: Sequence[tuple[int, ...]]) -> list[Encoded]:
        """At least `captions`, which are of one length."""
        rows = [*captions, *[captions[0]] * (GROUP - len(captions))]
        ids = torch.tensor(rows, device=self.device)
        inside = None if self._network.family.clip else torch.ones_like(ids)
        out = self._there()(input_ids=ids, attention_mask=inside, output_hidden_states=True)
        # of some networks the last of hidden_states lacks the final norm
        every = (*out.hidden_states[:-1], out.last_hidden_state)
        states = torch.cat([every[layer] for layer in self._layers], -1).float()
        return [*map(Encoded, rounded(states), self._pooled(out))]

    def spans(self, captions: Sequence[str]) -> list[list[tuple[int, int]]]:
        tokenizer, longest = self._network.tokenizer, self.max_length
        if not tokenizer.is_fast:
            raise UserError(f"the tokenizer of {self.name} does not tell where its tokens stand")
        said = tokenizer(
            list(captions), truncation=True, max_length=longest, return_offsets_mapping=True
        )
        rows = [[(start, stop) for start, stop in row] for row in said["offset_mapping"]]
        if self._padded:
            rows = [row + [(0, 0)] * (longest - len(row)) for row in rows]
        return rows

    @property
    def frozen(self) -> int:
        return self._frozen

    @property
    def frozen_bytes(self) -> int:
        return self._frozen * self.dtype.itemsize

    def card(self) -> dict[str, Any]:
        network, config = self._network, asdict(self.config)
        sizes = self.dim, self.pooled_dim
        digest = network.tokenizer_sha256
        return card(config["kind"], self.name, network.sha256, config, *sizes, digest)

    def _there(self) -> Any:
        """The network on the device; UserError if it had left and is another one by now."""
        if self._model is None:
            folder = self._network.folder
            if pretrained.weights_digest(folder) != self._network.sha256:
                raise UserError(f"the text encoder in {folder} has changed since it was loaded")
            self._model = self._network.network(self.dtype)
        self._model.to(self.device)
        return self._model

    def _pooled(self, out: Any) -> Tensor:
        if self._network.family.clip:
            pooled: Tensor = out.pooler_output
            return pooled.float()
        mean = out.last_hidden_state.float().mean(1)
        return normalize(mean, dim=-1) if self.config.normalised else mean


def rounded(states: Tensor) -> Tensor:
    """States [B, ...] of B captions, float32, as the cache keeps them: with float16's digits, but
    of captions that have a value beyond its range."""
    narrow = states.half()
    fits = narrow.isfinite().flatten(1).all(1).reshape(-1, *[1] * (states.dim() - 1))
    return torch.where(fits, narrow.float(), states)


def minilm(config: MiniLMText, device: torch.device | str) -> FrozenEncoder:
    """The packaged all-MiniLM-L6-v2; UserError if it is not installed or has other weights."""
    network = pretrained.read(pretrained.minilm_folder())
    if network.sha256 != MINILM_SHA256:
        raise UserError(
            f"the installed {pretrained.MINILM_PACKAGE} has weights of sha256 {network.sha256}, "
            f"not {MINILM_SHA256}; reinstall it"
        )
    return FrozenEncoder(config, MINILM, network, device)


def hf(config: HFText, device: torch.device | str, folder: Path | None = None) -> FrozenEncoder:
    """The network that `config.name` names, or the one in `folder` under that name."""
    if Path(config.name).expanduser().is_dir():
        config = replace(config, name=str(Path(config.name).expanduser().absolute()))
    network = pretrained.read(folder or pretrained.find(config.name))
    if config.dtype == "fp16" and not network.family.fp16:
        raise UserError("text.dtype=fp16: T5 encoders overflow in it; take bf16, or fp32")
    return FrozenEncoder(config, config.name, network, device)


def chosen_layers(layers: Sequence[int], depth: int) -> list[int]:
    """Indices into the depth + 1 hidden states, none negative."""
    for layer in layers:
        if not -depth - 1 <= layer <= depth:
            raise UserError(f"text.layers: there is no layer {layer}, only 0 to {depth} (or -1)")
    if not layers:
        raise UserError("text.layers is empty: name at least one layer, -1 for the last")
    return [layer % (depth + 1) for layer in layers]


def _check_length(max_length: int, network: pretrained.Pretrained, config: Any) -> None:
    check_room(max_length, network.tokenizer.num_special_tokens_to_add())
    positions = network.positions(config)
    if positions and max_length > positions:
        raise UserError(
            f"text.max_length={max_length} is more than the {positions} tokens that the text "
            "encoder takes"
        )
