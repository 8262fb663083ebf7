"""The figure of noise processes: its curves are the schedule's, its densities integrate to 1."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import norm

from dmtool.draw import plot
from dmtool.errors import UserError
from dmtool.look import noise_plot
from dmtool.look.noise_plot import kinds, panels, processes

PANELS = ["alpha", "sigma", "log_snr", "density", "weight", "share"]


def curve(words, panel):
    found = panels(processes(words))[PANELS.index(panel)].curves[0]
    return np.asarray(found.x), np.asarray(found.y)


def test_the_curves_of_a_flow_are_its_closed_form():
    t, alpha = curve(["noise.shift.value=3"], "alpha")
    _, sigma = curve(["noise.shift.value=3"], "sigma")
    np.testing.assert_allclose(alpha + sigma, 1)
    np.testing.assert_allclose(sigma, 3 * t / (1 + 2 * t))
    t, level = curve([], "log_snr")
    np.testing.assert_allclose(level[1:-1], 2 * np.log(1 / t[1:-1] - 1), atol=1e-9)
    assert level[0] == np.inf and level[-1] == -np.inf


def test_logit_normal_times_are_normal_in_log_snr_and_weights_in_closed_form():
    level, density = curve(["noise.times.mean=0.5"], "density")
    np.testing.assert_allclose(density, norm.pdf(level, -1, 2), rtol=0.02, atol=1e-4)
    level, weight = curve([], "weight")  # of the velocity's error: 1 / sigma^2
    np.testing.assert_allclose(weight, (1 + np.exp(level / 2)) ** 2)
    level, weight = curve(["noise=cosine"], "weight")
    np.testing.assert_allclose(weight, np.minimum(np.exp(level), 5))
    _, share = curve(["noise=ddpm"], "share")  # the noise's error as it is: the density
    _, density = curve(["noise=ddpm"], "density")
    np.testing.assert_allclose(share, density / density.max())


@pytest.mark.parametrize("kind", kinds())
def test_each_kind_is_drawn_with_a_density_that_integrates_to_one(kind, tmp_path):
    (process,) = processes([f"noise={kind}"])
    level, density = process.density()
    assert abs(torch.trapezoid(density.flip(0), level.flip(0)).item() - 1) < 0.02
    assert (process.weight(level) > 0).all()
    out = tmp_path / "noise.png"
    noise_plot.draw([f"noise={kind}"], False, None, out)
    assert min(Image.open(out).size) > 700


def test_commas_and_all_compare_and_the_picture_may_be_ones_own(tmp_path):
    found = processes(["noise=flow,cosine", "noise/times=uniform,mode"])
    assert [each.name for each in found] == [
        "flow times=uniform", "flow times=mode", "cosine times=uniform", "cosine times=mode",
    ]  # fmt: skip
    own = tmp_path / "own.png"
    Image.new("RGB", (300, 200), (200, 30, 30)).save(own)
    strip = noise_plot.strip(found[0], noise_plot._picture(own))
    assert strip.pictures[0].getpixel((50, 50)) == (200, 30, 30)
    spread = [np.asarray(picture, float).std() for picture in strip.pictures]
    assert spread[0] < 90 and spread[1] < spread[-1]
    out = tmp_path / "all.svg"
    noise_plot.draw([], True, own, out)
    assert out.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("words", "everything", "says"),
    [
        (["noise=flwo"], False, "there are: "),
        (["noise.shfit.value=2"], False, "did you mean noise.shift"),
        (["noise=edm", "noise.sigma_max=0.001"], False, "not below"),
        (["noise=flow"], True, "give one of them"),
        (["noise"], False, "cannot read 'noise'"),
    ],
)
def test_a_mistake_is_one_line(words, everything, says, tmp_path):
    with pytest.raises(UserError, match=says) as error:
        noise_plot.draw(words, everything, None, tmp_path / "x.png")
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_files_that_fit_nothing_are_refused(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    for name in ("bad.png", "absent.png"):
        with pytest.raises(UserError, match=name):
            noise_plot.draw([], False, tmp_path / name, tmp_path / "x.png")
    with pytest.raises(UserError, match=r"\.png or \.svg"):
        noise_plot.draw([], False, None, tmp_path / "x.pdf")


def test_a_page_for_html_is_the_same_each_time_and_bands_are_drawn():
    curves = [plot.Curve(name, [1, 2, 4], [3, float("nan"), 1], [0.1, 0.1, 0.1], marks=True)
              for name in "ab"]  # fmt: skip
    page = [plot.page([plot.Panel("P", "x", curves, log_x=True)]) for _ in range(2)]
    assert plot.svg(page[0]) == plot.svg(page[1])
    assert plot.svg(page[0]).startswith("<svg")
    lines = page[0].axes[0].lines
    assert [list(line.get_xdata()) for line in lines] == [[1, 4], [1, 4]]
    assert len(page[0].axes[0].collections) == 2 and len(page[0].legends) == 1
