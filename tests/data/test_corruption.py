"""What corruptions do to a picture, at no strength and at the most."""

import pytest
import torch

from dmtool.config.corruption import Blur, GaussianNoise, Jpeg, Masking, NoCorruption
from dmtool.data.corruption import GREY, KINDS, corrupted
from dmtool.rng import generator

ALL = [
    NoCorruption(kind="none"),
    GaussianNoise(kind="gaussian", strength=0.5),
    Masking(kind="mask", strength=0.6, patch=5),
    Blur(kind="blur", strength=2.0),
    Jpeg(kind="jpeg", quality=5),
]


@pytest.fixture
def picture():
    waves = torch.linspace(0, 20, 64).sin()
    return ((waves[:, None] * waves + 1) * 100 + 20).byte().expand(3, -1, -1).contiguous()


def made(config, picture, strength):
    return KINDS[type(config)](config, picture, strength, generator(0))


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.kind)
def test_each_is_nothing_at_no_strength_and_its_own_at_any(config, picture):
    before = picture.clone()
    none = made(config, picture, 0.0)
    assert (none.int() - picture.int()).abs().max() <= (4 if config.kind == "jpeg" else 0)
    errors = [(made(config, picture, s).float() - picture).square().mean() for s in (0.3, 0.6, 1.0)]
    assert config.kind == "none" or errors[0] < errors[1] < errors[2]
    one, same, other = (corrupted(config, picture, generator(key)) for key in ("a", "a", "b"))
    assert torch.equal(one, same) and one.dtype == torch.uint8 and one.shape == picture.shape
    assert config.kind == "none" or not torch.equal(one, other)
    assert torch.equal(picture, before)


def test_noise_has_the_deviation_that_is_asked_for():
    grey = torch.full((3, 200, 200), 128, dtype=torch.uint8)
    found = made(ALL[1], grey, 0.8)
    assert (found.float() / 127.5).std() == pytest.approx(0.8 * 0.5, rel=0.02)


def test_whole_squares_are_masked_as_often_as_asked(picture):
    found = made(ALL[2], picture, 1.0)
    hidden = (found == GREY).all(0)[:60, :60].unflatten(0, (12, 5)).unflatten(2, (12, 5))
    squares = hidden.float().mean((1, 3))
    assert set(squares.unique().tolist()) <= {0.0, 1.0} or (picture == GREY).any()
    assert squares.round().mean() == pytest.approx(0.6, abs=0.1)


def test_a_blur_keeps_the_mean_and_takes_detail(picture):
    found = made(ALL[3], picture, 1.0).float()
    assert found.mean() == pytest.approx(picture.float().mean(), abs=1)
    assert found.diff().abs().mean() < 0.8 * picture.float().diff().abs().mean()
