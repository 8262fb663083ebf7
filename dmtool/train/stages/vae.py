"""The autoencoder's stage: pictures -> reconstruction and KL losses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from dmtool.codecs.latents import whitening
from dmtool.config.stages import TrainVae
from dmtool.data import source
from dmtool.data.batches import in_order
from dmtool.data.pictures import Pictures
from dmtool.data.quality import psnr, ssim
from dmtool.data.source import Source, held_out
from dmtool.data.transforms import to_tensor, to_uint8
from dmtool.draw.sheet import tile
from dmtool.files.digests import digest
from dmtool.files.directories import Fill, nothing
from dmtool.nn.autoencoder import KINDS, Autoencoder
from dmtool.nn.precision import wide
from dmtool.train.batch import Batch
from dmtool.train.examples import Fixed, normals
from dmtool.train.feed import Place, Shuffled
from dmtool.train.player import Player
from dmtool.train.stage import Losses, Networks, OnePlayer
from dmtool.train.stages import penalties
from dmtool.train.start import data_card

MEASURED = 4096
"""Pictures over which the latents' whitening is measured."""

ERRORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "charbonnier": lambda x, y: torch.sqrt((x - y) ** 2 + 1e-6).mean(),
}
"""Reconstruction errors; Charbonnier's is a smooth L1."""


def saturated(output: Tensor, x: Tensor) -> Tensor:
    """`output`, but x where x in [-1, 1] is at an end of its range and `output` beyond it.

    Pictures are clamped, so what lies beyond white is white: there is no error, and no gradient.
    """
    return torch.where((x.abs() == 1) & (output * x > 1), x, output)


def network(config: TrainVae) -> Autoencoder:
    """The autoencoder with fresh weights."""
    return KINDS[config.vae.kind](**config.vae.arguments, **config.vae.learning)


@dataclass(frozen=True, eq=False)
class VaeBatch(Batch):
    """Pictures uint8 [B, 3, H, W], noise [B, C, h, w] for the bottleneck, and the pictures that had
    been seen when their step began, [B]."""

    on_host = frozenset({"seen"})

    image: Tensor
    noise: Tensor
    seen: Tensor


class VaeExamples:
    """Batches of pictures, and the noise that samples their posteriors."""

    def __init__(self, pictures: Pictures, config: TrainVae) -> None:
        size = config.resolution // config.vae.factor
        self.pictures, self.config = pictures, config
        self.latent = (config.vae.channels, size, size)

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, places: Sequence[Place]) -> VaeBatch:
        images = torch.stack([self.pictures[place]["image"] for place in places])
        noise = normals(self.config.seed, "posterior", places, self.latent)
        return VaeBatch(images, noise, seen=self._seen(places))

    def _seen(self, places: Sequence[Place]) -> Tensor:
        numbers = torch.tensor([k for k, _ in places])
        return numbers - numbers % self.config.batch_size


class VaeStage(OnePlayer):
    """See `train.stage.Stage`."""

    name = TrainVae.stage
    text = None

    def __init__(
        self, config: TrainVae, device: torch.device, loaded: Source | None = None
    ) -> None:
        self.config, self.device = config, device
        self.resolution = config.resolution
        self.source = loaded or source.load(config.data)
        self.arguments = config.vae.arguments
        self.network = network(config)
        self.players = {"network": Player(self.network, config.optim, config.ema)}
        split = source.splits(self.source, config.data)
        self.pictures = Pictures(split["train"], config.data, config.resolution, config.seed)
        self.feed = Shuffled(VaeExamples(self.pictures, config), config.seed)
        self.val_pictures = len(split["val"])
        held = split[held_out(self.val_pictures)]
        self.held_out = Pictures(held, config.data, config.resolution, config.seed)

    def losses(self, player: str, models: Networks, batch: VaeBatch) -> Losses:
        x = to_tensor(batch.image)
        output, bottled = models[player](x, batch.noise)
        output, chosen = wide(output), self.config.loss
        output = saturated(output, x) if chosen.saturating else output
        error = ERRORS[chosen.reconstruction](output, x)
        terms = penalties.weighted(self.config.vae, bottled.penalties, x.numel(), batch.seen)
        loss = error
        for value, weight in terms.values():
            loss = loss + weight * value
        values = {name: value for name, (value, _) in terms.items()}
        return Losses(loss, {"reconstruction": error, **values, **bottled.figures}, bottled.sums)

    def settle(self, player: str, networks: Networks, sums: Mapping[str, Tensor]) -> None:
        cast(Autoencoder, networks[player]).bottleneck.settle(sums)

    def validate(self) -> dict[str, float]:
        real, fake = zip(*self._reconstructions(self.config.held_out), strict=True)
        a, b = torch.cat(real), torch.cat(fake)
        return {"val_psnr": psnr(a, b).mean().item(), "val_ssim": ssim(a, b).mean().item()}

    def made(self, fixed: Fixed) -> Iterator[Tensor]:
        for _, _, images in fixed.batches():
            yield from self._reconstructed(images)

    def preview(self, path: Path) -> None:
        """Pairs of columns: held-out pictures and their reconstructions."""
        real, fake = zip(*self._reconstructions(32), strict=True)
        pairs = torch.stack([torch.cat(real), torch.cat(fake)], dim=1).flatten(0, 1)
        tile(pairs, columns=8).save(path)

    def _reconstructions(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """uint8 batches of held-out pictures and their reconstructions, on the CPU."""
        for _, images in in_order(self.held_out, self.config.batch_size, count):
            yield images, self._reconstructed(images)

    def _reconstructed(self, images: Tensor) -> Tensor:
        code = self.network.encode(to_tensor(images.to(self.device)))
        return to_uint8(self.network.decode(code)).cpu()

    @torch.no_grad()
    def card(self, folder: Path) -> tuple[dict[str, Any], Fill]:
        config, vae = self.config, self.config.vae
        batches = in_order(self.pictures, config.batch_size, MEASURED)
        measured = whitening(self.network, (to_tensor(x.to(self.device)) for _, x in batches))
        card = {
            "role": config.role,
            "kind": vae.kind,
            "network": self.arguments,
            "resolution": config.resolution,
            "factor": vae.factor,
            "latent": {"channels": vae.channels, "whitening": measured},
            "space_id": self._space_id(measured),
            "consumes": "pictures",
            "produces": "latents",
            "data": data_card(self.source, config.data, self.val_pictures),
            "parents": {},
        }
        return card, nothing

    def _space_id(self, measured: dict[str, list[float]]) -> str:
        """What a latent means: the encoder's weights and the whitening, not the decoder's."""
        encoder = hashlib.sha256()
        for tensor in self.network.encoder.state_dict().values():
            encoder.update(tensor.float().cpu().numpy().tobytes())
        return digest({"encoder": encoder.hexdigest(), "whitening": measured})
