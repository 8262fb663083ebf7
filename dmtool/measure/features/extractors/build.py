"""What all extractors share: networks ready to infer, and the pieces put together."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dmtool.errors import UserError
from dmtool.measure.features.features import FeatureExtractor
from dmtool.measure.features.preparation import Preparation


def extractor(
    kind: str,
    name: str,
    sha256: str,
    prepare: Preparation,
    network: nn.Module,
    device: torch.device,
    *,
    layer: str,
    mode: str | None = None,
    classifier: nn.Module | None = None,
) -> FeatureExtractor:
    """The extractor of these pieces on `device`; `layer` and `mode` join its protocol.

    Raises UserError unless the network makes finite features [B, d] of pictures.
    """
    network = frozen(network, device)
    protocol = prepare.protocol() | {"layer": layer, "dtype": "float32"}
    return FeatureExtractor(
        kind=kind,
        name=name,
        sha256=sha256,
        dim=_dim(name, network, prepare.size, device),
        protocol=protocol | ({} if mode is None else {"mode": mode}),
        device=device,
        prepare=prepare,
        network=network,
        classifier=None if classifier is None else frozen(classifier, device),
    )


def fused(network: nn.Module, pairs: dict[str, str]) -> nn.Module:
    """The network whose convolutions take in the batch norms after them (`pairs` of names)."""
    network.eval()
    for module in list(network.modules()):
        for conv, norm in pairs.items():
            if hasattr(module, conv):
                joined = fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm))
                setattr(module, conv, joined)
                setattr(module, norm, nn.Identity())
    return network


def frozen(network: nn.Module, device: torch.device) -> nn.Module:
    """Ready to infer on `device`."""
    network.eval()
    for parameter in network.parameters():  # a TorchScript has no requires_grad_ of its own
        parameter.requires_grad_(False)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


@torch.inference_mode()
def _dim(name: str, network: nn.Module, size: int, device: torch.device) -> int:
    """The number of features, by a trial with a black picture."""
    try:
        found = network(torch.zeros(1, 3, size, size, device=device))
    except RuntimeError as error:  # the network's own words: TorchScript has no others
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"{name} takes no pictures of {size}x{size}: {reason}") from error
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != 1:
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise UserError(f"{name} makes {shape} of a picture, not features [1, d]")
    return int(found.shape[1])
