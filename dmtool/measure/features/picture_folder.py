"""Sets of pictures that are measured: the files below a folder.

Each picture goes from its native size straight into the extractor's own resize: RGB, upright by its
EXIF, its colours in sRGB by its profile, over white where it is transparent, 16 bits brought to 8.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from PIL import UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from dmtool.data.colour import GREY, profile
from dmtool.data.transforms import LIMIT, open_picture, read_bytes, to_pixels, to_rgb
from dmtool.data.walk import PICTURES, Listing, some, walk
from dmtool.errors import UserError
from dmtool.files.digests import digest
from dmtool.measure.features.sets import Undecodable, copies
from dmtool.processes import ALONE, Group
from dmtool.say import counted, shown

WHITE = (255, 255, 255)
MAX_PIXELS = 2**28
LOSSY = {"JPEG", "MPO", "WEBP", "AVIF", "JPEG2000"}


class PictureFile(NamedTuple):
    """A picture file: its path below the folder, and what its bytes and header say.

    One that cannot be opened has no format. `profiled`: its colours are converted to sRGB; `fault`
    says why its profile cannot be used.
    """

    name: str
    sha256: str
    format: str
    size: tuple[int, int]
    grey: bool
    transparent: bool
    profiled: bool = False
    fault: str = ""


@dataclass(frozen=True)
class Folder:
    """The picture files below a folder, in the order of their paths' parts."""

    path: Path
    files: list[PictureFile]
    listing: Listing

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> Tensor:
        try:
            return decoded(self.path / self.files[row].name)
        except Exception as error:  # decoders raise anything
            raise Undecodable(self.broken) from error

    @property
    def digest(self) -> str:
        return digest(self.keys)

    @property
    def keys(self) -> list[str]:
        return [file.sha256 for file in self.files]

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "place": str(self.path),
            "files": self.digest,
            "formats": dict(Counter(file.format for file in self.files)),
            "sizes": _sizes(self.files),
            **self.colours,
        }

    @property
    def colours(self) -> dict[str, str]:
        return {"profiles": "convert"} if any(file.profiled for file in self.files) else {}

    @property
    def notes(self) -> list[str]:
        told = [
            *self.listing.notes,
            _left_aside([file.name for file in self.listing.files if file.kind not in PICTURES]),
            _mixed(self.files),
            _counted(self.files, "grey", "grey pictures, taken as RGB"),
            _counted(self.files, "transparent", "transparent pictures, laid over white (other "
                     "libraries drop the alpha channel)"),
            _counted(self.files, "profiled", "pictures turned into sRGB by their colour profile "
                     "(other libraries ignore profiles)"),
            _counted(self.files, "fault", "pictures taken as sRGB, since their colour profile "
                     f"cannot be used ({some(f.name for f in self.files if f.fault)})"),
            _repeated(self.files),
        ]  # fmt: skip
        return [f"{self.path}: {line}" for line in told if line]

    @property
    def lossy(self) -> list[str]:
        """The note on files of lossy formats, which is to be made of generated pictures."""
        count = sum(file.format in LOSSY for file in self.files)
        return [
            f"{self.path}: generated pictures in a lossy format (JPEG, WebP): {count:,} of "
            f"{len(self):,}; compression moves the distance either way: save PNG"
        ] * bool(count)

    def broken(self) -> str:
        """All pictures that cannot be decoded, in a sentence: every one is tried."""
        bad = []
        for file in tqdm(self.files, desc=shown(f"checking {self.path.name}"), unit="pictures"):
            try:
                decoded(self.path / file.name)
            except Exception as error:  # decoders raise anything: all are named together
                bad.append(f"{file.name} ({_reason(error)})")
        return (
            f"{len(bad)} of {len(self)} pictures in {self.path} cannot be read: "
            f"{some(bad)}; mend or remove them"
        )


def folder(path: Path, group: Group = ALONE) -> Folder:
    """The pictures below `path`, looked at by all processes together.

    Raises UserError if it is no folder, has fewer than two pictures, or has one whose header
    cannot be read.
    """
    if not path.is_dir():
        raise UserError(f"{path} is not a folder of pictures, nor a file of statistics (.npz)")
    listing = walk(path)
    pictures = sorted(listing.pictures, key=lambda name: name.split("/"))
    if len(pictures) < 2:
        told = [
            f"{path} has {counted(len(pictures), 'picture')}: a distance needs at least 2",
            *listing.notes,
        ]
        raise UserError("; ".join(told))
    bar = tqdm(group.share(pictures), desc=shown(f"reading {path.name}"), disable=group.silent)
    files = group.merge([_look(path, name) for name in bar])
    return group.on_main(lambda: _readable(Folder(path, files, listing)))


def _readable(found: Folder) -> Folder:
    if not all(file.format for file in found.files):
        raise UserError(found.broken())
    return found


def _look(root: Path, name: str) -> PictureFile:
    sha256 = ""
    try:
        data = _bytes(root / name)
        sha256 = hashlib.sha256(data).hexdigest()
        image = open_picture(data, MAX_PIXELS, LIMIT)
    except Exception:  # decoders raise anything: bad files are named when all have been seen
        return PictureFile(name, sha256, "", (0, 0), False, False)
    kind, clear = image.format or PurePosixPath(name).suffix, image.has_transparency_data
    found, grey = profile(image), image.mode in GREY
    converted = found.transform is not None
    return PictureFile(name, sha256, kind, image.size, grey, clear, converted, found.fault)


def _bytes(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise ValueError("no regular file")
    return read_bytes(path)


def decoded(path: Path) -> Tensor:
    """The picture of a file over white, uint8 RGB [3, H, W]; decoders raise anything."""
    return to_pixels(to_rgb(open_picture(_bytes(path), MAX_PIXELS, LIMIT), WHITE))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not a picture that can be decoded"
    return str(error) or type(error).__name__


def _left_aside(names: list[str]) -> str:
    return f"files left aside, no pictures: {len(names):,} ({some(names)})" * bool(names)


def _mixed(files: list[PictureFile]) -> str:
    count = len({file.size for file in files})
    return f"pictures of {count:,} sizes, {_sizes(files)}, each resized by itself" * (count > 1)


def _sizes(files: list[PictureFile]) -> str:
    """Width x height of the smallest and the largest."""
    by_area = sorted({file.size for file in files}, key=lambda size: (size[0] * size[1], size))
    ends = dict.fromkeys("{}x{}".format(*size) for size in (by_area[0], by_area[-1]))
    return " to ".join(ends)


def _counted(files: list[PictureFile], what: str, words: str) -> str:
    count = sum(bool(getattr(file, what)) for file in files)
    return f"{words}: {count:,}" * bool(count)


def _repeated(files: list[PictureFile]) -> str:
    distinct = len({file.sha256 for file in files})
    return copies(len(files), distinct) * (distinct < len(files))
