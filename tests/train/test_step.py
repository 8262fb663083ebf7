"""Steps that are not finite leave no trace, and memory that runs out changes only the parts."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest
import tiny
import torch
from safetensors.torch import load_file
from torch import nn

from dmtool.errors import UserError
from dmtool.train.optim import gate
from dmtool.train.stages import process
from dmtool.train.step import more


def poisoned(root, first, last, *words):
    trainer = tiny.trainer("vae", root, "optim.schedule=constant", *words)
    trainer.stage.feed = tiny.Poisoned(trainer.stage.feed, first, last)
    return trainer


def content(trainer):
    """All weights, averages and the optimizers' state."""
    learner = trainer.context.state.main
    optimizers = [tensor for each in learner.optimizers for tensor in gate._tensors(each)]
    return [*learner.network.state_dict().values(), *learner.ema.state().values(), *optimizers]


def same(trainer, other):
    a, b = content(trainer), content(other)
    return len(a) == len(b) and all(map(torch.equal, a, b))


@pytest.mark.parametrize(
    ("dtype", "optim"), [("fp32", "muon optim.matrices=all"), ("fp16", "adamw")]
)
def test_a_batch_with_nan_is_skipped_without_a_trace(tmp_path, dtype, optim):
    words = [f"dtype={dtype}", *f"optim={optim}".split()]
    before = poisoned(tmp_path / "before", 0, 0, "limit.pictures=24", *words)
    after = poisoned(tmp_path / "after", 27, 28, "limit.pictures=32", *words)
    before.run(), after.run()
    assert same(before, after)
    assert (after.progress.skipped, after.progress.strikes, after.progress.offender) == (1, 1, 24)
    lines = [json.loads(line) for line in (tmp_path / "after/vae/metrics.jsonl").open()]
    skipped = [line["skipped"] for line in lines if "skipped" in line]
    assert skipped == [0, 0, 0, 1] and "loss" not in lines[3] and "loss" in lines[2]


@pytest.mark.parametrize("addend", [lambda loss: (loss * 0).sqrt(), lambda loss: torch.nan])
def test_either_loss_or_gradient_alone_is_enough_to_skip(tmp_path, addend):
    """A finite loss of infinite slope, and a loss that is NaN by a constant."""
    before = poisoned(tmp_path / "before", 0, 0, "limit.pictures=8")
    after = poisoned(tmp_path / "after", 0, 0, "limit.pictures=16")
    losses = after.stage.losses

    def spoiled(player, models, batch):
        found = losses(player, models, batch)
        if after.progress.pictures == 8:
            return replace(found, loss=found.loss + addend(found.loss))
        return found

    after.stage.losses = spoiled
    before.run(), after.run()
    assert same(before, after) and after.progress.skipped == 1


