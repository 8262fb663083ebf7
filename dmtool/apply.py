"""One stage on the user's own pictures: `dmtool reconstruct` and `dmtool upscale`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from dmtool import latents, pipeline, processes, runs
from dmtool.data.transforms import read, to_image, to_pixels, to_tensor, to_uint8
from dmtool.device import autocast, pick_device, pick_dtype
from dmtool.evaluate.quality import psnr
from dmtool.processes import Group
from dmtool.schemas import OneStage, Reconstruct, Upscale

WHITE = (255, 255, 255)


def reconstruct(config: Reconstruct, files: Sequence[Path], out: Path | None) -> None:
    """Write each picture as the run's autoencoder gives it back, and print its PSNR."""
    device = pick_device(config.device)
    with processes.started(device, config.timeout) as group:
        codec = latents.load(runs.find(config.run, "vae", config.root, config.artifact), device)

        def through(picture: Tensor) -> Tensor:
            return codec.decode(codec.encode(picture))

        def act(i: int, file: Path) -> str:
            before = _read(file)
            after = _through(before, through, codec.factor, 1, config)
            path = _save(after, file, "reconstructed", config, out)
            return f"{path}: PSNR {psnr(before[None], after[None]).item():.2f} dB"

        _each(files, act, group)


def upscale(config: Upscale, files: Sequence[Path], prompt: str, out: Path | None) -> None:
    """Write each picture enlarged by the run's upsampler."""
    device = pick_device(config.device)
    with processes.started(device, config.timeout) as group:
        artifact = runs.find(config.run, "upsampler", config.root, config.artifact)
        upsampler = pipeline.load_upsampler(artifact, config.augmentation, config.sampler, device)
        unet = artifact.card["network"]
        multiple = max(1, unet["patch"] * 2 ** (len(unet["widths"]) - 1) // upsampler.factor)

        def act(i: int, file: Path) -> str:
            enlarge = partial(upsampler, prompts=[prompt], sources=[(config.seed, i)])
            enlarged = _through(_read(file), enlarge, multiple, upsampler.factor, config)
            return str(_save(enlarged, file, f"x{upsampler.factor}", config, out))

        _each(files, act, group)


def _each(files: Sequence[Path], act: Callable[[int, Path], str], group: Group) -> None:
    """`act` on each file and its number, in one process of the group; print what it says."""
    said = [act(i, file) for i, file in group.share(list(enumerate(files)))]
    for line in group.merge(said):
        print(line)


def _read(file: Path) -> Tensor:
    """A picture file as uint8 [3, H, W]."""
    return to_pixels(read(file, WHITE))


@torch.inference_mode()
def _through(
    pixels: Tensor,
    network: Callable[[Tensor], Tensor],
    multiple: int,
    factor: int,
    config: OneStage,
) -> Tensor:
    """A picture of any size through a network that wants sides divisible by `multiple`."""
    height, width = pixels.shape[1:]
    device = pick_device(config.device)
    x = to_tensor(pixels)[None].to(device)
    x = pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")
    with autocast(device, pick_dtype(config.dtype, device)):
        y = network(x)
    return to_uint8(y)[0, :, : height * factor, : width * factor].cpu()


def _save(pixels: Tensor, file: Path, what: str, config: OneStage, out: Path | None) -> Path:
    folder = out or runs.run_dir(config.run, config.root) / what
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{file.stem}-{what}.png"
    to_image(pixels).save(path)
    return path
