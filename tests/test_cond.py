"""The condition of a batch: moved, picked, repeated, joined."""

import pytest
import torch

from dmtool.cond import Cond


def _cond(batch: int, length: int, **extras) -> Cond:
    return Cond(
        states=torch.randn(batch, length, 4),
        mask=torch.arange(length) < torch.randint(1, length + 1, (batch, 1)),
        pooled=torch.randn(batch, 3),
        extras=extras,
    )


def test_to_casts_floating_tensors_only():
    cond = _cond(2, 3, level=torch.rand(2), ids=torch.arange(2)).to("cpu", torch.float64)
    assert cond.states.dtype == cond.pooled.dtype == cond.extras["level"].dtype == torch.float64
    assert cond.mask.dtype == torch.bool and cond.extras["ids"].dtype == torch.int64
    assert (
        Cond(torch.ones(1, 2, dtype=torch.int64)).to("cpu", torch.half).states.dtype == torch.int64
    )


def test_cat_pads_to_the_longest_and_rows_gives_the_parts_back():
    a, b = _cond(2, 3, level=torch.rand(2)), _cond(1, 5, level=torch.rand(1))
    both = Cond.cat([a, b])
    assert both.batch == 3 and both.states.shape == (3, 5, 4)
    assert not both.mask[:2, 3:].any() and not both.states[:2, 3:].any()
    for part, rows in ((a, [0, 1]), (b, torch.tensor([2]))):
        back, length = both.rows(rows), part.states.shape[1]
        assert torch.equal(back.states[:, :length], part.states)
        assert torch.equal(back.mask[:, :length], part.mask)
        assert torch.equal(back.pooled, part.pooled)
        assert torch.equal(back.extras["level"], part.extras["level"])


def test_cat_makes_the_masks_that_padding_needs():
    ids = [Cond(torch.ones(1, n, dtype=torch.int64)) for n in (2, 4)]
    assert Cond.cat(ids).mask.tolist() == [[True, True, False, False], [True] * 4]
    assert Cond.cat([ids[0], ids[0]]).mask is None


def test_cat_refuses_what_only_some_have():
    with pytest.raises(ValueError, match="'level'"):
        Cond.cat([_cond(1, 2, level=torch.rand(1)), _cond(1, 2)])
    with pytest.raises(ValueError, match="'states'"):
        Cond.cat([_cond(1, 2), Cond()])


def test_rows_and_repeat_take_every_kind_of_index():
    cond = _cond(3, 2, level=torch.arange(3))
    assert cond.rows(slice(1, None)).extras["level"].tolist() == [1, 2]
    assert cond.rows(torch.tensor([True, False, True])).extras["level"].tolist() == [0, 2]
    assert cond.rows([]).batch == 0
    assert cond.repeat_interleave(2).extras["level"].tolist() == [0, 0, 1, 1, 2, 2]


def test_extras_are_added_to_a_copy():
    cond = _cond(2, 2, a=torch.zeros(2))
    more = cond.with_extras(b=torch.ones(2))
    assert set(cond.extras) == {"a"} and set(more.extras) == {"a", "b"}


def test_an_unconditional_model_has_an_empty_condition():
    assert Cond().batch == 0
    assert Cond.cat([Cond(), Cond()]).states is None
    assert Cond().with_extras(level=torch.rand(5)).batch == 5
