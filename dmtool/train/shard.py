"""A network's parameters in shards: each process holds its part of every tensor (FSDP2).

A shard is a DTensor: whole in its shape, a part of its first dimension in this process's memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.utils import get_total_norm


def shard(network: nn.Module, mesh: DeviceMesh, dtype: torch.dtype, *, reshard: bool) -> nn.Module:
    """Shard a network in place over the mesh, block by block, and move it to the mesh's device.

    Blocks are the `units` of itself and its parts; what is in none of these stays gathered from the
    forward to the backward pass.

    Parameters are stored, stepped and averaged as they are and gathered in `dtype`; gradients are
    summed over the processes in float32 at least. Inputs are left to autocast: a noise level of
    999 is no number in half precision. With `reshard` blocks are let go after the forward pass and
    gathered again for the backward pass.
    """
    half = dtype in (torch.bfloat16, torch.float16)
    policy = MixedPrecisionPolicy(
        param_dtype=dtype if half else None,
        reduce_dtype=torch.float32 if half else None,
        cast_forward_inputs=False,
    )
    units = {id(unit) for part in network.modules() for unit in getattr(part, "units", ())}
    inner_first = [module for module in network.modules() if id(module) in units][::-1]
    for module in inner_first:
        fully_shard(module, mesh=mesh, reshard_after_forward=reshard, mp_policy=policy)
    fully_shard(network, mesh=mesh, reshard_after_forward=False, mp_policy=policy)
    return network


def local(tensor: Tensor) -> Tensor:
    """This process's part of a shard, in the same memory; a plain tensor as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gathered(tensor: Tensor) -> Tensor:
    """The whole of a shard; all processes must call it. A plain tensor as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's part, as `like` is sharded, of a tensor that all processes have whole."""
    if not isinstance(like, DTensor):
        return tensor
    shards = distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
    return shards.to_local()


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of all together, a scalar; all processes must call it."""
    shards = [tensor for tensor in tensors if isinstance(tensor, DTensor)]
    others = [tensor for tensor in tensors if not isinstance(tensor, DTensor)]
    norms = [gathered(get_total_norm(part)) for part in (shards, others) if part]
    return torch.linalg.vector_norm(torch.stack(norms))


def whole(weights: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """The weights with all shards gathered, one at a time, on the CPU of the processes that `keep`
    them; plain tensors as they are. All processes must call it.
    """
    found = {}
    for name, tensor in weights.items():
        full = gathered(tensor.detach())
        if keep:
            found[name] = full.cpu() if isinstance(tensor, DTensor) else full
    return found
