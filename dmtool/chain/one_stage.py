"""One stage on the user's own pictures: `dmtool reconstruct` and `dmtool upscale`."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from dmtool import codecs, processes, runs
from dmtool.config.stages import TrainUpsampler, TrainVae
from dmtool.config.using import OneStage, Reconstruct, Upscale
from dmtool.data.quality import psnr
from dmtool.data.transforms import read, to_image, to_pixels, to_tensor, to_uint8
from dmtool.device import autocast, pick_device, pick_dtype
from dmtool.errors import UserError
from dmtool.files import outputs
from dmtool.files.digests import file_digest
from dmtool.processes import Group
from dmtool.say import say
from dmtool.upsamplers import kinds

WHITE = (255, 255, 255)


def reconstruct(config: Reconstruct, files: Sequence[Path], out: Path | None) -> None:
    """Write each picture as the run's autoencoder gives it back, and print its PSNR."""
    places = _places(files, "reconstructed", config, out)
    with processes.of(config) as (group, device):
        codec = codecs.load(
            runs.find(config.run, TrainVae.stage, config.root, config.artifact), device
        )

        def through(picture: Tensor) -> Tensor:
            return codec.decode(codec.encode(picture))

        def act(i: int, file: Path) -> str:
            before = _read(file)
            after = _through(before, through, codec.space.factor, 1, config)
            said = _save(after, file, places[i])
            return f"{said}: PSNR {psnr(before[None], after[None]).item():.2f} dB"

        _each(files, act, group)


def upscale(config: Upscale, files: Sequence[Path], prompt: str, out: Path | None) -> None:
    """Write each picture enlarged by the run's upsampler."""
    with processes.of(config) as (group, device):
        artifact = runs.find(config.run, TrainUpsampler.stage, config.root, config.artifact)
        upsampler = kinds.load(artifact, config.augmentation, config.sampler, device)
        places = _places(files, f"x{upsampler.factor}", config, out)
        group.wait()

        def act(i: int, file: Path) -> str:
            enlarge = partial(upsampler, prompts=[prompt], sources=[(config.seed, i)])
            enlarged = _through(_read(file), enlarge, upsampler.multiple, upsampler.factor, config)
            return _save(enlarged, file, places[i])

        _each(files, act, group)


def _each(files: Sequence[Path], act: Callable[[int, Path], str], group: Group) -> None:
    """`act` on each file and its number, in one process of the group; print what it says."""
    said = [act(i, file) for i, file in group.share(list(enumerate(files)))]
    for line in group.merge(said):
        say(line)


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


@dataclass(frozen=True)
class OutputPlace:
    """Where a picture goes, by the sha256 of what it is made of; `again`: it was there."""

    path: Path
    source: str
    again: bool


def _places(
    files: Sequence[Path], what: str, config: OneStage, out: Path | None
) -> list[OutputPlace]:
    """A place of its own for each file: what was made of another picture is not replaced, in this
    call or an earlier one."""
    folder = out or runs.run_dir(config.run, config.root) / what
    taken: set[Path] = set()
    places = []
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: there is no such picture")
        place = _place(folder, file, what, taken)
        taken.add(place.path)
        places.append(place)
    return places


def _place(folder: Path, file: Path, what: str, taken: Set[Path]) -> OutputPlace:
    source = file_digest(file)
    for number in count(1):
        stem = file.stem if number == 1 else f"{file.stem}-{number}"
        path = folder / f"{stem}-{what}.png"
        again = outputs.texts(path).get("source") == source
        if path not in taken and (again or not path.exists()):
            return OutputPlace(path, source, again)
    raise AssertionError("count ends")


def _save(pixels: Tensor, file: Path, place: OutputPlace) -> str:
    """Write a picture; returns a line that says where, and of what."""
    place.path.parent.mkdir(parents=True, exist_ok=True)
    outputs.save_picture(to_image(pixels), place.path, source=place.source)
    return f"{file} -> {place.path}{' (again)' if place.again else ''}"
