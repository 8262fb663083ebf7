"""The chain from prompts to pictures, with parts that cost nothing."""

import weakref

import pytest
import torch
from cards import of_pixels as card

from dmtool import codecs
from dmtool.chain.pipeline import Pipeline
from dmtool.chain.request import Request
from dmtool.codecs.pixels import Pixels
from dmtool.config.compose import composed
from dmtool.config.using import SampleConfig
from dmtool.config.validation import validate
from dmtool.diffusion.denoise import Denoiser
from dmtool.diffusion.noise import schedule
from dmtool.errors import UserError
from dmtool.generators.diffusion import Diffusion
from dmtool.text.encoder import NoTextEncoder

CPU = torch.device("cpu")


class Latents(Pixels):
    """Whitened latents, which happen to be their pictures' size."""

    space_id = "of some autoencoder"


def chain(*words, network=lambda x, level, cond: x.tanh(), prediction="flow", codec=None):
    config = validate(
        composed("sample", ["sampler.steps=2", "guidance.scale=1", *words]), SampleConfig
    )
    codec = codec or codecs.load(None, CPU)
    generator = Diffusion(
        name="tiny",
        card=card(4) | {"space_id": codec.space_id},
        denoiser=Denoiser(network, schedule("flow"), prediction, "flow_time"),
        text=NoTextEncoder(),
        sampler=config.sampler,
        guidance=config.guidance,
        device=CPU,
    )
    return Pipeline(
        generator=generator,
        codec=codec,
        upsampler=None,
        device=CPU,
        dtype=torch.float32,
        batch_size=4,
    )


def test_pictures_are_made_as_they_are_taken_and_none_is_kept():
    pipeline = chain()
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


@pytest.mark.parametrize(
    ("words", "codec", "kind"),
    [
        ((), None, "static"),
        (("sampler/threshold=dynamic",), None, "dynamic"),
        (("sampler/threshold=none",), None, "none"),
        ((), Latents(), "none"),
    ],
)
def test_estimates_of_pictures_are_thresholded_and_those_of_latents_are_not(words, codec, kind):
    loud = chain(*words, network=lambda x, level, cond: 4 * x, prediction="x0", codec=codec)
    assert loud.settings()["sampler"]["threshold"]["kind"] == kind
    _, first, last = loud.steps([Request("", (0, 0))])
    assert (max(first.x_0.abs().max(), last.x_0.abs().max()) <= 1) == (kind != "none")
    assert len(list(loud.pictures([Request("", (0, 0))]))) == 1


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_a_threshold_of_latents_is_refused(kind):
    with pytest.raises(UserError, match=f"threshold={kind} is for pictures"):
        chain(f"sampler/threshold={kind}", codec=Latents())
