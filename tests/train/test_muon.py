"""Muon against the singular value decomposition, and against torch's own."""

import torch
from torch import nn

from dmtool.train.optim.muon import Muon

SHAPES = [(16, 16, 3, 3), (16, 16, 3, 3), (48, 4, 1, 1), (8, 40), (40, 8)]


def test_muons_first_step_follows_the_orthogonal_factor_of_the_flattened_gradient():
    """Against U V^T of the singular value decomposition; Newton-Schulz leaves singular values
    within 0.68 and 1.21, and directions to bfloat16's rounding."""
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    before = [weight.detach().clone() for weight in weights]
    for weight in weights:
        weight.grad = torch.randn_like(weight) * 1e-3
    Muon([{"params": weights}], lr=5e-3, weight_decay=0.1, momentum=0.95).step()
    for weight, old in zip(weights, before, strict=True):
        u, _, v = torch.linalg.svd(weight.grad.flatten(1).double(), full_matrices=False)
        rows, columns = weight.flatten(1).shape
        step = (old * (1 - 5e-4) - weight.detach()).flatten(1).double()
        step /= 5e-3 * 0.2 * max(rows, columns) ** 0.5
        values = u.mT @ step @ v.mT
        assert values.diagonal().min() > 0.65 and values.diagonal().max() < 1.25
        assert (values - values.diagonal().diag()).abs().max() < 0.05


def test_muons_momentum_on_matrices_is_torchs():
    """Five steps of a matrix beside torch's own Muon, which takes no convolutions."""
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(16, 24)) for _ in range(2))
    options = {"lr": 5e-3, "weight_decay": 0.1, "momentum": 0.95}
    mine = Muon([{"params": [ours]}], **options)
    peer = torch.optim.Muon([theirs], adjust_lr_fn="match_rms_adamw", **options)
    for _ in range(5):
        ours.grad = theirs.grad = torch.randn(16, 24)
        mine.step()
        peer.step()
    assert (ours - theirs).norm() < 0.02 * (theirs - 1).norm()
