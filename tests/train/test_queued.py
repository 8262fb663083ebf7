"""What a training does on a GPU, done on the CPU: the branches of devices that queue their work."""

import pytest
import tiny
import torch
from test_step import poisoned

from dmtool import device
from dmtool.look.plan import memory
from dmtool.train import loop, state, step
from dmtool.train.optim import gate


class Event:
    """Takes torch.Event's place, which there is for accelerators alone."""

    waited = 0

    def __init__(self, device):
        self.recorded = False

    def record(self):
        self.recorded = True

    def synchronize(self):
        assert self.recorded
        Event.waited += 1


@pytest.fixture
def queued(monkeypatch):
    """The CPU passes for a device that queues its work and wants page-locked memory; the calls of
    what only an accelerator has are counted."""
    counts = {"synchronize": 0, "empty_cache": 0, "pinned": 0}

    def counted(name):
        def call(*_):
            counts[name] += 1

        return call

    def unpinned(make):
        def call(*args, pin_memory=False, **options):
            counts["pinned"] += pin_memory
            return make(*args, **options)

        return call

    for module in (device, memory, state, gate, loop, step):
        for name in ("asynchronous", "locks_pages"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, lambda device: True)
    for name in ("synchronize", "empty_cache"):
        monkeypatch.setattr(torch.accelerator, name, counted(name))
    for name in ("empty", "empty_like"):
        monkeypatch.setattr(torch, name, unpinned(getattr(torch, name)))
    monkeypatch.setattr(torch, "Event", Event)
    monkeypatch.setattr(Event, "waited", 0)
    return counts


def content(trainer):
    """All weights, averages and the optimizers' state."""
    learner = trainer.context.state.main
    states = [optimizer.state_dict()["state"] for optimizer in learner.optimizers]
    return [learner.network.state_dict(), learner.ema.state(), *states]


@pytest.mark.filterwarnings("ignore:.*pin_memory")
@pytest.mark.parametrize(
    ("words", "bad"),
    [
        ("optim=muon optim.matrices=all optim.schedule=constant", (24, 32)),
        ("optim=adamw optim.schedule=constant dtype=fp16", (24, 32)),
        ("optim=schedule_free", (0, 0)),  # its counters go on over a step that is taken back
    ],
)
def test_a_training_on_it_is_that_of_the_cpu_to_the_bit(tmp_path, request, words, bad):
    """A step that is not finite among them, and a resume from a checkpoint."""

    def trained(root, limit):
        words_ = [*words.split(), f"limit.pictures={limit}"]
        trainer = tiny.trainer("vae", tmp_path / root, *words_)
        trainer.stage.feed = tiny.Poisoned(trainer.stage.feed, *bad)
        trainer.run()
        return trainer

    plain = trained("plain", 64)
    counts = request.getfixturevalue("queued")
    trained("queued", 40)
    found = trained("queued", 64)
    assert found.context.resumed
    torch.testing.assert_close(content(found), content(plain), rtol=0, atol=0)
    assert found.progress.skipped == plain.progress.skipped == bool(bad[1])
    assert Event.waited == 8 and counts["pinned"] > 8 and counts["synchronize"] == 2


@pytest.mark.filterwarnings("ignore:.*pin_memory")
def test_memory_that_ran_out_is_given_back_before_the_next_try(tmp_path, queued):
    trainer = poisoned(tmp_path, 0, 0, "limit.pictures=16")
    losses = trainer.stage.losses

    def full(player, models, batch):
        if len(batch.image) > 4:
            raise torch.OutOfMemoryError
        return losses(player, models, batch)

    trainer.stage.losses = full
    trainer.run()
    assert queued["empty_cache"] == 1 and trainer.step.parts == 2
