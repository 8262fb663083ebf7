"""Back to the last good checkpoint, and past what was not finite."""

from __future__ import annotations

from pathlib import Path

import torch

from dmtool.errors import UserError
from dmtool.files.tensors import write_tensors
from dmtool.train import snapshots
from dmtool.train.context import Context
from dmtool.train.occasions import Occasions
from dmtool.train.progress import Progress


class Recovery:
    """After repeated steps that were not finite."""

    def __init__(self, context: Context, occasions: Occasions) -> None:
        self.context, self.occasions = context, occasions

    def needed(self) -> bool:
        """Whether there were too many, alike on all processes: they share their gradients."""
        return self.context.progress.strikes >= self.context.config.recovery.after

    def roll_back(self) -> None:
        """Take up the last checkpoint before them, and go on with the pictures after them.

        Saves the offending batch; UserError if the run has gone back too often already.
        """
        context, progress = self.context, self.context.progress
        self.occasions.written()
        offending = context.group.on_main(self._save_offending)
        found = (
            f"{progress.strikes} steps were not finite, the last one from picture "
            f"{progress.offender:,} on; its batch is in {offending}"
        )
        if progress.rollbacks == context.config.recovery.rollbacks:
            raise UserError(
                f"{found}. The run has gone back {progress.rollbacks} times already, as "
                "recovery.rollbacks allows: look at these pictures, then begin another run= with "
                f"a lower optim.lr or dtype=fp32; init={context.config.run} takes the weights over"
            )
        source = self._restore()
        progress.rollbacks += 1
        progress.strikes, progress.good = 0, None
        rate = context.config.recovery.lr_factor**progress.rollbacks
        context.log.say(
            f"{found}. Going on from {progress.pictures:,} pictures with {source} and "
            f"{rate:g} times the learning rate"
        )
        self.occasions.save("default")

    def _restore(self) -> str:
        """Everything of the checkpoint but how far the run is."""
        context, progress = self.context, self.context.progress
        here, good = Progress(**vars(progress)), progress.good
        if good is None:
            return "the weights as they are (there is no earlier checkpoint)"
        context.state.load(context.folder / "checkpoints" / f"{good:012d}")
        vars(progress).update(vars(here))
        if context.accelerator.is_main_process:
            snapshots.forget_after(context.folder / "snapshots", good)
        return f"the weights of {good:,}"

    def _save_offending(self) -> Path:
        """The global batch, drawn again: it follows from its first picture's number."""
        config, start = self.context.config, self.context.progress.offender
        assert start is not None
        feed, numbers = self.context.stage.feed, range(start, start + config.batch_size)
        file = self.context.folder / "offending" / f"{start:012d}.safetensors"
        file.parent.mkdir(exist_ok=True)
        rows = torch.tensor([row for _, row in feed.places(numbers)])
        write_tensors(file, {"row": rows, **feed.batch(numbers).tensors()})
        return file
