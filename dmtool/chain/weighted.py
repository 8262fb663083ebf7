"""Text encoders that read weights in prompts, wrapped around those that do not.

The rule is compel's: a token's state s becomes n + w (s - n), where n is the state at its place of
the null caption, encoded with the network that reads it. Encoders that do not pad all captions to
one length have no such place, and n is the mean of the null caption's states. The pooled vector is
that of the plain prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dmtool.cond import Cond
from dmtool.diffusion.network import encoded
from dmtool.text import TextEncoder
from dmtool.text.blend import ends
from dmtool.text.encoder import Encoded
from dmtool.text.weights import Weighed, weighed

if TYPE_CHECKING:
    from dmtool.chain.pipeline import Pipeline
    from dmtool.chain.request import Request


def weighted(chain: Pipeline) -> Pipeline:
    """The same chain, in all of whose prompts there may be weights."""
    upsampler, device = chain.upsampler, chain.device

    def wrapped(text: TextEncoder, network: object) -> TextEncoder:
        """What hears nothing needs no weights."""
        return Weighted(text, network, device) if text.dim else text

    if upsampler is not None:
        upsampler = upsampler.hearing(wrapped)
    return replace(chain, generator=chain.generator.hearing(wrapped), upsampler=upsampler)


def check_weights(requests: Sequence[Request]) -> None:
    """UserError for the first request in whose prompts parentheses or weights are in disorder."""
    prompts, negatives = zip(*((each.prompt, each.negative) for each in requests), strict=True)
    first, second, _ = ends(prompts)
    for prompt in dict.fromkeys([*first, *second, *negatives]):
        weighed(prompt)


class Weighted(TextEncoder):
    """`encode` gives states, also where `encoder` is learned with `network`, which has read them.

    All weights 1, the condition is that of the plain prompt, bit for bit.
    """

    def __init__(self, encoder: TextEncoder, network: object, device: torch.device) -> None:
        self.encoder, self.predictor, self.device = encoder, network, device
        self.dim, self.pooled_dim = encoder.dim, encoder.pooled_dim
        self.max_length = encoder.max_length

    def encode(self, captions: Sequence[str]) -> Cond:
        prompts = [weighed(caption) for caption in captions]
        cond = self._plain([prompt.text for prompt in prompts])
        if cond.states is None or all(w == 1 for prompt in prompts for w in prompt.weights):
            return cond
        null = self._plain([""]).states
        assert null is not None
        weights = self._of_tokens(prompts).to(cond.states)
        return replace(cond, states=scaled(cond.states, null[0], weights))

    def clipped(self, captions: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        return self.encoder.clipped([weighed(caption).text for caption in captions])

    def spans(self, captions: Sequence[str]) -> list[list[tuple[int, int]]]:
        return self.encoder.spans([weighed(caption).text for caption in captions])

    def each(self, tokens: Sequence[list[int]]) -> list[Encoded]:
        return self.encoder.each(tokens)

    def card(self) -> dict[str, Any]:
        return self.encoder.card()

    def _plain(self, captions: list[str]) -> Cond:
        return encoded(self.predictor, self.encoder, captions, self.device)

    def _of_tokens(self, prompts: Sequence[Weighed]) -> Tensor:
        """The weight of each token, [B, L]; 1 for padding and what else stands for no character."""
        spans = self.encoder.spans([prompt.text for prompt in prompts])
        rows = [
            torch.tensor([_mean(prompt, *span) for span in row])
            for prompt, row in zip(prompts, spans, strict=True)
        ]
        return pad_sequence(rows, True, 1.0)


def scaled(states: Tensor, null: Tensor, weights: Tensor) -> Tensor:
    """States [B, L, D] moved away from the null caption's [N, D] by weights [B, L]: N = L pairs
    them by their places."""
    if len(null) != states.shape[1]:
        null = null.mean(0)
    w = weights[..., None]
    return torch.where(w == 1, states, null + w * (states - null))


def _mean(prompt: Weighed, start: int, stop: int) -> float:
    """The mean weight of a token's characters, but for the spaces about them."""
    inside = range(start, stop)
    some = [i for i in inside if not prompt.text[i].isspace()] or inside
    weights = {prompt.weights[i] for i in some}
    if len(weights) < 2:
        return weights.pop() if weights else 1.0
    return sum(prompt.weights[i] for i in some) / len(some)
