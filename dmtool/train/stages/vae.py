"""The autoencoder's stage: pictures -> reconstruction and KL losses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
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


def arguments(config: TrainVae) -> dict[str, Any]:
    """All arguments of the autoencoder."""
    chosen = asdict(config.vae)
    del chosen["kind"]
    return chosen


def network(config: TrainVae) -> Autoencoder:
    """The autoencoder with fresh weights."""
    return KINDS[config.vae.kind](**arguments(config))


@dataclass(frozen=True, eq=False)
class VaeBatch(Batch):
    """Pictures uint8 [B, 3, H, W] and their posteriors' noise [B, C, h, w]."""

    image: Tensor
    noise: Tensor


class VaeExamples:
    """Batches of pictures, and the noise that samples their posteriors."""

    def __init__(self, pictures: Pictures, seed: int, latent: tuple[int, int, int]) -> None:
        self.pictures, self.seed, self.latent = pictures, seed, latent

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, places: Sequence[Place]) -> VaeBatch:
        images = torch.stack([self.pictures[place]["image"] for place in places])
        return VaeBatch(images, normals(self.seed, "posterior", places, self.latent))


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
        self.arguments = arguments(config)
        self.network = network(config)
        self.players = {"network": Player(self.network, config.optim, config.ema)}
        split = source.splits(self.source, config.data)
        size = config.resolution // config.vae.factor
        self.pictures = Pictures(split["train"], config.data, config.resolution, config.seed)
        latent = (config.vae.latent_channels, size, size)
        self.feed = Shuffled(VaeExamples(self.pictures, config.seed, latent), config.seed)
        self.val_pictures = len(split["val"])
        held = split[held_out(self.val_pictures)]
        self.held_out = Pictures(held, config.data, config.resolution, config.seed)

    def losses(self, player: str, models: Networks, batch: VaeBatch) -> Losses:
        x = to_tensor(batch.image)
        output, bottled = models[player](x, batch.noise)
        output, loss = wide(output), self.config.loss
        error = ERRORS[loss.reconstruction](saturated(output, x) if loss.saturating else output, x)
        # per picture value, so that weights mean the same at every size
        kl = bottled.penalties["kl"] / x.numel()
        figures = {"reconstruction": error, "kl": kl, **bottled.figures}
        return Losses(error + loss.kl * kl, figures, bottled.sums)

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
            "latent": {"channels": vae.latent_channels, "whitening": measured},
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
