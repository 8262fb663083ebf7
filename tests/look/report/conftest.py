"""Run directories by hand: what a training and an evaluation would have left."""

import json

import pytest
from cards import PREDICTOR, SHA, TEXT
from PIL import Image
from written import NASTY

from dmtool import runs


@pytest.fixture
def run(tmp_path):
    """`run(name, **results)` makes a run with a stage, curves, pictures; returns its root."""

    def make(name, **results):
        folder = tmp_path / name
        stage = folder / "unet"
        (stage / "previews").mkdir(parents=True)
        (stage / "config.yaml").write_text(f"run: {name}\nprompt: {NASTY}\n")
        lines = [
            {"pictures": p, "seconds": p / 10, "loss": 1 / p, "pictures_per_second": 10 + p % 3}
            for p in range(1, 1001)
        ]
        text = "".join(
            f"{json.dumps(line)}\n" for line in [*lines, {"pictures": 1000, "val_loss": 2}]
        )
        (stage / "metrics.jsonl").write_text(text)
        parent = {"sha256": "a" * 64, "path": "gone", "role": "autoencoder"}
        card = PREDICTOR | {
            "data": {"fingerprint": "f" * 64, "attribution": f"by {NASTY}", "pictures": 1,
                     "earlier": [], "validated_on": None,
                     "transform": {"profiles": "ignore"}},
            "text": TEXT | {"name": "words"}, "parents": {"vae": parent}, "space_id": SHA,
            "produces": "latents",
        }  # fmt: skip
        runs.save(stage / "artifacts" / "default", {}, card)
        for path in (folder / "samples-sheet.png", stage / "previews" / "000001000.png"):
            Image.new("RGB", (8, 8), "red").save(path)
        (folder / "eval").mkdir()
        for stem, each in results.items():
            (folder / "eval" / f"{stem}.json").write_text(json.dumps(each))
        return str(tmp_path)

    return make
