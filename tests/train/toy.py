"""A tiny stage of two players: an autoencoder with a codebook of moving averages, and a critic of
patches that sees the spread of its group, with an adaptive weight and LeCam's averages.

All that couples examples goes through sums over the step or fixed groups of the batch.
"""

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional as F

from dmtool.config import compose
from dmtool.config.stages import TrainVae
from dmtool.config.validation import validate
from dmtool.data.transforms import to_tensor
from dmtool.processes import ALONE
from dmtool.train import loop
from dmtool.train.parallel import unwrapped
from dmtool.train.player import Player
from dmtool.train.stage import Losses
from dmtool.train.stages.vae import VaeStage

CODES, WIDTH, GROUP, DECAY = 16, 4, 4, 0.9
WORDS = [
    "data=shapes", "data.count=60", "data.size=16", "resolution=16", "limit.minutes=null",
    "batch_size=32", "every.log=32", "optim.warmup=0", "held_out=2", "dtype=fp64",
    "optim.lr=1e-2", "vae.latent_channels=4", "vae.widths=[8]", "vae.groups=4",
]  # fmt: skip


class Autoencoder(nn.Module):
    """Patches of 4 x 4 pixels -> the nearest of the codes -> patches."""

    ends, regions = (), ()

    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(3, WIDTH, 4, stride=4)
        self.outer = nn.ConvTranspose2d(WIDTH, 3, 4, stride=4)
        self.encoder = nn.Sequential(self.inner)
        self.register_buffer("codes", torch.randn(CODES, WIDTH) / 4)
        self.register_buffer("counts", torch.ones(CODES))
        self.register_buffer("totals", self.codes.clone())
        self.register_buffer("adaptive", torch.zeros(()))

    def forward(self, x):
        z = self.inner(x)
        rows = z.detach().movedim(1, -1).flatten(0, 2)
        nearest = torch.cdist(rows, self.codes).argmin(1)
        code = self.codes[nearest].unflatten(0, (len(x), *z.shape[2:])).movedim(-1, 1)
        return self.outer(z + (code - z).detach()), F.mse_loss(z, code), rows, nearest

    def encode(self, x):
        z = self.inner(x.to(self.codes.dtype))
        return z

    def decode(self, z):
        return self.outer(z)


class Critic(nn.Module):
    """A logit a patch; one more channel is the spread within groups of neighbours."""

    ends, regions = (), ()

    def __init__(self):
        super().__init__()
        self.features, self.logits = nn.Conv2d(3, 8, 4, stride=4), nn.Conv2d(9, 1, 1)
        self.register_buffer("real", torch.zeros(()))
        self.register_buffer("fake", torch.zeros(()))

    def forward(self, x):
        h = F.leaky_relu(self.features(x), 0.2)
        spread = (h.unflatten(0, (-1, GROUP)).var(1) + 1e-4).sqrt()
        spread = spread.mean((1, 2, 3)).repeat_interleave(GROUP)[:, None, None, None]
        spread = spread.expand(-1, 1, *h.shape[2:])
        return self.logits(torch.cat([h, spread], 1)).mean((1, 2, 3))


class Toy(VaeStage):
    group = GROUP

    def __init__(self, config, device, loaded=None):
        super().__init__(config, device, loaded)
        self.network, critic = Autoencoder(), Critic()
        self.players = {
            "network": Player(self.network, config.optim, config.ema),
            "critic": Player(critic, config.optim, None, every=2, start=64),
        }

    def losses(self, player, models, batch):
        x = to_tensor(batch.image).to(batch.noise.dtype)
        return self._critic(models, x) if player == "critic" else self._network(models, x)

    def _network(self, models, x):
        model, critic = models["network"], models["critic"]
        output, commitment, rows, nearest = model(x)
        error, deceit = (output - x).abs().mean(), -critic(output).mean()
        network = unwrapped(model)
        last = network.outer.weight
        (by_error,) = torch.autograd.grad(error, last, retain_graph=True)
        (by_deceit,) = torch.autograd.grad(deceit, last, retain_graph=True)
        chosen = F.one_hot(nearest, CODES).to(rows)
        sums = {"counts": chosen.sum(0), "totals": chosen.T @ rows,
                "by_error": by_error * len(x), "by_deceit": by_deceit * len(x)}  # fmt: skip
        loss = error + 0.25 * commitment + network.adaptive * deceit
        return Losses(loss, {"error": error}, sums)

    def _critic(self, models, x):
        with torch.no_grad():
            output = models["network"](x)[0]
        critic = models["critic"]
        real, fake = critic(torch.cat([x, output])).chunk(2)
        averages = unwrapped(critic)
        lecam = F.relu(real - averages.fake) ** 2 + F.relu(averages.real - fake) ** 2
        loss = F.relu(1 - real) + F.relu(1 + fake) + 0.1 * lecam
        count = torch.tensor(float(len(x)), dtype=x.dtype)
        return Losses(
            loss.mean(), {"real": real}, {"real": real.sum(), "fake": fake.sum(), "count": count}
        )

    def settle(self, player, networks, sums):
        critic, network = networks["critic"], networks["network"]
        if player == "critic":
            critic.real.lerp_(sums["real"] / sums["count"], 1 - DECAY)
            critic.fake.lerp_(sums["fake"] / sums["count"], 1 - DECAY)
            return
        network.counts.lerp_(sums["counts"], 1 - DECAY)
        network.totals.lerp_(sums["totals"], 1 - DECAY)
        network.codes.copy_(network.totals / network.counts.clamp(min=1e-3)[:, None])
        ratio = sums["by_error"].norm() / (sums["by_deceit"].norm() + 1e-6)
        network.adaptive.copy_(0.1 * ratio.clamp(max=100))


def trainer(root, *words, group=ALONE):
    """A trainer that begins in `root`, or goes on there."""
    config = validate(compose.composed("train_vae", [*WORDS, *words]), TrainVae)
    accelerator = Accelerator(cpu=True)
    torch.manual_seed(config.seed)
    root.mkdir(parents=True, exist_ok=True)
    return loop.trainer(Toy(config, accelerator.device), config, root, accelerator, group)
