import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from dmtool.data import folder
from dmtool.data.source import load
from dmtool.data.transforms import open_picture, to_rgb
from dmtool.errors import UserError


def picture(path, mode="RGB", size=(40, 30), colour=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour or 0).save(path, **options)
    return path


def noise(path, **options):
    """A picture that does not compress, so that a part of its file is a part of its pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def read(tmp_path, config):
    """Loads the folder: captions by key, reasons by bad file, the source."""

    def load_it(max_bad=1.0, **overrides):
        source = load(config("folder", path=str(tmp_path), max_bad=max_bad, **overrides))
        captions = dict(zip(source.dataset["key"], source.dataset["caption"], strict=True))
        return captions, dict(source.bad), source

    return load_it


def test_metadata_jsonl(tmp_path, read):
    for name in ("b.png", "a.jpg", "sub/c.png", "d.png", "e.png"):
        picture(tmp_path / name)
    rows = [
        {"file_name": "a.jpg", "text": ["one", " two\n words "]},
        {"file_name": "sub/c.png", "text": "naïve café"},
        {"file_name": "d.png", "text": None},
        {"file_name": "b.png", "text": "  "},
        {"file_name": "a.jpg", "text": "three"},
        {"file_name": "gone.png", "text": "nothing"},
        {"file_name": "../outside.png", "text": "nothing"},
    ]
    text = "\ufeff" + "\n\n".join(map(json.dumps, rows))
    (tmp_path / "metadata.jsonl").write_text(text, encoding="utf-8")
    captions, bad, source = read()
    assert captions == {
        "a.jpg": ["one", "two words", "three"],
        "b.png": [],
        "d.png": [],
        "e.png": [],
        "sub/c.png": ["naïve café"],
    }
    assert list(captions) == sorted(captions)
    assert bad == {
        "gone.png": "no such picture (named in metadata.jsonl, line 11)",
        "../outside.png": "no such picture (named in metadata.jsonl, line 13)",
    }
    assert "3 of 5 pictures have no caption" in source.notes


def test_metadata_csv_with_the_column_caption_in_a_sub_folder(tmp_path, read):
    picture(tmp_path / "x/a.png"), picture(tmp_path / "x/b.png")
    (tmp_path / "x/metadata.csv").write_text('file_name,caption\na.png,"red, ""round"""\nb.png\n')
    captions, bad, source = read()
    assert captions == {"x/a.png": ['red, "round"'], "x/b.png": []} and not bad
    assert "captions from x/metadata.csv, column 'caption'" in source.notes


def test_sidecars_one_caption_a_line(tmp_path, read):
    for name in ("a.png", "b.png", "sub/c.jpeg"):
        picture(tmp_path / name)
    (tmp_path / "a.txt").write_text("a red heart\n\n a heart, red \n")
    (tmp_path / "sub/c.txt").write_bytes("\ufeffgrün\r\n".encode())
    captions, bad, _ = read()
    assert captions == {
        "a.png": ["a red heart", "a heart, red"],
        "b.png": [],
        "sub/c.jpeg": ["grün"],
    }
    assert not bad


def test_class_folders(tmp_path, read):
    picture(tmp_path / "golden_retriever/1.png"), picture(tmp_path / "train/poodle/2.png")
    captions, _, source = read()
    assert captions == {
        "golden_retriever/1.png": ["golden retriever"],
        "train/poodle/2.png": ["poodle"],
    }
    assert any("names of 2 folders: golden_retriever, poodle" in note for note in source.notes)


@pytest.mark.parametrize(
    "names", [("a.png", "b.png"), ("x/a.png", "b.png"), ("x/a.png", "x/b.png")]
)
def test_no_captions_at_all(tmp_path, read, names):
    for name in names:
        picture(tmp_path / name)
    captions, bad, source = read()
    assert captions == {name: [] for name in sorted(names)} and not bad
    assert source.notes == ("no captions found",)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "metadata.jsonl",
            '{"file_name": "a.png", "text": "x"}\n{"file_name": ',
            "line 2: .*not JSON",
        ),
        ("metadata.jsonl", '["a.png", "x"]', "line 1: expected"),
        ("metadata.jsonl", '{"file": "a.png"}', "line 1: no 'file_name' .found 'file'"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": 5}', "line 1: 'text' is neither"),
        ("metadata.jsonl", '{"file_name": "a.png", "words": "x"}', "no column 'text' or 'caption'"),
        (
            "metadata.csv",
            "file_name;text\na.png;x\n",
            "line 2: no 'file_name' .found 'file_name;text'",
        ),
        ("metadata.csv", 'file_name,text\na.png,"x', "line 2: this is not CSV"),
    ],
)
def test_broken_metadata_is_refused_with_the_line(tmp_path, read, name, text, message):
    picture(tmp_path / "a.png")
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read()


def test_two_kinds_of_metadata_in_one_folder_are_refused(tmp_path, read):
    for name in ("metadata.csv", "metadata.jsonl"):
        (tmp_path / name).write_text("")
    with pytest.raises(UserError, match="keep one"):
        read()


