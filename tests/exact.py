"""Data whose denoiser E[x_0 | x_t] and probability flow have closed forms."""

import torch

from dmtool.diffusion.denoise import Estimate, Estimating, expand
from dmtool.diffusion.noise import schedule

WEIGHTS, MEANS, STDS = [0.7, 0.3], [-0.5, 0.6], [0.1, 0.2]


class Mixture:
    """Each value is of a mixture of two normals."""

    network = None

    def __init__(self, kind):
        self.schedule = schedule(kind)

    def __call__(self, x_t, t, cond):
        alpha, sigma = (expand(each, x_t)[..., None] for each in self.schedule(t.double()))
        weights, means, stds = (x_t.new_tensor(each) for each in (WEIGHTS, MEANS, STDS))
        variance = (alpha * stds) ** 2 + sigma**2
        error = x_t[..., None] - alpha * means
        share = (weights.log() - variance.log() / 2 - error**2 / (2 * variance)).softmax(-1)
        return (share * (means + alpha * stds**2 / variance * error)).sum(-1)

    def state(self, z, t):
        """Where the probability flow takes z of a standard normal, float64: by bisection, for in
        one dimension the flow keeps quantiles."""
        alpha, sigma = self.schedule(torch.as_tensor(t, dtype=torch.float64))
        weights, means, stds = (z.new_tensor(each) for each in (WEIGHTS, MEANS, STDS))
        means, stds = alpha * means, torch.hypot(alpha * stds, sigma)
        quantile, low, high = torch.special.ndtr(z), torch.full_like(z, -9), torch.full_like(z, 9)
        for _ in range(60):
            middle = (low + high) / 2
            below = weights * torch.special.ndtr((middle[..., None] - means) / stds)
            right = below.sum(-1) < quantile
            low, high = torch.where(right, middle, low), torch.where(right, high, middle)
        return middle


class Correlated:
    """Rows [B, D] of a normal of this mean [D] and full covariance [D, D]."""

    def __init__(self, kind, mean, covariance):
        self.schedule, self.mean, self.covariance = schedule(kind), mean, covariance

    def noisy(self, t):
        """The mean and the covariance of x_t at a time (a scalar)."""
        alpha, sigma = self.schedule(t)
        identity = torch.eye(len(self.mean), dtype=torch.float64)
        return alpha * self.mean, alpha**2 * self.covariance + sigma**2 * identity

    def __call__(self, x_t, t, cond):
        mean, covariance = self.noisy(t[0])
        alpha, _ = self.schedule(t[0])
        return self.mean + (x_t - mean) @ torch.linalg.solve(covariance, alpha * self.covariance)


class Between(Estimating):
    """A denoiser that also says where between the two posterior variances a step's own lies."""

    def __init__(self, denoiser, fraction):
        self.schedule, self.denoiser, self.fraction = denoiser.schedule, denoiser, fraction

    def estimate(self, x_t, t, cond):
        x_0 = self.denoiser(x_t, t, cond)
        return Estimate(x_0, torch.full_like(x_t, self.fraction))
