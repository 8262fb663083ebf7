"""Captions that are spelt, encoded or placed in other ways: taken, or named with what to do."""

import json
import os
import tracemalloc

import pyarrow as pa
import pytest
from datasets import load_dataset
from PIL import Image
from pyarrow import parquet

from dmtool.data.inspect import describe, summary
from dmtool.data.source import load, report
from dmtool.errors import UserError


@pytest.fixture
def read(tmp_path, config):
    """Loads the folder, with pictures a.png, b.png and c.png: captions, bad files, notes."""
    for name in "abc":
        Image.new("RGB", (8, 8), (ord(name), 0, 0)).save(tmp_path / f"{name}.png")

    def load_it():
        found = load(config("folder", path=str(tmp_path), max_bad=1.0))
        captions = dict(zip(found.dataset["key"], found.dataset["caption"], strict=True))
        return captions, dict(found.bad), " | ".join(found.notes)

    return load_it


@pytest.mark.parametrize(
    "name", ["a.txt", "a.TXT", "a.caption", "a.Caption", "a.png.txt", "a.png.caption"]
)
def test_sidecars_by_all_their_names(tmp_path, read, name):
    (tmp_path / name).write_text("a red box\n")
    captions, _, notes = read()
    assert captions == {"a.png": ["a red box"], "b.png": [], "c.png": []}
    assert f"captions from {name[name.rindex('.') :].lower()} files beside 1 picture" in notes


def test_the_first_of_several_sidecars_counts_and_that_is_said(tmp_path, read):
    for name in ("a.caption", "a.txt", "a.TXT", "a.png.txt", "b.caption"):
        (tmp_path / name).write_text(name)
    captions, _, notes = read()
    assert captions == {"a.png": ["a.txt"], "b.png": ["b.caption"], "c.png": []}
    assert "1 picture has several caption files, as a.txt, a.TXT, a.caption, a.png.txt" in notes


@pytest.mark.parametrize("name", ["metadata.JSONL", "Metadata.CSV", "metadata.parquet"])
def test_metadata_by_all_its_names_as_imagefolder_reads_it(tmp_path, read, name):
    rows = [{"file_name": f"{each}.png", "text": f"a, {each}"} for each in "bac"]
    if name.endswith("parquet"):
        parquet.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    elif name.endswith("CSV"):
        lines = [f'{row["file_name"]},"{row["text"]}"' for row in rows]
        (tmp_path / name).write_text("\n".join(["file_name,text", *lines]))
    else:
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
    captions, bad, notes = read()
    assert captions == {f"{each}.png": [f"a, {each}"] for each in "abc"} and not bad
    assert f"captions from {name}, column 'text'" in notes
    (tmp_path / name).rename(tmp_path / name.lower())
    theirs = load_dataset(
        "imagefolder", data_dir=str(tmp_path), split="train", cache_dir=str(tmp_path / ".theirs")
    )
    assert captions == {f"{text[-1]}.png": [text] for text in theirs["text"]}


def test_damaged_parquet_and_columns_it_lacks_are_refused(tmp_path, read):
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match=r"metadata.parquet cannot be read as Parquet: "):
        read()
    table = pa.table({"file_name": ["a.png"], "label": [1]})
    parquet.write_table(table, tmp_path / "metadata.parquet")
    with pytest.raises(UserError, match=r"no column 'text' or 'caption' .found 'file_name', 'lab"):
        read()


def test_a_row_with_more_cells_than_columns_is_refused_with_its_line(tmp_path, read):
    lines = ["file_name,text", 'a.png,"a red box, on white"', "b.png,a red box, on white ground"]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    message = r"line 3: 3 cells under 2 columns.*'a red box' would be lost; .*in quotes: a.png,\"a"
    with pytest.raises(UserError, match=message):
        read()
    (tmp_path / "metadata.csv").write_text("file_name,text,text\na.png,red,box\n")
    with pytest.raises(UserError, match="2 columns are called 'text'"):
        read()


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv", "a.txt"])
def test_a_file_without_an_end_of_line_is_refused_before_it_is_in_memory(tmp_path, read, name):
    (tmp_path / name).touch()
    os.truncate(tmp_path / name, 2**28)
    tracemalloc.start()
    with pytest.raises(UserError, match=r"line 1: it has more than|and such a file at most"):
        read()
    assert tracemalloc.get_traced_memory()[1] < 2**27
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["captions.csv", "labels.csv", "metadata150.jsonl", "a.json"])
def test_tables_that_are_not_taken_are_named(tmp_path, read, name):
    (tmp_path / name).write_text("file_name,text\na.png,red\n")
    captions, _, notes = read()
    assert not any(captions.values())
    assert f"no captions found | {name}: not read; captions are read from a metadata.jsonl" in notes


