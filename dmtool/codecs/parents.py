"""The codec that a generator was trained in: that of its parent, or pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from dmtool import runs
from dmtool.codecs.codec import Codec, load
from dmtool.errors import UserError
from dmtool.runs import Artifact


def load_codec(artifact: Artifact, device: torch.device) -> Codec:
    """The codec of the space that a generator was trained in; UserError if it does not fit."""
    if "vae" not in artifact.card["parents"]:
        return load(None, device)
    codec, card = load(parent_vae(artifact), device), artifact.card
    size, factor = card["latent"]["size"], codec.space.factor
    paints, made = (card["latent"]["channels"], size, size), codec.space.shape(size * factor)
    if (paints, size * factor) != (made, card["resolution"]):
        raise UserError(
            f"{artifact.path} paints {card['latent']} for pictures of {card['resolution']}, and "
            f"its autoencoder makes codes of {' x '.join(map(str, made))} at 1/{factor} of the size"
        )
    return codec


def parent_vae(artifact: Artifact) -> Artifact:
    """The autoencoder that a generator was trained on; UserError if it is another now."""
    vae = runs.parent(artifact, "vae")
    check_space(vae, artifact.card, artifact.path)
    return vae


def check_space(vae: Artifact, card: dict[str, Any], place: Path) -> None:
    """UserError if what has this card, and stands there, was trained in another latent space."""
    now, then = vae.card["space_id"], card["space_id"]
    if now != then:
        raise UserError(
            f"{vae.path.resolve()} has the latent space {now}, but {place} was trained on "
            f"{then}: train it again, or put that autoencoder back"
        )
