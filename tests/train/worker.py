"""`torchrun worker.py JOB ROOT OVERRIDES`: trainings on several processes, for their tests."""

import sys
from pathlib import Path

import tiny
import torch
import toy

from dmtool import processes

MUON = ["optim=muon", "optim.matrices=all"]
CRITIC = ["adversarial=patch", "adversarial.widths=[8,16]", "adversarial.groups=4",
          "adversarial.learns_at=32", "adversarial.counts_at=64",
          "adversarial.adaptive=true"]  # fmt: skip
STEPS = ["batch_size=16", "limit.pictures=320", "every.log=16"]


def proof(group, root, *overrides):
    """All three stages in double and single precision."""
    for dtype in ("fp64", "fp32"):
        for stage in tiny.STAGE:
            words = [*STEPS, f"dtype={dtype}", *overrides]
            tiny.trainer(stage, root / dtype, *words, group=group).run()


def shards(group, root, *words):
    """A noise predictor in shards, saved at half the way."""
    words = ["parallel=fsdp2", "dtype=fp64", "every.checkpoint=160", *MUON, *words]
    tiny.trainer("unet", root, *STEPS, *words, group=group).run()


def learned(group, root, *words):
    """A noise predictor with a learned variance, and the uncertainty beside it."""
    words = ["noise=cosine", "noise/variance=learned", "noise/weighting=learned", *words]
    tiny.trainer("unet", root, *STEPS, "dtype=fp64", *words, group=group).run()


def book(group, root, *words):
    """An autoencoder with a book of codes, some of which begin anew, and a critic."""
    words = ["vae=vq", "vae.latent_channels=4", "vae.codes=64", "vae.decay=0.5", *CRITIC, *words]
    tiny.trainer("vae", root, *STEPS, "dtype=fp64", *words, group=group).run()


def faults(group, root, *words):
    """Picture 30 is bad; memory suffices for two pictures in process 1, for all in the others."""
    trainer = tiny.trainer("vae", root, *STEPS, "dtype=fp64", *words, group=group)
    trainer.stage.feed = tiny.Poisoned(trainer.stage.feed, 30, 31)
    losses, rank = trainer.stage.losses, trainer.context.accelerator.process_index

    def full(player, models, batch):
        if rank == 1 and len(batch.image) > 2:
            raise torch.OutOfMemoryError
        return losses(player, models, batch)

    trainer.stage.losses = full
    trainer.run()
    assert (trainer.progress.skipped, trainer.progress.offender) == (1, 16), rank
    assert trainer.step.parts == (1 if trainer.context.accelerator.num_processes == 1 else 4), rank


def players(group, root, *words):
    """Two players, cut in no way."""
    toy.trainer(root, "limit.pictures=640", "every.checkpoint=320", *words, group=group).run()


JOBS = {
    "book": book,
    "players": players,
    "proof": proof,
    "shards": shards,
    "learned": learned,
    "faults": faults,
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    job, root, *words = sys.argv[1:]
    with processes.started(torch.device("cpu"), 600) as group:
        JOBS[job](group, Path(root), *words)
