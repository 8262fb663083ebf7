"""What stands between an encoder and a decoder, and makes the kind of an autoencoder."""

from dmtool.nn.bottlenecks.base import Bottled, Bottleneck, DiscreteBottleneck
from dmtool.nn.bottlenecks.fsq import Fsq
from dmtool.nn.bottlenecks.kl import Kl
from dmtool.nn.bottlenecks.plain import Plain
from dmtool.nn.bottlenecks.sparse import Sparse
from dmtool.nn.bottlenecks.vq import Vq

__all__ = ["Bottled", "Bottleneck", "DiscreteBottleneck", "Fsq", "Kl", "Plain", "Sparse", "Vq"]
