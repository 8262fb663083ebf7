"""What a network costs, counted without computing: on tensors that have shapes and no numbers."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dmtool.config.optim import Optim
from dmtool.config.training import Train
from dmtool.device import autocast
from dmtool.look.plan.outline import Outline, Rival
from dmtool.train import ema, optim

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Count:
    """Of one training: numbers of weights, FLOPs a picture (a multiplication and an addition are
    two), and bytes.

    `network`, `averages` and `optimizer` are the bytes of a checkpoint's three files, `encoder`
    those of the frozen weights.
    """

    trainable: int
    frozen: int
    forward: int
    backward: int
    network: int
    averages: int
    optimizer: int
    encoder: int

    @property
    def flops(self) -> int:
        """Of a picture in training."""
        return self.forward + self.backward

    @property
    def checkpoint(self) -> int:
        """Bytes of a checkpoint."""
        return self.network + self.averages + self.optimizer

    @property
    def resident(self) -> int:
        """Bytes that stay on a GPU in training: weights, as much for their gradients, averages and
        the optimizer's state. A frozen text encoder is away by then."""
        return self.checkpoint + self.network

    def memory(self, kept: int) -> int:
        """Bytes that a GPU needs when a forward pass has `kept` some.

        When nothing is kept, live weights are put aside to look at the averaged ones. Before all
        that, captions are encoded.
        """
        return max(self.resident + max(kept, self.network), self.encoder)


def count(outline: Outline, config: Train) -> Count:
    """Count a stage's training."""
    with FakeTensorMode():
        network = outline.build()
        forward, total = flops(network, outline.inputs(1))
        first = Count(
            trainable=sum(p.numel() for p in network.parameters() if p.requires_grad),
            frozen=outline.frozen,
            forward=forward,
            backward=total - forward,
            network=size(network.state_dict().values()),
            averages=_averages(network, config),
            optimizer=_optimizer(network, config.optim),
            encoder=outline.frozen_bytes,
        )
        return _with(first, outline.rival) if outline.rival else first


def _with(first: Count, rival: Rival) -> Count:
    """The count of both players: the rival is called once in the first one's turn and for twice as
    many pictures in its own, for which the first one makes them again."""
    network = rival.build()
    forward, total = flops(network, rival.inputs(1))
    return replace(
        first,
        trainable=first.trainable + sum(p.numel() for p in network.parameters()),
        forward=2 * first.forward + 3 * forward,
        backward=first.backward + 3 * (total - forward),
        network=first.network + size(network.state_dict().values()),
        optimizer=first.optimizer + _optimizer(network, rival.optim),
    )


def kept(outline: Outline, device: torch.device, dtype: torch.dtype) -> int:
    """Bytes that a forward pass keeps a picture for the backward pass, computing in `dtype`.

    What only a GPU can tell is counted in float32 with the fused attention that it has too, and
    scaled to `dtype`: right to 1 % for Stable Diffusion's U-Net in bfloat16.
    """
    with FakeTensorMode():
        network = outline.build()
        one, two = (_kept(network, outline.inputs(n), device, dtype) for n in (1, 2))
        if rival := outline.rival:  # what deceives it goes through both
            judge = rival.build()
            one, two = (
                sum_ + _kept(judge, rival.inputs(n), device, dtype)
                for n, sum_ in ((1, one), (2, two))
            )
    return two - one


def flops(network: nn.Module, inputs: tuple[Any, ...]) -> tuple[int, int]:
    """FLOPs of a forward pass, and of it with the backward pass after it.

    Matrix products and convolutions alone, as torch counts them; attention is counted as its
    products, whatever the kernel computes again.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        output = _first(network(*inputs))
        forward = counter.get_total_flops()
        output.sum().backward()
    return forward, counter.get_total_flops()


def size(tensors: Iterable[Tensor]) -> int:
    """The bytes of tensors."""
    return sum(tensor.nbytes for tensor in tensors)


def _kept(
    network: nn.Module, inputs: tuple[Any, ...], device: torch.device, dtype: torch.dtype
) -> int:
    """The bytes of a whole pass, beside the weights."""
    own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in own:
            kept[storage] = tensor
        return tensor

    on_cpu = device.type == "cpu"
    computing: AbstractContextManager[None] = autocast(CPU, dtype) if on_cpu else nullcontext()
    with saved_tensors_hooks(keep, lambda tensor: tensor), computing:
        network(*inputs)
    total = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    return total if on_cpu else total * dtype.itemsize // 4


def _averages(network: nn.Module, config: Train) -> int:
    average = ema.Ema(network, ema.profile(config.ema), config.ema.snapshots)
    return size(average.state().values())


def _optimizer(network: nn.Module, config: Optim) -> int:
    """After a step: optimizers make their state in the first one."""
    optimizers = optim.build(network, config)
    for optimizer in optimizers:
        optimizer.step()
    states = [state for optimizer in optimizers for state in optimizer.state.values()]
    return size(value for state in states for value in state.values())


def _first(output: Any) -> Tensor:
    """An autoencoder also gives its posterior."""
    return output[0] if isinstance(output, tuple) else output
