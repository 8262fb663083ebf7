import time

import numpy as np
import pytest
from PIL import Image, ImageChops

from dmtool.draw import sheet
from dmtool.draw.sheet import contact_sheet

RED = (200, 0, 0)


def squares(count, size=32):
    return [Image.new("RGB", (size, size), RED) for _ in range(count)]


def red_area(sheet):
    return int((np.asarray(sheet) == RED).all(-1).sum())


def test_every_picture_is_shown_whole_and_enlarged_with_hard_pixels():
    assert red_area(contact_sheet(squares(5), [""] * 5, columns=3, scale=1)) == 5 * 32**2
    assert red_area(contact_sheet(squares(5), ["red"] * 5, columns=3, scale=4)) == 5 * 128**2
    row, tall = (contact_sheet(squares(6, 128), [""] * 6, columns=n) for n in (6, 2))
    assert row.width > 6 * 128 > 3 * 128 > tall.width > 2 * 128 and tall.height > 3 * 128


def test_captions_stay_below_their_own_picture():
    """Ink appears only in the column of the picture with the caption, and below it."""
    short = contact_sheet(squares(3, 128), ["x", "", ""], columns=3)
    full = contact_sheet(squares(3, 128), ["x", "incomprehensibilities " * 40, ""], columns=3)
    paper = Image.new("RGB", full.size, "white")
    paper.paste(short)
    left, top, right, bottom = ImageChops.difference(full, paper).getbbox()
    assert left >= 24 + 130 + 16 and right <= 24 + 2 * 130 + 16
    assert top >= 24 + 128 and bottom <= full.height - 24


def test_accents_are_drawn_as_plain_letters():
    plain, accented = (contact_sheet(squares(1), [text], 1) for text in ("Curacao", "Curaçao"))
    assert plain.tobytes() == accented.tobytes()


def test_pictures_and_captions_must_be_as_many():
    with pytest.raises(ValueError, match="2 pictures and 1 captions"):
        contact_sheet(squares(2), ["one"], columns=2)


def test_endless_words_are_cut_at_once_where_they_no_longer_fit():
    picture, began = squares(1), time.perf_counter()
    for words in ("x" * 1_000_000, "in " * 1_000_000, "x" * 100_000 + " y" * 100_000):
        contact_sheet(picture, [words], columns=1)
    contact_sheet([Image.new("RGB", (2000, 10))] * 8, ["x" * 10**5] * 8, columns=8)
    assert time.perf_counter() - began < 5
    for length in range(1, 60):
        word = "incomprehensibility " * 9
        (line,) = sheet._wrapped(word[:length].replace(" ", "-"), 104)[:1]
        end = len(line) - 1
        assert sheet._fits(line, 104) and word.replace(" ", "-").startswith(line[:end].rstrip("…"))
        if line.endswith("…"):
            assert not sheet._fits(sheet._shortened(word[:length].replace(" ", "-"), end + 1), 104)
