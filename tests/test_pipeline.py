"""The chain from prompts to pictures, with parts that cost nothing."""

import weakref

import torch

from dmtool import latents
from dmtool.config import validate
from dmtool.denoise import Denoiser
from dmtool.hydra_main import composed
from dmtool.noise import schedule
from dmtool.pipeline import Pipeline
from dmtool.request import Request
from dmtool.schemas import Sample
from dmtool.text.encoder import NoText

CPU = torch.device("cpu")


def test_pictures_are_made_as_they_are_taken_and_none_is_kept():
    config = validate(composed("sample", ["sampler.steps=2", "guidance.scale=1"]), Sample)
    pipeline = Pipeline(
        card={"latent": {"channels": 3, "size": 4}},
        denoiser=Denoiser(lambda x, level, cond: x.tanh(), schedule("flow"), "flow", "flow_time"),
        text=NoText(),
        codec=latents.load(None, CPU),
        upsampler=None,
        sampler=config.sampler,
        guidance=config.guidance,
        device=CPU,
        dtype=torch.float32,
        batch_size=4,
    )
    asked, alive = [], weakref.WeakSet()

    def requests():
        for i in range(40):
            asked.append(i)
            yield Request("", (0, i))

    most = 0
    for number, picture in enumerate(pipeline.pictures(requests())):
        alive.add(picture.pixels)
        del picture
        most = max(most, len(alive))
        assert len(asked) <= number + 4
    assert len(asked) == 40 and most <= 4
