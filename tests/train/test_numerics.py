"""In half precision norms, softmax and losses are still computed in float32."""

import pytest
import tiny
import torch
from torch import nn

from dmtool.device import autocast
from dmtool.nn.layers import attention, explicit_attention

CPU = torch.device("cpu")
HALF = [torch.bfloat16, torch.float16]


def rounded(x, dtype):
    """How far two results are apart that were rounded to this type at the end, and only there."""
    return 1.01 * torch.finfo(dtype).eps * x.abs().clamp(min=0.1)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("norm", [nn.GroupNorm(4, 32), nn.LayerNorm([32, 8, 8])])
def test_norms_have_their_statistics_in_float32(dtype, norm):
    """A mean of 8 over a deviation of 1/2: in half precision nothing would be left of it."""
    generator = torch.Generator().manual_seed(0)
    x = (8 + torch.randn(2, 32, 8, 8, generator=generator) / 2).to(dtype)
    with autocast(CPU, dtype):
        found = norm(x).float()
    exact = norm.double()(x.double()).float()
    norm.float()
    assert ((found - exact).abs() <= rounded(exact, dtype)).all()


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("kernel", [attention, explicit_attention])
def test_softmax_over_many_tokens_sums_to_one(dtype, kernel):
    """4,096 equal scores: a sum of their exponentials in half precision stops at 256 or 2,048."""
    q, k, v = torch.zeros(1, 1, 2, 8), torch.zeros(1, 1, 4096, 8), torch.ones(1, 1, 4096, 8)
    with torch.no_grad(), autocast(CPU, dtype):
        found = kernel(q.to(dtype), k.to(dtype), v.to(dtype))
    torch.testing.assert_close(found.float(), torch.ones(1, 1, 2, 8), rtol=0.01, atol=0)


@pytest.mark.parametrize("stage", tiny.STAGE)
@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32", "fp64"])
def test_losses_are_at_least_float32(tmp_path, stage, dtype):
    trainer = tiny.trainer(stage, tmp_path, "limit.pictures=8", f"dtype={dtype}")
    losses, kinds = trainer.stage.losses, set()

    def noted(player, models, batch):
        found = losses(player, models, batch)
        kinds.update(value.dtype for value in (found.loss, *found.figures.values()))
        return found

    trainer.stage.losses = noted
    trainer.step(next(trainer._shares()), 0.0)
    assert kinds == {torch.float64 if dtype == "fp64" else torch.float32}
    weights = trainer.context.average.weights.values()
    assert {tensor.dtype for tensor in weights} == kinds
    assert trainer.progress.skipped == 0
