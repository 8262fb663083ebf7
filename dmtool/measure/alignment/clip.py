"""CLIP: pictures and texts in one space, each brought there as the model's folder says.

The network and its tokenizer are transformers'. Pictures are prepared here, once, from 8-bit RGB:
shorter side to size (PIL's bicubic), centre crop, x / 255, mean and standard deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from dmtool.data.transforms import to_image
from dmtool.errors import UserError
from dmtool.measure.features.preparation import near_the_middle
from dmtool.text import pretrained

Embeddings = NDArray[np.float32]


@dataclass(frozen=True)
class ClipPreparation:
    """How a picture reaches the network, from preprocessor_config.json."""

    shorter: int
    crop: tuple[int, int]
    resample: Image.Resampling
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, picture: Tensor) -> Tensor:
        """uint8 [3, H, W] -> float32 [3, *crop]."""
        image = to_image(near_the_middle(picture))
        shorter = min(image.size)
        if shorter != self.shorter:
            width, height = (self.shorter * side // shorter for side in image.size)
            image = image.resize((width, height), self.resample)
        top, left = ((a - b) // 2 for a, b in zip(image.size[::-1], self.crop, strict=True))
        image = image.crop((left, top, left + self.crop[1], top + self.crop[0]))
        pixels = (np.asarray(image) / 255 - np.array(self.mean)) / np.array(self.std)
        return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)


@dataclass(frozen=True)
class Clip:
    """A CLIP model; embeddings are of length 1, in float32 on any device."""

    model: Any
    tokenizer: Any
    prepare: ClipPreparation
    name: str
    sha256: str
    device: torch.device

    @torch.inference_mode()
    def pictures(self, pictures: Sequence[Tensor]) -> Embeddings:
        """Embeddings [N, d] of uint8 RGB pictures [3, H, W] of any sizes."""
        pixels = torch.stack([self.prepare(picture) for picture in pictures]).to(self.device)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            pooled = self.model.vision_model(pixel_values=pixels).pooler_output
            return _unit(self.model.visual_projection(pooled))

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Embeddings:
        """Embeddings [N, d]; a text that is too long keeps its first tokens and the end token."""
        longest = self.model.config.text_config.max_position_embeddings
        words = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt"
        ).to(self.device)
        pooled = self.model.text_model(**words).pooler_output
        return _unit(self.model.text_projection(pooled))

    def describe(self) -> dict[str, Any]:
        """All that defines the model and how pictures reach it, for JSON."""
        vision = self.model.config.vision_config
        return {
            "name": self.name,
            "architecture": self.architecture,
            "sha256": self.sha256,
            "dim": self.model.config.projection_dim,
            "activation": vision.hidden_act,
            "tokens": self.model.config.text_config.max_position_embeddings,
            "resize": f"shorter side {self.prepare.shorter}, {self.prepare.resample.name.lower()}",
            "crop": list(self.prepare.crop),
            "dtype": "float32",
        }

    @property
    def architecture(self) -> str:
        """As OpenAI names theirs: "ViT-B/32"; others by their width."""
        vision = self.model.config.vision_config
        known = {768: "B", 1024: "L", 1280: "H", 1408: "g", 1664: "bigG"}
        kind = known.get(vision.hidden_size, f"width {vision.hidden_size}")
        place = f"@{vision.image_size}" if vision.image_size != 224 else ""
        return f"ViT-{kind}/{vision.patch_size}{place}"


def load(name: str, device: torch.device) -> Clip:
    """The CLIP model of a folder as transformers saves it, or of that name in the hub's cache.

    UserError if it is not there or not whole, or if it is no CLIP model.
    """
    folder = pretrained.find(name, "CLIP model", "clip")
    kind = pretrained.json_object(folder / "config.json").get("model_type")
    if kind != "clip":
        raise UserError(
            f"clip={name}: its config.json has model_type {kind!r}, not 'clip': give a whole CLIP "
            "model with its tokenizer and preprocessor_config.json"
        )
    return Clip(
        model=pretrained.network("CLIPModel", folder).to(device),
        tokenizer=pretrained.tokenizer("CLIPTokenizerFast", folder),
        prepare=_preparation(folder / "preprocessor_config.json"),
        name=Path(name).name if Path(name).is_dir() else name,
        sha256=pretrained.weights_digest(folder),
        device=device,
    )


def _preparation(path: Path) -> ClipPreparation:
    """UserError for steps that are not CLIP's."""
    config = pretrained.json_object(path)
    steps = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
    missing = [step for step in steps if not config.get(step, True)]
    if missing:
        raise UserError(f"{path}: {missing[0]} is false: that is not how CLIP takes pictures")
    try:
        size, crop = config["size"], config["crop_size"]
        return ClipPreparation(
            shorter=size if isinstance(size, int) else size["shortest_edge"],
            crop=(crop, crop) if isinstance(crop, int) else (crop["height"], crop["width"]),
            resample=Image.Resampling(config["resample"]),
            mean=tuple(config["image_mean"]),
            std=tuple(config["image_std"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a CLIP preprocessor's: {error!r}") from error


def _unit(values: Tensor) -> Embeddings:
    found: Embeddings = normalize(values.float(), dim=-1).cpu().numpy()
    return found