def test_captions_that_are_not_utf8_are_named(tmp_path, read):
    for name in "abc":
        picture(tmp_path / f"{name}.png")
    rows = b'{"file_name": "a.png", "text": "caf\xe9"}\n'
    rows += b'{"file_name": "b.png", "text": "caf\xc3\xa9"}\n'
    rows += b'{"file_name": "c.png", "text": "half a pair \\ud800"}\n'
    (tmp_path / "metadata.jsonl").write_bytes(rows)
    captions, bad, _ = read()
    assert captions == {"b.png": ["café"]}
    assert bad == dict.fromkeys(["a.png", "c.png"], "its caption is not UTF-8")
    (tmp_path / "metadata.jsonl").unlink()
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    assert read()[1] == {"a.png": "its caption is not UTF-8"}


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "gif", "bmp", "tiff"])
def test_truncated_files_are_named(tmp_path, read, kind):
    data = noise(tmp_path / f"whole.{kind}").read_bytes()
    (tmp_path / f"cut.{kind}").write_bytes(data[: len(data) * 2 // 3])
    captions, bad, _ = read()
    assert (
        list(captions) == [f"whole.{kind}"] and list(bad) == [f"cut.{kind}"] and all(bad.values())
    )


def test_unusable_files_are_named_with_their_reason(tmp_path, read):
    picture(tmp_path / "good.png")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("<html>not found</html>")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    picture(tmp_path / "bomb.png", "1", (3000, 1000))
    picture(tmp_path / "float.tiff", "F")
    captions, bad, _ = read(max_pixels=2_000_000)
    assert captions == {"good.png": []}
    assert bad["empty.jpg"] == "empty file (0 bytes)"
    assert bad["text.png"] == "not a picture that can be decoded"
    assert bad["dangling.png"] == "No such file or directory"
    assert bad["bomb.png"].startswith("3000 x 1000 is 3000000 pixels, more than data.max_pixels=")
    assert "mode 'F'" in bad["float.tiff"] and len(bad) == 5
    with pytest.raises(UserError, match=r"5 of 6 files .*bomb\.png .* and 2 more; .*data\.max_bad"):
        read(max_bad=0.8, max_pixels=2_000_000)


def test_a_file_name_that_is_not_utf8_is_named(tmp_path, read):
    with open(os.fsencode(tmp_path) + b"/caf\xe9.png", "wb") as file:
        file.write(picture(tmp_path / "a.png").read_bytes())
    captions, bad, _ = read()
    assert list(captions) == ["a.png"] and bad == {"caf\\udce9.png": "its name is not UTF-8"}


def test_every_kind_of_pixel_is_kept_as_its_original_bytes_and_becomes_rgb(tmp_path, read, config):
    exif = Image.Exif()
    exif[0x0112] = 6
    files = [
        picture(tmp_path / "cmyk.jpg", "CMYK", colour=(0, 255, 255, 0)),
        picture(tmp_path / "palette.gif", "P"),
        picture(tmp_path / "deep.png", "I;16", colour=65535),
        picture(tmp_path / "alpha.webp", "RGBA", colour=(255, 0, 0, 0), lossless=True),
        picture(tmp_path / "turned.jpg", "RGB", exif=exif),
        picture(tmp_path / "bilevel.png", "1"),
    ]
    _, bad, source = read()
    assert not bad
    stored = {
        row["key"]: row["image"]["bytes"]
        for row in source.dataset.with_format("arrow")[:].to_pylist()
    }
    assert stored == {path.name: path.read_bytes() for path in files}
    shown = {name: to_rgb(open_picture(data, 10**6), (1, 2, 3)) for name, data in stored.items()}
    assert shown["turned.jpg"].size == (30, 40)
    assert shown["alpha.webp"].getpixel((0, 0)) == (1, 2, 3)
    assert shown["deep.png"].getpixel((0, 0)) == (255, 255, 255)
    assert all(image.mode == "RGB" for image in shown.values())


def test_a_second_start_reads_no_picture_and_any_change_is_noticed(tmp_path, read, monkeypatch):
    first, second = picture(tmp_path / "a.png"), picture(tmp_path / "b.png")
    (tmp_path / "a.txt").write_text("old")
    checked = []
    check = folder.check
    monkeypatch.setattr(
        folder, "check", lambda path, limit: checked.append(path.name) or check(path, limit)
    )
    before, again = read()[2], read()[2]
    assert checked == ["a.png", "b.png"] and before.fingerprint == again.fingerprint
    (tmp_path / "a.txt").write_text("newer")
    assert read()[0]["a.png"] == ["newer"]
    os.utime(second, ns=(1, 1))
    assert read()[2].fingerprint == read()[2].fingerprint != before.fingerprint
    assert len(checked) == 6
    first.unlink()
    assert list(read()[0]) == ["b.png"]


def test_hidden_files_are_ignored_others_are_mentioned_and_circles_end(tmp_path, read):
    picture(tmp_path / "a.png"), picture(tmp_path / ".hidden/b.png"), picture(tmp_path / ".c.png")
    (tmp_path / "film.mp4").touch(), (tmp_path / "loop").symlink_to(tmp_path)
    captions, _, source = read()
    assert list(captions) == ["a.png"]
    assert any("1 file is neither" in note and ".mp4" in note for note in source.notes)


def test_no_pictures_and_no_folder_are_refused(tmp_path, read, config):
    (tmp_path / "film.mp4").touch()
    with pytest.raises(UserError, match=r"no pictures.*1 \.mp4"):
        read()
    with pytest.raises(UserError, match="there is no such folder"):
        load(config("folder", path=str(tmp_path / "nowhere")))


def test_large_files_are_spread_over_several_batches(tmp_path, read, monkeypatch):
    from dmtool.data import store

    monkeypatch.setattr(store, "BATCH_BYTES", 20_000)
    data = [noise(tmp_path / f"{index}.png").read_bytes() for index in range(5)]
    dataset = read()[2].dataset
    assert dataset.data.column("image").num_chunks == 5
    assert all(row["image"].size == (64, 64) for row in dataset) and len(data[0]) > 10_000


def test_the_same_pictures_elsewhere_have_the_same_fingerprint(tmp_path, config):
    data = io.BytesIO()
    Image.new("RGB", (9, 9), (1, 2, 3)).save(data, "png")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(data.getvalue())
    one, two = (load(config("folder", path=str(tmp_path / name))) for name in ("one", "two"))
    assert one.fingerprint == two.fingerprint
