"""The hybrid loss and the learned uncertainty, by gradients and optima that are known."""

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from dmtool.cond import Cond
from dmtool.config.compose import composed
from dmtool.config.stages import TrainUnet
from dmtool.config.validation import validate
from dmtool.diffusion.denoise import expand
from dmtool.diffusion.noise import schedule
from dmtool.nn.uncertainty import Uncertainty
from dmtool.train.stages.objective import Objective, outputs, uncertainty
from dmtool.train.stages.process import process_card

BINS = 2 / 255
T = torch.tensor([0.0005, 0.25, 0.6, 0.95], dtype=torch.float64)


class Saying(nn.Module):
    """A network that says what it is told to, and its uncertainty."""

    def __init__(self, output, uncertain=None):
        super().__init__()
        self.output, self.uncertainty = output, uncertain

    def forward(self, x, level, cond):
        return self.output


def objective(*words, bins=None):
    noise = validate(composed("train_unet", ["noise=scaled_linear", *words]), TrainUnet).noise
    return Objective(noise, process_card(noise, 16), bins), noise


def batch(seed=0):
    numbers = torch.Generator().manual_seed(seed)
    return torch.randn(2, len(T), 3, 4, 4, generator=numbers, dtype=torch.float64)


@pytest.mark.parametrize("bins", [None, BINS])
def test_the_bound_does_not_touch_the_mean_and_the_error_not_the_variance(bins):
    """Against the plain loss's gradient, and that of torch's own divergence of two normals."""
    hybrid, noise = objective("noise/variance=learned", bins=bins)
    plain, _ = objective()
    assert outputs(noise) == 2
    x_0, eps = batch()
    said = batch(1).movedim(0, 1).flatten(1, 2).requires_grad_()
    hybrid(Saying(said), x_0, eps, T, Cond()).loss.backward()
    mean = said.detach()[:, :3].requires_grad_()
    plain(Saying(mean), x_0, eps, T, Cond()).loss.backward()
    torch.testing.assert_close(said.grad[:, :3], mean.grad)
    variance = said.detach()[:, 3:].requires_grad_()
    (0.001 * 1000 * _bound(x_0, eps, mean.detach(), variance)).backward()
    torch.testing.assert_close(said.grad[1:, 3:], variance.grad[1:], rtol=1e-6, atol=1e-12)
    assert (said.grad[:1, 3:] != 0).any() == (bins is not None)  # what the picture is told with


def _bound(x_0, eps, said, between):
    """Bits per dimension of the steps from T to T - 1/1000, all but the first."""
    made = schedule("scaled_linear")
    (a, s), (a_b, s_b) = ([expand(x, x_0) for x in made(t)] for t in (T, (T - 0.001).clamp(min=0)))
    x_t = a * x_0 + s * eps
    estimate = (x_t - s * said) / a
    added = s**2 - (a / a_b * s_b) ** 2
    small = 1 / (1 / s_b**2 + (a / a_b) ** 2 / added)
    truth, model = (small * (a_b * x / s_b**2 + a / a_b * x_t / added) for x in (x_0, estimate))
    fraction = (between + 1) / 2
    std = small.sqrt() ** (1 - fraction) * added.sqrt() ** fraction
    nats = kl_divergence(Normal(truth[1:], small[1:].sqrt()), Normal(model[1:], std[1:]))
    return nats.mean((1, 2, 3)).sum() / len(x_0) / torch.log(torch.tensor(2.0).double())


def test_a_learned_weighting_begins_as_the_error_and_learns_its_logarithm():
    """The minimum of E[error / exp(u) + u] is at u = ln E[error], level by level."""
    learned, noise = objective("noise/weighting=learned", "noise.prediction=x0")
    plain, _ = objective("noise.prediction=x0")
    x_0, eps = batch()
    x_0 = x_0 * torch.tensor([0.1, 1, 3, 9]).double()[:, None, None, None]
    model = Saying(torch.zeros_like(x_0), uncertainty(noise).double())
    errors = x_0.square().mean((1, 2, 3))
    first, other = (each(model, x_0, eps, T, Cond()) for each in (learned, plain))
    torch.testing.assert_close(first.figures, other.figures, equal_nan=True)
    torch.testing.assert_close(first.loss, other.loss)
    torch.testing.assert_close(first.loss, errors.mean())
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = learned(model, x_0, eps, T, Cond()).loss
        loss.backward()
        return loss

    optimizer.step(closure)
    last = learned(model, x_0, eps, T, Cond())
    torch.testing.assert_close(last.loss, 1 + errors.log().mean(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(last.figures["loss_t1"], other.figures["loss_t1"], equal_nan=True)


def test_uncertainty_tells_levels_apart():
    waves = Uncertainty(64)
    nn.init.normal_(waves.weight)
    found = waves(torch.tensor([0.0, 1.0, 500.0, 999.0, 1000.0]))
    assert found.unique().numel() == 5 and found.isfinite().all()
