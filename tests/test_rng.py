import torch

from dmtool.rng import generator


def draw(*key):
    return torch.rand(4, generator=generator(*key)).tolist()


def test_equal_keys_draw_equal_numbers_and_no_two_others_do():
    keys = [
        (0,),
        (1,),
        ("0",),
        (0, 1),
        (1, 0),
        (0, "crop", 1),
        ("a", "b"),
        ("a,b",),
        (2**70,),
        (-1,),
    ]
    draws = [tuple(draw(*key)) for key in keys]
    assert [tuple(draw(*key)) for key in keys] == draws and len(set(draws)) == len(keys)


def test_neighbouring_keys_are_uncorrelated():
    numbers = torch.tensor([draw(0, k)[0] for k in range(2000)])
    assert abs(numbers.mean() - 0.5) < 0.03
    assert abs(torch.corrcoef(torch.stack([numbers[:-1], numbers[1:]]))[0, 1]) < 0.07
