"""Inception v3 as FID means it: the network of TensorFlow's 2015-12-05 archive.

It differs from the published Inception v3 (Szegedy et al., arXiv:1512.00567) in what its
average pools count, in the max-pool of its last block, and in its head of 1,008 classes. The names
of the weights are those of `pt_inception-2015-12-05-6726825d.pth`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

Kernel = int | tuple[int, int]


class Conv(nn.Module):
    """Convolution without bias, batch norm, ReLU; `same` padding keeps the size at stride 1."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, same: bool = True
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if same else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)), inplace=True)


def average_pool(x: Tensor) -> Tensor:
    """3 x 3 averages at stride 1 over the pixels inside the picture only, as TensorFlow counts."""
    return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def max_pool(x: Tensor) -> Tensor:
    """3 x 3 maxima at stride 1, of the same size."""
    return functional.max_pool2d(x, 3, stride=1, padding=1)


def halve(x: Tensor) -> Tensor:
    """3 x 3 maxima at stride 2, without padding."""
    return functional.max_pool2d(x, 3, stride=2)


class MixedA(nn.Module):
    """Mixed_5b to 5d: 1x1, 5x5, double 3x3 and a pool, at 35 x 35."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(inputs, 64, 1)
        self.branch5x5_1 = Conv(inputs, 48, 1)
        self.branch5x5_2 = Conv(48, 64, 5)
        self.branch3x3dbl_1 = Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3)
        self.branch3x3dbl_3 = Conv(96, 96, 3)
        self.branch_pool = Conv(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        wide = self.branch5x5_2(self.branch5x5_1(x))
        return torch.cat(
            [self.branch1x1(x), wide, double, self.branch_pool(average_pool(x))], dim=1
        )


class MixedB(nn.Module):
    """Mixed_6a: from 35 x 35 to 17 x 17."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Conv(inputs, 384, 3, stride=2, same=False)
        self.branch3x3dbl_1 = Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3)
        self.branch3x3dbl_3 = Conv(96, 96, 3, stride=2, same=False)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, halve(x)], dim=1)


class MixedC(nn.Module):
    """Mixed_6b to 6e: 1x1, 7x7 and double 7x7 in rows and columns, and a pool, at 17 x 17."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(inputs, 192, 1)
        self.branch7x7_1 = Conv(inputs, width, 1)
        self.branch7x7_2 = Conv(width, width, (1, 7))
        self.branch7x7_3 = Conv(width, 192, (7, 1))
        self.branch7x7dbl_1 = Conv(inputs, width, 1)
        self.branch7x7dbl_2 = Conv(width, width, (7, 1))
        self.branch7x7dbl_3 = Conv(width, width, (1, 7))
        self.branch7x7dbl_4 = Conv(width, width, (7, 1))
        self.branch7x7dbl_5 = Conv(width, 192, (1, 7))
        self.branch_pool = Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat(
            [self.branch1x1(x), single, double, self.branch_pool(average_pool(x))], dim=1
        )


class MixedD(nn.Module):
    """Mixed_7a: from 17 x 17 to 8 x 8."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = Conv(inputs, 192, 1)
        self.branch3x3_2 = Conv(192, 320, 3, stride=2, same=False)
        self.branch7x7x3_1 = Conv(inputs, 192, 1)
        self.branch7x7x3_2 = Conv(192, 192, (1, 7))
        self.branch7x7x3_3 = Conv(192, 192, (7, 1))
        self.branch7x7x3_4 = Conv(192, 192, 3, stride=2, same=False)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat(
            [self.branch3x3_2(self.branch3x3_1(x)), self.branch7x7x3_4(wide), halve(x)], dim=1
        )


class MixedE(nn.Module):
    """Mixed_7b and 7c, at 8 x 8: the two differ in whether `last` pools by maxima."""

    def __init__(self, inputs: int, last: bool) -> None:
        super().__init__()
        self.pool = max_pool if last else average_pool
        self.branch1x1 = Conv(inputs, 320, 1)
        self.branch3x3_1 = Conv(inputs, 384, 1)
        self.branch3x3_2a = Conv(384, 384, (1, 3))
        self.branch3x3_2b = Conv(384, 384, (3, 1))
        self.branch3x3dbl_1 = Conv(inputs, 448, 1)
        self.branch3x3dbl_2 = Conv(448, 384, 3)
        self.branch3x3dbl_3a = Conv(384, 384, (1, 3))
        self.branch3x3dbl_3b = Conv(384, 384, (3, 1))
        self.branch_pool = Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        single = [self.branch3x3_2a(single), self.branch3x3_2b(single)]
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        double = [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat(
            [self.branch1x1(x), *single, *double, self.branch_pool(self.pool(x))], dim=1
        )


class FIDInception(nn.Module):
    """Images [B, 3, 299, 299] in about [-1, 1] -> features [B, 2048], the average of pool3."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, stride=2, same=False)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3, same=False)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3, same=False)
        self.Mixed_5b = MixedA(192, pooled=32)
        self.Mixed_5c = MixedA(256, pooled=64)
        self.Mixed_5d = MixedA(288, pooled=64)
        self.Mixed_6a = MixedB(288)
        self.Mixed_6b = MixedC(768, width=128)
        self.Mixed_6c = MixedC(768, width=160)
        self.Mixed_6d = MixedC(768, width=160)
        self.Mixed_6e = MixedC(768, width=192)
        self.Mixed_7a = MixedD(768)
        self.Mixed_7b = MixedE(1280, last=False)
        self.Mixed_7c = MixedE(2048, last=True)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> Tensor:
        x = halve(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = halve(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))
        x = self.Mixed_6e(self.Mixed_6d(x))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean((2, 3))


def drawn(seed: int) -> dict[str, Tensor]:
    """Weights from a seed, by numpy's frozen generator, so that features stay of order one.

    Convolutions as He et al., arXiv:1502.01852, have them; batch norms near the identity; the head
    is zero.
    """
    random = np.random.RandomState(seed)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in FIDInception().state_dict().items()}
    return {name: _draw(name, shape, random) for name, shape in shapes.items()}


def _draw(name: str, shape: torch.Size, random: np.random.RandomState) -> Tensor:
    if name.endswith("conv.weight"):
        scale = (2 / shape[1:].numel()) ** 0.5
        return torch.from_numpy(random.standard_normal(shape) * scale).float()
    if name.endswith(("bn.bias", "bn.running_mean")):
        return torch.from_numpy(random.standard_normal(shape) * 0.1).float()
    if name.endswith("bn.running_var"):
        return torch.from_numpy(random.uniform(0.5, 1.5, shape)).float()
    if name.endswith("bn.weight"):
        return torch.ones(shape)
    return torch.zeros(shape, dtype=torch.long if name.endswith("tracked") else torch.float)
