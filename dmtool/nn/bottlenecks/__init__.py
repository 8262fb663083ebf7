"""What stands between an encoder and a decoder, and makes the kind of an autoencoder."""

from dmtool.nn.bottlenecks.base import Bottled, Bottleneck
from dmtool.nn.bottlenecks.kl import Kl

__all__ = ["Bottled", "Bottleneck", "Kl"]
