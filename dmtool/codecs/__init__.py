"""Pictures <-> the codes that generators paint: pixels, whitened latents."""

from dmtool.codecs.cache import Cached, cached
from dmtool.codecs.codec import Codec, load
from dmtool.codecs.parents import check_space, load_codec, parent_vae
from dmtool.codecs.pixels import BINS
from dmtool.codecs.space import Continuous, Discrete, Space, continuous

__all__ = [
    "BINS", "Cached", "Codec", "Continuous", "Discrete", "Space", "cached", "check_space",
    "continuous", "load", "load_codec", "parent_vae",
]  # fmt: skip
