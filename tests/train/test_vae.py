"""The autoencoder's errors."""

import torch

from dmtool.train.stages.vae import ERRORS, saturated


def test_an_output_beyond_black_or_white_is_no_error_and_has_no_gradient():
    x = torch.tensor([-1.0, -1.0, 1.0, 1.0, 0.5, -0.5])
    output = torch.tensor([-1.5, -0.5, 1.5, 0.5, 1.5, -1.5], requires_grad=True)
    for error in ERRORS.values():
        beyond, within = torch.tensor([0, 2]), torch.tensor([1, 3, 4, 5])
        found = error(saturated(output, x), x)
        plain = (error(output[within], x[within]) * 4 + error(x[beyond], x[beyond]) * 2) / 6
        assert torch.allclose(found, plain)
        (gradient,) = torch.autograd.grad(found, output)
        assert (gradient[beyond] == 0).all() and (gradient[within] != 0).all()
