"""Real pictures as a chain's decoder, and its upsampler, give them back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from dmtool.chain.pipeline import Pipeline
from dmtool.data.transforms import to_tensor, to_uint8
from dmtool.device import autocast
from dmtool.diffusion.samplers import Key
from dmtool.upsamplers.upsampler import shrink


def decoded(
    chain: Pipeline, pictures: Iterable[Tensor], captions: Sequence[str], keys: Sequence[Key]
) -> Iterator[Tensor]:
    """uint8 pictures [3, H, W] through the latents (and the upsampler) and back, in their order.

    An upsampler is told each picture's caption and draws its noise from its key.
    """
    of_each = zip(pictures, captions, keys, strict=True)
    while part := list(islice(of_each, chain.batch_size)):
        images, words, seeds = zip(*part, strict=True)
        yield from _decoded(chain, torch.stack(images), words, seeds)


@torch.inference_mode()
def _decoded(
    chain: Pipeline, images: Tensor, captions: Sequence[str], keys: Sequence[Key]
) -> Tensor:
    codec, upsampler = chain.codec, chain.upsampler
    x = to_tensor(images.to(chain.device))
    x = shrink(x, upsampler.factor) if upsampler else x
    with autocast(chain.device, chain.dtype):
        x = codec.decode(codec.encode(x)).clamp(-1, 1)
        if upsampler:
            x = upsampler(x, captions, keys)
    return to_uint8(x).cpu()
