"""Pictures and weights from seeds, the same for the parity check and for its frozen figures."""

import numpy as np
import torch
from PIL import Image

from dmtool.nn.inception import drawn

MODES = ("tf1", "pytorch-fid", "clean", "tm")
LARGE, SMALL = (384, 448), (64, 70)
"""Heights and widths on either side of the network's 299 pixels."""


def weights():
    """FID's Inception with a head that is not zero, either."""
    state = drawn(0)
    random = np.random.RandomState(1)
    for name in ("fc.weight", "fc.bias"):
        drawing = random.standard_normal(state[name].shape) / 45
        state[name] = torch.from_numpy(drawing).float()
    return state


def picture(seed, size):
    """A uint8 picture [H, W, 3]: patches of colour, and grain."""
    random = np.random.RandomState(seed)
    height, width = size
    patches = random.randint(0, 200, (7, 9, 3))
    rows = np.arange(height) * 7 // height
    columns = np.arange(width) * 9 // width
    grain = random.randint(0, 56, (height, width, 3))
    return (patches[rows][:, columns] + grain).astype(np.uint8)


def write(folder, seeds, size, tint=0):
    """PNGs of these seeds; `tint` takes that much from their green."""
    folder.mkdir()
    for seed in seeds:
        pixels = picture(seed, size)
        pixels[..., 1] -= np.minimum(pixels[..., 1], np.uint8(tint))
        Image.fromarray(pixels).save(folder / f"{seed:03}.png")


def script(layers, path):
    """Layers [B, 3, 299, 299] -> [B, 2048] as a TorchScript in the shape of the published one."""
    traced = torch.jit.trace(layers.eval(), torch.zeros(1, 3, 299, 299))
    torch.jit.script(Published(traced)).save(path)


class Published(torch.nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers((x - 128) / 128)