def test_texts_beside_nothing_and_texts_beside_metadata_are_named(tmp_path, read):
    for name in ("captions.txt", "a.txt"):
        (tmp_path / name).write_text("words")
    assert "captions.txt: beside no picture of that name" in read()[2]
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,red\n")
    captions, _, notes = read()
    assert captions["a.png"] == ["red"]
    assert "1 file beside pictures was left aside (a.txt)" in notes


def test_an_edit_of_the_same_length_and_time_is_noticed(tmp_path, read):
    def edit(name, data):
        path = tmp_path / name
        facts = path.stat()
        path.write_bytes(data)
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        after = path.stat()
        assert (after.st_size, after.st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)

    (tmp_path / "a.txt").write_text("a red box")
    assert read()[0]["a.png"] == ["a red box"]
    edit("a.txt", b"a box, ox")
    assert read()[0]["a.png"] == ["a box, ox"]
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,red\n")
    assert read()[0]["a.png"] == ["red"]
    edit("metadata.csv", b"file_name,text\na.png,ice\n")
    assert read()[0]["a.png"] == ["ice"]
    data = (tmp_path / "b.png").read_bytes()
    assert not read()[1]
    edit("b.png", bytes(len(data)))
    assert list(read()[1]) == ["b.png"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-32"])
def test_texts_are_decoded_by_their_mark(tmp_path, read, encoding):
    (tmp_path / "a.txt").write_bytes("grün 图片\r\nzwei".encode(encoding))
    assert read()[0]["a.png"] == ["grün 图片", "zwei"]
    (tmp_path / "metadata.csv").write_bytes("file_name,text\r\na.png,图片\r\n".encode(encoding))
    assert read()[0]["a.png"] == ["图片"]
    (tmp_path / "metadata.csv").unlink()
    row = {"file_name": "a.png", "text": "naïve"}
    (tmp_path / "metadata.jsonl").write_bytes(json.dumps(row).encode(encoding))
    assert read()[0]["a.png"] == ["naïve"]


def test_utf16_without_a_mark_or_cut_off_is_named(tmp_path, read):
    (tmp_path / "a.txt").write_bytes("red".encode("utf-16-le"))
    (tmp_path / "b.txt").write_bytes("red".encode("utf-16")[:-1])
    captions, bad, _ = read()
    assert captions == {"c.png": []}
    assert "UTF-16 without a mark" in bad["a.png"] and bad["b.png"] == "its caption is not UTF-8"
    (tmp_path / "metadata.csv").write_bytes("file_name,text\n".encode("utf-16")[:-1])
    with pytest.raises(UserError, match="begins as UTF-16 and is none: save it as UTF-8"):
        read()


def test_names_of_other_systems_are_taken_where_they_mean_a_picture(tmp_path, read):
    (tmp_path / "sub").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "sub/d.png")
    rows = {
        "..\\sub\\d.png": "backslashes",
        str(tmp_path / "a.png"): "absolute",
        "C:\\pictures\\b.png": "of Windows",
        "/elsewhere/c.png": "outside",
        "gone\\e.png": "nowhere",
    }
    text = "\n".join(json.dumps({"file_name": name, "text": text}) for name, text in rows.items())
    (tmp_path / "sub/metadata.jsonl").write_text(text)
    captions, bad, notes = read()
    assert captions == {
        "a.png": ["absolute"],
        "b.png": [],
        "c.png": [],
        "sub/d.png": ["backslashes"],
    }
    assert "1 file name with backslashes was read with slashes" in notes
    assert bad["C:\\pictures\\b.png"].startswith("an absolute name of no picture in the folder")
    assert bad["/elsewhere/c.png"].endswith("(named in sub/metadata.jsonl, line 4)")
    assert bad["sub/gone\\e.png"].startswith("no such picture") and len(bad) == 3


def test_many_bad_rows_are_counted_and_few_are_printed(tmp_path, read, config):
    rows = (json.dumps({"file_name": f"{i}.png", "text": "x"}) for i in range(10_000))
    (tmp_path / "metadata.jsonl").write_text("\n".join(rows))
    chosen = config("folder", path=str(tmp_path), max_bad=0.9999)
    found = load(chosen)
    text = describe(summary(found, chosen))
    assert "bad files   10,000" in text and "and 9,980 more" in text and len(text) < 3000
    assert any("and 9,997 more" in line for line in report(found))


def test_archives_and_frames_are_told(tmp_path, read):
    frames = [Image.new("RGB", (20, 10), (i, 0, 0)) for i in (1, 2, 3)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "pages.tiff", save_all=True, append_images=frames[1:])
    (tmp_path / "more.ZIP").write_bytes(b"PK")
    _, _, notes = read()
    assert "more.ZIP: archives are not opened, unpack them" in notes
    assert (
        "of 2 files with several frames or pages the first is taken: film.gif, pages.tiff" in notes
    )
