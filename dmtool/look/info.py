"""`dmtool info RUN`: the stages' cards side by side, and what fits what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dmtool import runs
from dmtool.chain import pipeline
from dmtool.codecs import parent_vae
from dmtool.config.stages import STAGES
from dmtool.errors import UserError
from dmtool.runs import Artifact
from dmtool.say import columns

Row = tuple[str, Callable[[dict[str, Any]], Any]]

ROWS: list[Row] = [
    ("role", lambda card: card["role"]),
    ("kind", lambda card: card["kind"]),
    ("consumes -> produces", lambda card: f"{card['consumes']} -> {card['produces']}"),
    ("resolution", lambda card: card["resolution"]),
    ("factor", lambda card: card.get("factor")),
    ("latent", lambda card: _latent(card.get("latent"))),
    ("space", lambda card: _short(card.get("space_id"))),
    ("noise", lambda card: _noise(card.get("noise"))),
    ("text encoder", lambda card: card.get("text", {}).get("name")),
    ("pictures seen", lambda card: f"{card['pictures_seen']:,}"),
    ("complete", lambda card: "yes" if card["complete"] else "no"),
    ("metrics", lambda card: _metrics(card["metrics"])),
    ("metrics of", lambda card: _pictures_of(card["data"]["validated_on"])),
    ("data", lambda card: _short(card["data"]["fingerprint"])),
    ("colours", lambda card: f"profiles: {card['data']['transform']['profiles']}"),
    ("weights", lambda card: _short(card["sha256"])),
]


def describe(run: str, root: str) -> str:
    """A table of the run's stages and a line for each thing that fits or does not."""
    folder = runs.existing(run, root)
    artifacts = {
        stage: runs.find(run, stage, root)
        for stage in STAGES
        if (folder / stage / "artifacts" / "default").is_dir()
    }
    if not artifacts:
        raise UserError(
            f"{folder} has no trained stage yet; begin with: dmtool train-vae run={run}"
        )
    cards = [artifact.card for artifact in artifacts.values()]
    table = [["", *artifacts]] + [
        [name, *(str(get(c) or "-") for c in cards)] for name, get in ROWS
    ]
    notes = [*fits(artifacts), *sorted({card["data"]["attribution"] for card in cards} - {""})]
    return "\n".join([*columns(table), "", *notes])


def fits(artifacts: dict[str, Artifact]) -> list[str]:
    """One line for each hand-over between stages: what fits, or why it does not."""
    lines = []
    unet, upsampler = artifacts.get("unet"), artifacts.get("upsampler")
    if unet is not None and "vae" in unet.card["parents"]:
        try:
            vae = parent_vae(unet)
            lines.append(f"unet fits the autoencoder in {vae.path.resolve()}")
        except UserError as error:
            lines.append(f"unet does not fit: {error}")
    if unet is not None and upsampler is not None:
        try:
            pipeline.check_upsampler(upsampler, unet.card["resolution"])
            lines.append("upsampler fits the unet")
        except UserError as error:
            lines.append(f"upsampler does not fit: {error}")
    return lines


def _short(digest: str | None) -> str | None:
    return digest[:12] if digest else None


def _latent(latent: dict[str, Any] | None) -> str | None:
    if latent is None:
        return None
    size = latent.get("size")
    return f"{latent['channels']} channels" + (f", {size} x {size}" if size else "")


def _noise(noise: dict[str, str] | None) -> str | None:
    return f"{noise['kind']}, predicts {noise['prediction']}" if noise else None


def _pictures_of(split: str | None) -> str | None:
    return {"val": "held-out pictures", "train": "training pictures"}.get(split or "")


def _metrics(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
