"""One walker: what training reads, what is measured, and what is judged by captions."""

import os

import numpy as np
import pytest
from PIL import Image

from dmtool.data.source import load
from dmtool.data.walk import walk
from dmtool.errors import UserError
from dmtool.measure.captioned_folder import captioned
from dmtool.measure.features import picture_folder


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path))).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def album(tmp_path):
    """Pictures, some behind a link; thumbnails and the like, a circle, and a second link."""
    for name in ("a.png", "sub-1/b.png", "sub/c.png", "@eaDir/a.png/thumb.jpg", "x/@eaDir/d.png"):
        picture(tmp_path / "album" / name)
    for name in ("__MACOSX/a.png", ".thumbnails/a.png", "._a.png"):
        picture(tmp_path / "album" / name)
    picture(tmp_path / "elsewhere/d.png")
    for name, target in {"linked": "elsewhere", "again": "elsewhere", "circle": "album"}.items():
        (tmp_path / "album" / name).symlink_to(tmp_path / target)
    return tmp_path / "album"


def test_all_see_the_same_pictures(album, config):
    names = walk(album).pictures
    assert names == ["a.png", "again/d.png", "sub-1/b.png", "sub/c.png"]
    found = load(config("folder", path=str(album)))
    assert list(found.dataset["key"]) == names
    measured = picture_folder.folder(album)
    assert [file.name for file in measured.files] == [
        "a.png", "again/d.png", "sub/c.png", "sub-1/b.png",
    ]  # fmt: skip
    for name in names:
        (album / name).with_suffix(".txt").write_text(name)
    assert [path.relative_to(album).as_posix() for path, _ in captioned(album)] == names


def test_what_is_passed_over_is_named(album, config):
    left = "6 folders (hidden, of the system, or linked twice) left aside: 2 x @eaDir, "
    for notes in (
        load(config("folder", path=str(album))).notes,
        picture_folder.folder(album).notes,
    ):
        (line,) = [line for line in notes if left in line]
        assert all(name in line for name in (".thumbnails", "__MACOSX", "circle", "linked"))
        assert any("1 hidden picture file left aside" in line for line in notes)


def test_pipes_and_links_to_nowhere_are_named_and_not_waited_for(tmp_path, config):
    for name in ("a.png", "b.png"):
        picture(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "a.txt")
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "gone")
    found = load(config("folder", path=str(tmp_path), max_bad=0.5))
    assert dict(found.bad) == {
        "pipe.png": "no regular file",
        "nowhere.png": "No such file or directory",
    }
    with pytest.raises(UserError, match=r"2 of 4 .*nowhere\.png .*pipe\.png \(no regular file"):
        picture_folder.folder(tmp_path)
