"""Tiny trainings of the three stages, in this process."""

import torch
from accelerate import Accelerator

from dmtool.config import compose
from dmtool.config.stages import STAGES
from dmtool.config.validation import validate
from dmtool.processes import ALONE
from dmtool.train import loop
from dmtool.train.stages.kinds import KINDS

COMMON = [
    "data=shapes", "data.count=40", "data.size=16", "resolution=16", "limit.minutes=null",
    "batch_size=8", "every.log=8", "optim.warmup=0", "held_out=2", "dtype=fp32",
]  # fmt: skip
STAGE = {
    "vae": ["vae.widths=[16]", "vae.groups=8"],
    "unet": ["codec=pixels", "text=scratch", "text.width=32", "text.depth=1", "text.max_length=64",
             "unet.widths=[32]", "unet.patch=2", "unet.groups=8", "unet.heads=2",
             "unet.text_width=null", "sampler.steps=1", "preview.prompts=[a]"],
    "upsampler": ["upsampler.widths=[16]", "upsampler.blocks=[1]", "upsampler.depths=[0]",
                  "upsampler.groups=8", "sampler.steps=1"],
}  # fmt: skip


def trainer(stage, root, *words, group=ALONE):
    """A trainer that begins in `root/STAGE`, or goes on there."""
    config = compose.composed(f"train_{stage}", [*COMMON, *STAGE[stage], *words])
    checked = validate(config, STAGES[stage])
    accelerator = Accelerator(cpu=True)
    torch.manual_seed(checked.seed)
    (root / stage).mkdir(parents=True, exist_ok=True)
    built = KINDS[type(checked)].build(checked, accelerator.device)
    return loop.trainer(built, checked, root / stage, accelerator, group)


class Poisoned:
    """A feed whose noise is NaN for pictures `first` up to `last` of the run."""

    def __init__(self, feed, first, last):
        self.feed, self.bad = feed, range(first, last)
        self.places = feed.places

    def batch(self, numbers):
        batch = self.feed.batch(numbers)
        batch.noise[[k in self.bad for k in numbers]] = torch.nan
        return batch
