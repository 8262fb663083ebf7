"""A training of seconds: an autoencoder of drawn shapes."""

import pytest

from dmtool.config.compose import composed
from dmtool.config.stages import TrainVae
from dmtool.config.validation import validate

DATA = ["data=shapes", "data.count=40", "data.size=16", "batch_size=8", "limit.minutes=null",
        "limit.pictures=16"]  # fmt: skip
VAE = [*DATA, "resolution=16", "vae.widths=[32]", "vae.groups=8"]


@pytest.fixture(scope="session")
def tiny():
    """Words for the data and length of any stage, and all of an autoencoder's."""
    return DATA, VAE


@pytest.fixture(scope="session")
def config():
    """`config(*words)`: the tiny autoencoder's, with further words."""
    return lambda *words: validate(composed("train_vae", [*VAE, *words]), TrainVae)