@pytest.mark.parametrize("kind", ["fused", "plain"])
def test_a_conditional_step_on_the_device_is_made_or_leaves_no_trace(kind):
    """What a GPU would do, done on the CPU: the other way to be sure is to ask it, and wait."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizers = {"fused": torch.optim.AdamW(model.parameters(), fused=True),
                  "plain": torch.optim.SGD(model.parameters(), momentum=0.9)}  # fmt: skip
    optimizer = optimizers[kind]
    step = gate.step_if if kind == "fused" else gate._step_or_restore
    for finite in (True, False, True, False):
        optimizer.zero_grad()
        (model(torch.ones(3)).sum() * (1 if finite else torch.nan)).backward()
        before = deepcopy([tensor.detach() for tensor in gate._tensors(optimizer)])
        step(torch.tensor(finite), optimizer)
        after = gate._tensors(optimizer)[: len(before)]
        assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [
            not finite
        ] * len(before)


def test_after_repeated_ones_the_run_goes_back_and_on_past_them(tmp_path):
    """Against a run of the same 32 pictures that is put to picture 56 by hand."""
    words = [
        "every.checkpoint=16",
        "recovery.after=2",
        "recovery.lr_factor=0.25",
        "optim=muon",
        "optim.matrices=all",
    ]
    bad = (40, 56)
    back = poisoned(tmp_path / "back", *bad, "limit.pictures=72", *words)
    back.run()
    assert (back.progress.skipped, back.progress.strikes, back.progress.rollbacks) == (2, 0, 1)
    batch = load_file(tmp_path / "back/vae/offending/000000000048.safetensors")
    assert batch["image"].shape == (8, 3, 16, 16) and batch["noise"].isnan().all()
    assert batch["row"].tolist() == [row for _, row in _places(back, range(48, 56))]

    poisoned(tmp_path / "by hand", *bad, "limit.pictures=32", *words).run()
    by_hand = poisoned(tmp_path / "by hand", *bad, "limit.pictures=72", *words)
    by_hand.progress.pictures, by_hand.progress.rollbacks = 56, 1
    by_hand.run()
    assert same(back, by_hand)
    rates = [json.loads(line).get("lr") for line in (tmp_path / "back/vae/metrics.jsonl").open()]
    assert rates[0] == 4 * rates[-2]

    for limit in (48, 64, 72):  # stopped between the two bad steps, and after having gone back
        stopped = poisoned(tmp_path / "stopped", *bad, f"limit.pictures={limit}", *words)
        stopped.run()
    assert same(back, stopped)


def _places(trainer, numbers):
    return trainer.stage.feed.places(numbers)


def test_it_stops_with_a_report_when_it_has_gone_back_too_often(tmp_path):
    words = ["recovery.after=2", "recovery.rollbacks=3", "limit.pictures=400"]
    trainer = poisoned(tmp_path, 16, 400, *words, "every.checkpoint=8")
    with pytest.raises(UserError, match=r"from picture 72 .*offending/000000000072.*back 3 times"):
        trainer.run()
    assert trainer.progress.rollbacks == 3 and trainer.progress.skipped == 8
    assert all(tensor.isfinite().all() for tensor in content(trainer))


@pytest.mark.parametrize("moment", [0, 16])
def test_out_of_memory_makes_smaller_parts_and_changes_nothing_else(tmp_path, moment, capsys):
    """Parts of four fit: from the first step on it is the training of accumulation=2."""
    whole = tiny.trainer("vae", tmp_path / "a", "limit.pictures=24", "accumulation=2")
    short = tiny.trainer("vae", tmp_path / "b", "limit.pictures=24")
    losses, sizes = short.stage.losses, []

    def full(player, models, batch):
        sizes.append(len(batch.image))
        if short.progress.pictures >= moment and len(batch.image) > 4:
            raise torch.OutOfMemoryError
        return losses(player, models, batch)

    short.stage.losses = full
    whole.run(), short.run()
    assert sizes == ([8, 4, 4, 4, 4, 4, 4] if moment == 0 else [8, 8, 8, 4, 4])
    assert "8 pictures of a step in 2 parts" in "".join(capsys.readouterr())
    if moment == 0:
        assert same(whole, short)
    for a, b in zip(content(whole), content(short), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_memory_that_does_not_suffice_for_one_picture_is_said(tmp_path):
    trainer = tiny.trainer("vae", tmp_path, "limit.pictures=24")

    def full(player, models, batch):
        raise torch.OutOfMemoryError

    trainer.stage.losses = full
    with pytest.raises(UserError, match="one picture at a time"):
        trainer.run()


def test_parts_are_equal_and_at_least_twice_as_many():
    assert [more(n, 12) for n in (1, 2, 3, 4, 6, 12)] == [2, 4, 6, 12, 12, None]
    assert [more(1, size) for size in (1, 2, 9, 35)] == [None, 2, 3, 5]


def test_losses_by_level_are_those_at_times_of_each_quarter():
    t = torch.tensor([0.1, 0.3, 0.24, 0.99], dtype=torch.float64)
    found = process.by_level(torch.tensor([1.0, 2.0, 3.0, 4.0]), t)
    means = {name: each.nanmean().item() for name, each in found.items()}
    assert means["loss_t1"] == 2 and means["loss_t2"] == 2 and means["loss_t4"] == 4
    assert found["loss_t3"].isnan().all() and found["loss_t1"].isnan().sum() == 2


def test_the_first_step_moves_weights_and_the_warm_up_is_over_when_it_is_said_to_be(tmp_path):
    """At the rates of 8, 16, ... pictures of a warm-up of 32, also after a resume."""
    words = ["optim.schedule=constant", "optim.warmup=32", "optim.lr=0.1"]
    trainer = tiny.trainer("vae", tmp_path, *words, "limit.pictures=8")
    before = [weight.detach().clone() for weight in trainer.step.turns[0].parameters]
    trainer.run()
    pairs = zip(before, trainer.step.turns[0].parameters, strict=True)
    assert sum(not torch.equal(old, new) for old, new in pairs) > len(before) / 2
    tiny.trainer("vae", tmp_path, *words, "limit.pictures=48").run()
    lines = [json.loads(line) for line in (tmp_path / "vae/metrics.jsonl").open()]
    rates = [line["lr"] for line in lines if "lr" in line]
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])
