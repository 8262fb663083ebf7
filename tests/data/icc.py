"""Colour profiles made by hand, byte by byte (ICC.1:2010), and what they mean, in plain numpy."""

import struct

import numpy as np

D65, D50 = np.array([0.95047, 1.0, 1.08883]), np.array([0.9642, 1.0, 0.8249])
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def to_xyz(primaries):
    """The matrix from linear RGB of these primaries to XYZ, white at D65."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    return columns * np.linalg.solve(columns, D65)


def adapted(matrix):
    """The same with white at D50, as profiles have it."""
    gain = np.diag((BRADFORD @ D50) / (BRADFORD @ D65))
    return np.linalg.inv(BRADFORD) @ gain @ BRADFORD @ matrix


def encoded(linear):
    """sRGB's curve, to 0 .. 255."""
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def decoded(values):
    values = np.asarray(values) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def in_srgb(linear, primaries):
    """Colours [..., 3] in sRGB, 0 .. 255."""
    return encoded(linear @ (np.linalg.inv(to_xyz(SRGB)) @ to_xyz(primaries)).T)


def lab_in_srgb(lab):
    lab = np.asarray(lab, dtype=float)
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
    xyz = D50 * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    return encoded(xyz @ np.linalg.inv(adapted(to_xyz(SRGB))).T)


def fixed(*values):
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def gamma(value):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


CURVE = b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + fixed(
    2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045
)  # fmt: skip


def profile(space, tags, pcs="XYZ ", kind="mntr"):
    """The bytes of a profile with these tags (and the media's white)."""
    tags = {"wtpt": b"XYZ \0\0\0\0" + fixed(*D50), **tags}
    table, content, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name.encode() + struct.pack(">II", start + len(content), len(data))
        content += data + b"\0" * (-len(data) % 4)
    size = start + len(content)
    head = struct.pack(">I4sI4s4s4s", size, b"test", 0x04200000, *(
        text.encode() for text in (kind, space, pcs)
    ))  # fmt: skip
    head = (head + b"\0" * 12 + b"acsp").ljust(68, b"\0") + fixed(*D50)
    return head.ljust(128, b"\0") + table + content


def rgb(primaries, curve):
    columns = adapted(to_xyz(primaries)).T
    tags = {f"{name}XYZ": b"XYZ \0\0\0\0" + fixed(*column)
            for name, column in zip("rgb", columns, strict=True)}  # fmt: skip
    return profile("RGB ", tags | {f"{name}TRC": curve for name in "rgb"})


def grey(curve):
    return profile("GRAY", {"kTRC": curve})


def cmyk(corners):
    """Of a table with two steps an ink; `corners` [2, 2, 2, 2, 3] are L, a and b of C, M, Y, K."""
    lab = np.asarray(corners, dtype=float)
    cells = np.stack([lab[..., 0] * 2.55, lab[..., 1] + 128, lab[..., 2] + 128], axis=-1)
    ramp = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table += 4 * ramp + cells.round().astype(np.uint8).tobytes() + 3 * ramp
    return profile("CMYK", {"A2B0": table}, pcs="Lab ", kind="prtr")


DISPLAY_P3, ADOBE_RGB = rgb(P3, CURVE), rgb(ADOBE, gamma(563 / 256))
