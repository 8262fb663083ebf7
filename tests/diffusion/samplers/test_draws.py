"""A picture's noise: its own, or on the way to another's."""

import pytest
import torch
from gaussian import config

from dmtool.cond import Cond
from dmtool.diffusion.denoise import Denoiser
from dmtool.diffusion.noise import schedule
from dmtool.diffusion.samplers import Mix, last, picture_noise
from dmtool.diffusion.sampling import trajectory

SHARES = torch.linspace(0, 1, 9).tolist()


def test_noise_between_two_keys_is_standard_normal_and_turns_evenly():
    draw = picture_noise([Mix((0, i), (1, i), share) for share in SHARES for i in range(64)], "a")
    for x in (draw(torch.zeros(9 * 64, 1000)), draw(torch.zeros(9 * 64, 1000))):
        x = x.reshape(9, 64, 1000)
        assert ((x.square().mean((1, 2)) - 1).abs() < 0.02).all()
        norms = x.norm(dim=-1).std(1)  # of chi with 1,000 degrees of freedom: 0.707
        assert ((norms > 0.5) & (norms < 1)).all()
        cosines = torch.cosine_similarity(x[:-1], x[1:], dim=-1).mean(1)
        assert torch.allclose(cosines, torch.tensor(torch.pi / 16).cos().expand(8), atol=0.01)


@pytest.mark.parametrize("kind", ["euler", "ddpm"])
def test_its_ends_are_the_keys_own_pictures(kind):
    def network(x, level, cond):
        return torch.tanh(x.roll(1, -1))

    denoiser = Denoiser(network, schedule("flow"), "flow", "flow_time")
    chosen = config(kind, "sampler.steps=6")

    def sample(*keys):
        return last(trajectory(denoiser, Cond(), (3, 5), keys, chosen, "test", torch.device("cpu")))

    one, two = (0, 0), (7, 3)
    ends = sample(Mix(one, two, 0.0), Mix(one, two, 1.0), Mix(one, two, 0.4))
    assert torch.equal(ends[:2], sample(one, two))
    assert min((ends[2] - end).abs().max() for end in ends[:2]) > 0.1
