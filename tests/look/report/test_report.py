"""The page holds what the files say, fetches nothing, and compares only what compares."""

import base64
import re
import xml.etree.ElementTree as xml
from html.parser import HTMLParser
from shutil import which

import pytest
from written import NASTY, result

from dmtool.draw import plot
from dmtool.errors import UserError
from dmtool.look.report import curves, page


class Page(HTMLParser):
    """The tables' cells, the text, and every address that a page names."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.addresses, self.text, self.rows = [], [], "", []
        self.inside = False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [v for k, v in attributes if k in ("src", "href", "srcset", "action")]
        if tag == "tr":
            self.rows.append([])
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "tr"

    def handle_data(self, data):
        self.text += data
        if self.inside and data.strip():
            self.rows[-1].append(data)


def read(path):
    return Page(path.read_text())


def test_the_page_says_what_the_files_say_and_fetches_nothing(run):
    root = run("one", fid=result("c" * 64, 12.345678))
    seen = read(page.report(["one"], root, None, False))
    assert ["all", "100", "12.35", "0.25"] in seen.rows
    assert ["settings.guidance.scale", "2"] in seen.rows
    origin = next(row for row in seen.rows if row[0] == "unet/default")
    assert f"vae {'a' * 64}" in origin and "f" * 64 in origin and "words" in origin
    assert all(a.startswith(("data:", "#")) for a in seen.addresses)
    assert len([a for a in seen.addresses if a.startswith("data:image/png")]) == 2
    assert not {"script", "iframe"} & set(seen.tags)
    assert NASTY in seen.text, "it is shown, as text"


def test_runs_stand_side_by_side_unless_they_were_measured_differently(run):
    root = run("one", fid=result("c" * 64, 10.0))
    run("two", fid=result("d" * 64, 20.0))
    seen = read(page.report(["one", "two"], root, None, False))
    assert ["one", "100", "10", "0.25"] in seen.rows and ["two", "100", "20", "0.25"] in seen.rows
    assert ["settings.checkpoint", "c" * 64, "d" * 64] in seen.rows
    run("three", fid=result("e" * 64, 5.0, n_fake=50, extractor={"name": "y"}))
    with pytest.raises(UserError, match=r"n_fake: 100 / 50; extractor\.name: x / y"):
        page.report(["one", "three"], root, None, False)
    forced = read(page.report(["one", "three"], root, None, True))
    assert "Not comparable" in forced.text and ["n_fake", "100", "50"] in forced.rows


def test_curves_are_drawn_in_both_themes_with_a_line_for_each_run():
    lines = [{"pictures": p, "seconds": p, "loss": 1 / p} for p in range(1, 5001)]
    drawn = curves.of_stages("unet", {"a": lines, "b": lines})
    texts = []
    for uri in (drawn.light, drawn.dark):
        svg = base64.b64decode(uri.removeprefix("data:image/svg+xml;base64,")).decode()
        assert {"a", "b", "loss"} <= {node.text for node in xml.fromstring(svg).iter()}
        texts.append(svg)
        assert len(svg) < 100_000, "thinned"
    assert plot.DARK.ink in texts[1] and plot.DARK.ink not in texts[0]


def test_a_run_that_is_not_there_is_one_line(run):
    root = run("one")
    with pytest.raises(UserError, match="there is no run 'onne'"):
        page.report(["onne"], root, None, False)


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_browser_shows_it_without_an_error_or_a_request(run, theme):
    from playwright.sync_api import sync_playwright

    chromium = which("chromium")
    assert chromium, "this test needs Debian's package chromium"
    root = run("one", fid=result("c" * 64, 10.0))
    path = page.report(["one"], root, None, False).resolve()
    said, asked = [], []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(color_scheme=theme)
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(path.as_uri())
        widths = tab.evaluate("[...document.images].map(i => i.complete ? i.naturalWidth : 0)")
        paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        used = tab.evaluate("[...document.images].map(i => i.currentSrc)")
        browser.close()
    assert not said and [a for a in asked if not a.startswith("data:")] == [path.as_uri()]
    assert len(widths) == 3 and all(widths)
    light = sum(map(int, re.findall(r"\d+", paper)[:3])) > 384
    assert light == (theme == "light")
    inks = [base64.b64decode(u.partition(",")[2]).decode() for u in used if "svg" in u[:20]]
    ink = {"light": plot.LIGHT, "dark": plot.DARK}[theme].ink
    assert len(inks) == 1 and ink in inks[0]


@pytest.mark.parametrize("place", [
    "unet/config.yaml", "unet/previews/9.png", "eval/x.png", "eval/x.json", "x-sheet.png", "x-film",
])  # fmt: skip
def test_nothing_comes_from_outside_the_run_by_a_link(run, tmp_path, place):
    root = run("one")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "private.png").write_text("private")
    link = tmp_path / "one" / place
    link.unlink(missing_ok=True)
    link.symlink_to(outside if place.endswith("film") else outside / "private.png")
    with pytest.raises(UserError, match="is a link out of"):
        page.report(["one"], root, None, False)
    assert not (tmp_path / "one" / "report.html").exists()


@pytest.mark.parametrize("place", ["unet/previews/9.png", "eval/x.json"])
def test_a_link_to_itself_is_named(run, tmp_path, place):
    root, link = run("one"), tmp_path / "one" / place
    link.symlink_to(link.name)
    with pytest.raises(UserError, match=f"{link} cannot be read"):
        page.report(["one"], root, None, False)


def test_a_run_that_has_logged_one_line_has_no_curves_yet(run, tmp_path):
    root, log = run("one"), tmp_path / "one/unet/metrics.jsonl"
    log.write_text('{"pictures": 8, "seconds": 1.0, "loss": 2.0}\n')
    page.report(["one"], root, None, False)
    assert "data:image/svg" not in (tmp_path / "one/report.html").read_text()


def test_names_of_figures_are_text_and_no_formulas(tmp_path):
    lines = [{"pictures": p, "seconds": p, "$\\frac{1$": 1 / p} for p in range(1, 9)]
    assert "$\\frac{1$" in curves.of_stages("unet", {"$x_": lines}).title
