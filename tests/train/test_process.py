"""Noise processes as configs name them: all of them valid, and their cards make the denoiser."""

import json
from itertools import product

import pytest
import torch

from dmtool.config.compose import composed
from dmtool.config.stages import TrainUnet
from dmtool.config.validation import conf_dir, validate
from dmtool.diffusion import denoise
from dmtool.diffusion.noise import log_snr, schedule
from dmtool.errors import UserError
from dmtool.train.stages.process import draw_times, process_card

GROUP = conf_dir() / "noise"
TIMES = torch.linspace(0, 1, 101, dtype=torch.float64)


def options(folder):
    return sorted(path.stem for path in folder.glob("[!_]*.yaml"))


def config(*words):
    return validate(composed("train_unet", words), TrainUnet).noise


def levels(card):
    return torch.stack(denoise.build(torch.nn.Identity(), card).schedule(TIMES))


@pytest.mark.parametrize("kind", options(GROUP))
def test_a_card_of_every_kind_makes_its_denoiser(kind):
    noise = config(f"noise={kind}")
    card = json.loads(json.dumps(process_card(noise, 256)))
    denoiser = denoise.build(torch.nn.Identity(), card)
    assert (denoiser.prediction, denoiser.hears) == (noise.prediction, noise.c_noise)
    assert denoiser.sigma_data == noise.sigma_data
    assert set(card) >= {"kind", "prediction", "c_noise"} and "times" not in card
    uniform = torch.rand(8, generator=torch.Generator().manual_seed(0))
    places = [(k, 0) for k in range(8)]
    times = draw_times(noise.times, denoiser.schedule, uniform, places, 8)
    assert (times > 0).all() and (times < 1).all() and times.unique().numel() == 8


def test_every_density_and_weighting_goes_with_every_kind():
    choices = product(options(GROUP), options(GROUP / "times"), options(GROUP / "weighting"))
    for i, (kind, times, weighting) in enumerate(choices):
        if i % 23 == 0:  # some of each
            words = [f"noise={kind}", f"noise/times={times}", f"noise/weighting={weighting}"]
            words += ["noise.weighting.sigma_data=0.5"] * (weighting == "edm")
            assert config(*words).kind in kind.replace("edm2", "edm")


@pytest.mark.parametrize("kind", ["flow", "cosine", "ddpm", "scaled_linear"])
def test_cards_that_are_older_than_the_options_mean_what_they_did(kind):
    old = {"kind": kind, "prediction": "v", "c_noise": "flow_time"}
    assert torch.equal(levels(old), levels(process_card(config(f"noise={kind}"), 64)))


@pytest.mark.parametrize("kind", ["cosine", "ddpm", "scaled_linear", "sigmoid", "vp_sde"])
def test_a_card_says_that_the_variance_is_learned(kind):
    card = process_card(config(f"noise={kind}", "noise/variance=learned"), 64)
    assert card["variance"] == "learned"
    assert denoise.build(torch.nn.Identity(), card).variance == "learned"
    assert "variance" not in process_card(config(f"noise={kind}"), 64)


@pytest.mark.parametrize(("positions", "shift"), [(128 * 128, 3.0), (64 * 64, 1.5)])
def test_a_shift_that_follows_the_resolution_is_a_number_in_the_card(positions, shift):
    card = process_card(config("noise/shift=sqrt"), positions)
    assert card["shift"] == pytest.approx(shift)
    alpha, sigma = schedule("flow", shift=shift)(TIMES)
    torch.testing.assert_close(log_snr(*levels(card)), log_snr(alpha, sigma))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["noise=flow", "noise.prediction=eps"], "prediction=eps .* kind=flow"),
        (["noise=cosine", "noise.prediction=eps"], "prediction=eps .* kind=cosine"),
        (["noise=sigmoid", "noise.prediction=eps"], "prediction=eps .* kind=sigmoid"),
        (["noise=ddpm", "noise.zero_terminal_snr=true"], "prediction=eps .* kind=ddpm"),
        (["noise=ddpm", "noise.zero_terminal_snr=true", "noise.prediction=v"], "ddpm_zero_index"),
        (["noise=flow", "noise.prediction=edm"], "needs sigma_data"),
        (["noise=edm", "noise/weighting=p2", "noise.sigma_data=null"], "needs sigma_data"),
        (["noise=flow", "noise.sigma_data=1"], "leave it null"),
        (["noise=flow", "+noise.tau=1"], "unknown key 'noise.tau'"),
        (["noise=edm", "noise.sigma_min=90"], "sigma_min=90.0 is not below"),
        (["noise/times=mode", "noise.times.scale=2"], "noise.times.scale=2"),
        (["noise/variance=learned"], "variance-preserving noise, which kind=flow is not: take"),
        (["noise=edm2", "noise/variance=learned"], "kind=edm is not: take noise=cosine"),
        (["noise=cosine", "noise.variance=learned"], "say noise/variance=learned"),
        (["noise=cosine", "sampler=ddpm", "sampler.variance=learned"], "needs noise/variance="),
        (["guidance.bad=early"], "bad_scale"),
        (["guidance.bad=early", "guidance.bad_scale=2"], "previews"),
        (["guidance.perturbed.scale=2"], "previews"),
        (["guidance.interval.low=2", "guidance.interval.high=1"], "not below"),
    ],
)
def test_what_has_no_meaning_is_refused_in_one_line(words, said):
    with pytest.raises(UserError, match=said):
        config(*words)
