"""The averages against EDM2's figures and closed forms."""

import pytest
import torch
from scipy import stats
from torch import nn

from dmtool.train.ema import Ema, Exponential, Power, gamma


class Weight(nn.Module):
    """One weight, one float buffer, one integer buffer."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.weight = nn.Parameter(torch.full((3,), 99.0, dtype=dtype))
        self.register_buffer("mean", torch.full((2,), 99.0))
        self.register_buffer("count", torch.tensor(0))

    def become(self, value):
        nn.init.constant_(self.weight, value)
        self.mean.fill_(2 * value)
        self.count.fill_(int(value))


@pytest.mark.parametrize(("sigma_rel", "exponent"), [(0.05, 16.97), (0.10, 6.94)])
def test_exponents_that_edm2_prints(sigma_rel, exponent):
    assert gamma(sigma_rel) == pytest.approx(exponent, abs=0.005)


@pytest.mark.parametrize("sigma_rel", [0.01, 0.05, 0.15, 0.27])
def test_the_profiles_deviation_is_the_width_that_was_asked_for(sigma_rel):
    """Weights t ** gamma over a training of length 1 are a beta distribution."""
    assert stats.beta(gamma(sigma_rel) + 1, 1).std() == pytest.approx(sigma_rel, rel=1e-9)


@pytest.mark.parametrize("sigma_rel", [0.05, 0.1, 0.25])
def test_the_average_is_the_closed_form_weighted_sum(sigma_rel):
    network, batch, steps = Weight(), 4, 50
    ema, power = Ema(network, Power(sigma_rel)), gamma(sigma_rel) + 1
    values = torch.linspace(-3, 5, steps, dtype=torch.float64).sin() * 10
    for k, value in enumerate(values, 1):
        network.become(value.item())
        ema.update(batch, k * batch)
    share = torch.arange(steps + 1, dtype=torch.float64).div(steps).pow(power).diff()
    expected = (share * values).sum().item()
    assert share.sum().item() == pytest.approx(1)
    torch.testing.assert_close(ema.weights["weight"], torch.full((3,), expected))
    torch.testing.assert_close(ema.weights["mean"], torch.full((2,), 2 * expected))
    assert ema.weights["count"] == int(values[-1])


def test_an_exponential_average_halves_with_each_half_life_and_sums_to_one():
    network, batch, steps, half_life = Weight(), 4, 50, 30
    ema = Ema(network, Exponential(half_life))
    values = torch.linspace(-3, 5, steps, dtype=torch.float64).sin() * 10
    for k, value in enumerate(values, 1):
        network.become(value.item())
        ema.update(batch, k * batch)
    share = 2.0 ** (-torch.arange(steps - 1, -1, -1, dtype=torch.float64) * batch / half_life)
    expected = (share * values).sum().item() / share.sum().item()
    torch.testing.assert_close(ema.weights["weight"], torch.full((3,), expected))


@pytest.mark.parametrize("profile", [Power(0.1), Exponential(50)])
def test_the_size_of_the_steps_does_not_matter(profile):
    """Weights that change every 12 pictures, averaged in after 12, 4 or 3 pictures."""
    averages = []
    for batch in (12, 4, 3):
        network = Weight()
        ema = Ema(network, profile)
        for seen in range(batch, 121, batch):
            network.become(float(-(-seen // 12)) ** 2)
            ema.update(batch, seen)
        averages.append(ema.weights["weight"])
    torch.testing.assert_close(averages[1], averages[0])
    torch.testing.assert_close(averages[2], averages[0])


def test_the_first_step_forgets_the_initial_weights_and_a_width_of_0_copies():
    for profile in (Exponential(10), Power(0.1), Power(0.0)):
        network = Weight()
        ema = Ema(network, profile)
        network.become(1 / 3)
        ema.update(8, 8)
        assert torch.equal(ema.weights["weight"], network.weight)
    network.become(1 / 7)
    ema.update(8, 16)
    assert torch.equal(ema.weights["weight"], network.weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_applied_gives_the_average_and_restores_bit_for_bit(dtype):
    network = Weight(dtype)
    ema = Ema(network, Power(0.1))
    for k, value in enumerate([0.1, 0.7, 1 / 3], 1):
        network.become(value)
        ema.update(1, k)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert ema.weights["weight"].dtype == torch.float32
    parameter = network.weight
    with pytest.raises(KeyboardInterrupt), ema.applied():
        assert torch.equal(network.weight, ema.weights["weight"].to(dtype))
        assert not torch.equal(network.weight, before["weight"])
        raise KeyboardInterrupt
    assert network.weight is parameter
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_checkpoints_averages_are_taken_up():
    """The exported one and both snapshots', of which one is the exported one itself."""
    network = Weight()
    for exported, count in ((Power(0.1), 2), (Exponential(3), 3)):
        first, second = (Ema(network, exported, [0.05, 0.1]) for _ in range(2))
        assert len(first.averages) == count
        for k in range(1, 7):
            network.become(float(k))
            first.update(1, k)
            if k == 3:
                second.load(first.state())
                assert second.weights["weight"].data_ptr() != first.weights["weight"].data_ptr()
            elif k > 3:
                second.update(1, k)
        for name, tensor in first.state().items():
            assert torch.equal(tensor, second.state()[name])
        assert len({weights["weight"][0].item() for weights in first.averages.values()}) == count
