import json

import numpy as np
import pytest
from PIL import Image

from dmtool.data.inspect import describe, sheet, summary
from dmtool.data.source import load


@pytest.fixture
def mixed(tmp_path, config):
    for index, size in enumerate([(20, 10), (40, 10), (300, 200)] * 7):
        Image.new("RGBA" if index % 3 else "L", size).save(tmp_path / f"{index}.png")
    (tmp_path / "0.txt").write_text("a b c\na")
    (tmp_path / "1.txt").write_text("a")
    (tmp_path / "broken.png").write_text("")
    return config("folder", path=str(tmp_path), max_bad=0.5)


def test_the_figures_are_those_of_the_folder(mixed):
    figures = summary(load(mixed), mixed)
    assert figures["width"] == [20, 40, 300] and figures["height"] == [10, 10, 200]
    assert figures["modes"] == {"RGBA": 14, "L": 7}
    assert figures["captions"] == {
        "count": 3,
        "distinct": 2,
        "words": [1, 1, 3],
        "without": 19 / 21,
    }
    assert figures["bad"] == [{"name": "broken.png", "reason": "empty file (0 bytes)"}]
    assert sum(figures["splits"].values()) == figures["pictures"] == 21
    assert json.loads(json.dumps(figures)) == figures
    text = describe(figures)
    for part in ("broken.png: empty file", "20 to 300 pixels, median 40", "14 RGBA, 7 L", "90.5%"):
        assert part in text
    more = describe(figures | {"width": [1, 1.5, 1234567], "height": [1, 1, 1]})
    assert "1 to 1,234,567 pixels, median 1.5\n" in more and "1 pixel\n" in more


def test_the_sheet_shows_pictures_over_the_background(mixed, tmp_path):
    source = load(mixed)
    sheet(source.dataset, mixed, tmp_path / "sheet.png", n=8)
    with Image.open(tmp_path / "sheet.png") as written:
        pixels = np.asarray(written)
    assert written.mode == "RGB" and written.width > 8 * 104
    assert (pixels == 0).all(-1).any() and (pixels[-1] == 255).all()


def test_a_sheet_of_shapes_has_every_pixel_of_its_pictures(config, tmp_path):
    shapes = config("shapes", count=3, size=64)
    dataset = load(shapes).dataset
    sheet(dataset, shapes, tmp_path / "sheet.png")
    pixels = np.asarray(Image.open(tmp_path / "sheet.png"))
    first = np.asarray(dataset[0]["image"].resize((128, 128), Image.Resampling.NEAREST))
    assert (pixels[25:153, 25:153] == first).all()
