"""The autoencoder's stage: pictures -> reconstruction, what its kind adds, and a critic's word."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from dmtool.codecs.latents import whitening
from dmtool.config.adversarial import PatchGame
from dmtool.config.corruption import NoCorruption
from dmtool.config.stages import TrainVae
from dmtool.data import corruption, source
from dmtool.data.batches import in_order
from dmtool.data.pictures import Pictures
from dmtool.data.quality import psnr, ssim
from dmtool.data.source import Source, held_out
from dmtool.data.transforms import to_tensor, to_uint8
from dmtool.draw.sheet import tile
from dmtool.files.digests import digest
from dmtool.files.directories import Fill, nothing
from dmtool.losses.reconstruction import ERRORS, saturated
from dmtool.nn.autoencoder import KINDS, Autoencoder
from dmtool.nn.precision import wide
from dmtool.rng import generator
from dmtool.train.batch import Batch
from dmtool.train.examples import Fixed, normals
from dmtool.train.feed import Place, Shuffled
from dmtool.train.parallel import unwrapped
from dmtool.train.player import Player
from dmtool.train.stage import Losses, Networks
from dmtool.train.stages import adversary, penalties
from dmtool.train.stages.adversary import Adversary
from dmtool.train.start import data_card

MEASURED = 4096
"""Pictures over which the latents' whitening is measured."""


def network(config: TrainVae) -> Autoencoder:
    """The autoencoder with fresh weights."""
    return KINDS[config.vae.kind](**config.vae.arguments, **config.vae.learning)


@dataclass(frozen=True, eq=False)
class VaeBatch(Batch):
    """Pictures uint8 [B, 3, H, W], noise [B, C, h, w] for the bottleneck, how many pictures had
    been seen when their step began, [B], and the corrupted pictures, if there are such."""

    on_host = frozenset({"seen"})

    image: Tensor
    noise: Tensor
    seen: Tensor
    corrupted: Tensor | None = None

    @property
    def shown(self) -> Tensor:
        """What the autoencoder sees."""
        return self.image if self.corrupted is None else self.corrupted


def corrupted(config: TrainVae, images: Tensor, keys: Sequence[tuple[str, int]]) -> Tensor:
    """Pictures uint8 [B, 3, H, W] made worse, each by its own random numbers."""
    draws = [generator(config.seed, *key) for key in keys]
    pairs = zip(images, draws, strict=True)
    return torch.stack([corruption.corrupted(config.corruption, *pair) for pair in pairs])


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
        return VaeBatch(images, noise, self._seen(places), self._corrupted(images, places))

    def _corrupted(self, images: Tensor, places: Sequence[Place]) -> Tensor | None:
        if isinstance(self.config.corruption, NoCorruption):
            return None
        return corrupted(self.config, images, [("corruption", k) for k, _ in places])

    def _seen(self, places: Sequence[Place]) -> Tensor:
        numbers = torch.tensor([k for k, _ in places])
        return numbers - numbers % self.config.batch_size


class VaeStage:
    """See `train.stage.Stage`."""

    name = TrainVae.stage
    group = 1
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
        self.adversary = None
        if isinstance(config.adversarial, PatchGame):
            self.adversary = Adversary(config.adversarial)
            self.players[adversary.NAME] = self.adversary.player
        split = source.splits(self.source, config.data)
        self.pictures = Pictures(split["train"], config.data, config.resolution, config.seed)
        self.feed = Shuffled(VaeExamples(self.pictures, config), config.seed)
        self.val_pictures = len(split["val"])
        held = split[held_out(self.val_pictures)]
        self.held_out = Pictures(held, config.data, config.resolution, config.seed)

    def losses(self, player: str, models: Networks, batch: VaeBatch) -> Losses:
        x = to_tensor(batch.image)
        if player == adversary.NAME:
            assert self.adversary is not None
            with torch.no_grad():
                output, _ = models["network"](to_tensor(batch.shown), batch.noise)
            return self.adversary.losses(models, x, self._seen_as(wide(output), x))
        return self._reconstruction(models, x, batch)

    def _seen_as(self, output: Tensor, x: Tensor) -> Tensor:
        """What is compared with pictures."""
        return saturated(output, x) if self.config.loss.saturating else output

    def _reconstruction(self, models: Networks, x: Tensor, batch: VaeBatch) -> Losses:
        output, bottled = models["network"](to_tensor(batch.shown), batch.noise)
        output, seen = self._seen_as(wide(output), x), int(batch.seen[0])
        error = ERRORS[self.config.loss.reconstruction](output, x)
        terms = penalties.weighted(self.config.vae, bottled.penalties, x.numel(), seen)
        loss, figures = error, {"reconstruction": error, **bottled.figures}
        for name, (value, weight) in terms.items():
            loss, figures[name] = loss + weight * value, value
        sums = dict(bottled.sums)
        if self.adversary is not None and self.adversary.counts(seen):
            last = cast(Autoencoder, unwrapped(models["network"])).last
            deceit = self.adversary.deceit(models, x, output, error, last)
            loss, figures, sums = loss + deceit.loss, figures | deceit.figures, sums | deceit.sums
        return Losses(loss, figures, sums)

    def settle(self, player: str, networks: Networks, sums: Mapping[str, Tensor]) -> None:
        if player == adversary.NAME:
            assert self.adversary is not None
            self.adversary.settle(networks, sums)
            return
        own = {name: total for name, total in sums.items() if not name.startswith(adversary.MARK)}
        cast(Autoencoder, networks[player]).bottleneck.settle(own)
        if self.adversary is not None and len(own) < len(sums):
            self.adversary.balance(networks, sums)

    def validate(self) -> dict[str, float]:
        real, fake = zip(*self._reconstructions(self.config.held_out), strict=True)
        a, b = torch.cat(real), torch.cat(fake)
        found = {"val_psnr": psnr(a, b).mean().item(), "val_ssim": ssim(a, b).mean().item()}
        return found if isinstance(self.config.corruption, NoCorruption) else found | self._mended()

    def _mended(self) -> dict[str, float]:
        """PSNR of corrupted held-out pictures, and of what is made of them."""
        before, after = [], []
        for rows, images in in_order(self.held_out, self.config.batch_size, self.config.held_out):
            worse = corrupted(self.config, images, [("held out", row) for row in rows])
            before.append(psnr(images, worse))
            after.append(psnr(images, self._reconstructed(worse)))
        found = {"val_corrupted_psnr": before, "val_mended_psnr": after}
        return {name: torch.cat(each).mean().item() for name, each in found.items()}

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
