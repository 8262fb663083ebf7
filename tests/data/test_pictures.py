import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image
from PIL import Image as Pillow

from dmtool.data.pictures import Pictures


@pytest.fixture(scope="module")
def dataset():
    """Ten pictures whose pixels tell their place: red is x, green is y, blue is the row."""
    y, x = np.mgrid[:24, :40].astype(np.uint8)
    images = [Pillow.fromarray(np.stack([x, y, np.full_like(x, row)], -1)) for row in range(10)]
    return Dataset.from_dict({"image": images}, features=Features({"image": Image()}))


def test_center_crop_is_the_middle(dataset, config):
    pictures = Pictures(dataset, config("shapes"), 24, seed=0)
    item = pictures[(7, 3)]
    assert (item["row"], item["k"], len(pictures)) == (3, 7, 10)
    assert item["image"].dtype == torch.uint8 and item["image"].shape == (3, 24, 24)
    assert item["image"][0, 0].tolist() == list(range(8, 32))
    assert item["image"][1, :, 0].tolist() == list(range(24)) and (item["image"][2] == 3).all()


def test_crop_and_flip_hang_on_seed_and_k_alone(dataset, config):
    varied = config("shapes", crop="random", flip=True)
    one, two, other = (Pictures(dataset, varied, 24, seed=s, crop_size=8) for s in (1, 1, 2))
    ahead = [one[(k, k % 10)]["image"] for k in range(200)]
    back = [two[(k, k % 10)]["image"] for k in reversed(range(200))][::-1]
    assert all(map(torch.equal, ahead, back))
    assert not all(torch.equal(ahead[k], other[(k, k % 10)]["image"]) for k in range(20))


def test_random_crops_and_flips_reach_every_place_equally_often(dataset, config):
    pictures = Pictures(dataset, config("shapes", crop="random", flip=True), 24, seed=0)
    corners, flipped = [], 0
    for k in range(3400):
        x = pictures[(k, 0)]["image"][0, 0].tolist()
        corners.append(min(x))
        flipped += x[0] > x[1]
        assert sorted(x) == list(range(min(x), min(x) + 24))
    counts = np.bincount(corners, minlength=17)
    assert len(counts) == 17 and counts.min() > 140 and counts.max() < 260
    assert abs(flipped / 3400 - 0.5) < 0.04


def test_small_crops_stay_in_the_middle_square_of_a_center_crop(dataset, config):
    pictures = Pictures(dataset, config("shapes"), 24, seed=0, crop_size=8)
    x, y = zip(*(pictures[(k, 0)]["image"][:2, 0, 0].tolist() for k in range(800)), strict=True)
    assert (min(x), max(x)) == (8, 24) and (min(y), max(y)) == (0, 16)


def test_memory_is_bounded_and_changes_nothing(dataset, config):
    none = Pictures(dataset, config("shapes", memory_mb=0), 24, seed=0)
    some = Pictures(dataset, config("shapes", memory_mb=1), 300, seed=0)
    all_ = Pictures(dataset, config("shapes"), 24, seed=0)
    for row in list(range(10)) * 2:
        assert torch.equal(none[(0, row)]["image"], all_[(0, row)]["image"])
        some[(0, row)]
    kept = sum(pixels.nbytes for pixels in some.remembered.values())
    assert not none.remembered and len(all_.remembered) == 10 and 0 < kept <= 2**20


def test_a_crop_larger_than_the_picture_is_refused(dataset, config):
    with pytest.raises(ValueError, match="crop_size=64 is more than resolution=32"):
        Pictures(dataset, config("shapes"), 32, seed=0, crop_size=64)
