"""A critic of autoencoders: it learns before it is heard, and is balanced by whole batches."""

import json
import math

import pytest
import torch
from test_autoencoders import newest
from tiny import trainer

from dmtool.data.transforms import to_tensor
from dmtool.errors import UserError
from dmtool.losses.adversarial import GAMES, lecam
from dmtool.nn.discriminators import PatchCritic

PATCH = ["adversarial=patch", "adversarial.widths=[8,16]", "adversarial.groups=4",
         "adversarial.learns_at=32", "adversarial.counts_at=64",
         "adversarial.optim.schedule=constant"]  # fmt: skip
WORDS = ["vae.latent_channels=2", "optim.schedule=constant", "every.checkpoint=32"]
BALANCED = [*PATCH, "adversarial.adaptive=true", "adversarial.weight=0.5", "dtype=fp64"]


def network(folder):
    return {key: tensor for key, tensor in newest(folder).items() if "critic" not in key[0]}


def test_it_learns_before_it_is_heard(tmp_path):
    """Up to the pictures from which it counts, the autoencoder is the one without a critic."""
    for limit, same in ((64, True), (72, False)):
        plain, judged = tmp_path / f"plain{limit}", tmp_path / f"judged{limit}"
        trainer("vae", plain, *WORDS, f"limit.pictures={limit}").run()
        trainer("vae", judged, *WORDS, *PATCH, f"limit.pictures={limit}").run()
        a, b = network(plain), network(judged)
        assert all(torch.equal(a[key], b[key]) for key in a) == same
    lines = [json.loads(line) for line in (judged / "vae/metrics.jsonl").open()]
    learned = [line["pictures"] for line in lines if "critic_loss" in line]
    assert learned == [40, 48, 56, 64, 72]
    assert [line["pictures"] for line in lines if "deceit" in line] == [72]


@pytest.mark.parametrize("loss", ["hinge", "relativistic"])
def test_a_game_resumes_bit_for_bit(loss, tmp_path):
    words = [*WORDS, *BALANCED, f"adversarial.loss={loss}"]
    trainer("vae", tmp_path / "straight", *words, "limit.pictures=128").run()
    for limit in (96, 128):
        trainer("vae", tmp_path / "cut", *words, f"limit.pictures={limit}").run()
    expected, found = newest(tmp_path / "straight"), newest(tmp_path / "cut")
    assert ("critic.model.safetensors", "critic.model:balance") in found
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_the_balance_is_that_of_the_whole_batchs_gradients(tmp_path):
    """Found in four parts, against gradients of the batch in one."""
    words = [*WORDS, *BALANCED, "adversarial.learns_at=0", "adversarial.counts_at=8"]
    made = trainer("vae", tmp_path, *words, "limit.pictures=64", "accumulation=4")
    shares, critic = made._shares(), made.stage.players["critic"].network
    made.step(next(shares), 0.0)
    assert critic.balance == 0
    batch, stage = next(shares), made.stage
    x = to_tensor(batch.image).double()
    output, _ = stage.network(x, batch.noise.double())
    error = torch.sqrt((output - x) ** 2 + 1e-6).mean()
    gradients = [torch.autograd.grad(each, stage.network.last, retain_graph=True)[0].norm()
                 for each in (error, -critic(output).mean())]  # fmt: skip
    made.step(batch, 0.0)
    torch.testing.assert_close(critic.balance, gradients[0] / (gradients[1] + 1e-4))


def test_the_best_answer_to_each_game_is_the_known_one():
    """Of real and fake pictures that look alike: the critic's logit where its loss is least."""
    alike = torch.linspace(-3, 3, 601, dtype=torch.float64)
    least = {"hinge": (2.0, None), "non_saturating": (2 * math.log(2), 0.0),
             "least_squares": (0.25, 0.5), "relativistic": (math.log(2), None)}  # fmt: skip
    for name, game in GAMES.items():
        losses = game.critic(alike, alike)
        value, place = least[name]
        assert losses.min().item() == pytest.approx(float(value), rel=1e-6)
        if place is not None:
            assert alike[losses.argmin()].item() == pytest.approx(place, abs=1e-9)
        slope = game.deceit(torch.zeros_like(alike), alike)
        assert (slope.diff() <= 0).sum() > 300  # what looks more real is wanted
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
    assert lecam(real, fake, torch.tensor(1.0), torch.tensor(-2.0)).tolist() == [16.25, 17.0]


def test_patches_are_judged_at_the_scale_of_their_widths():
    torch.manual_seed(0)
    critic, x = PatchCritic([8, 16], 4), torch.randn(3, 3, 16, 16)
    assert critic(x).shape == (3,) and critic.layers(x).shape == (3, 1, 4, 4)
    torch.testing.assert_close(critic(x)[1:], critic(x[1:]))  # no example hangs on another


def test_a_critic_that_would_count_untaught_is_refused(tmp_path):
    with pytest.raises(UserError, match="counts_at=5 is not after learns_at=32"):
        trainer("vae", tmp_path, *WORDS, *PATCH, "adversarial.counts_at=5")
    with pytest.raises(UserError, match=r"widths=\[9\]: 9 is not divisible by"):
        trainer("vae", tmp_path, *WORDS, *PATCH, "adversarial.widths=[9]")
