"""Where `reconstruct` and `upscale` put what they make: nothing is lost that was made before."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from dmtool.chain import one_stage
from dmtool.errors import UserError


def test_pictures_of_one_name_and_of_earlier_calls_keep_their_places(tmp_path):
    config, files = SimpleNamespace(run="r", root=str(tmp_path)), []
    for name, colour in (("a/x.png", "red"), ("b/x.png", "blue"), ("a/x.jpg", "green")):
        files.append(tmp_path / name)
        files[-1].parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), colour).save(files[-1])

    def call(*files):
        places = one_stage._places(files, "x2", config, None)
        said = [
            one_stage._save(torch.full((3, 2, 2), i, dtype=torch.uint8), file, place)
            for i, (file, place) in enumerate(zip(files, places, strict=True))
        ]
        return [place.path.name for place in places], [line.endswith("(again)") for line in said]

    assert call(*files) == (["x-x2.png", "x-2-x2.png", "x-3-x2.png"], [False] * 3)
    assert call(files[1]) == (["x-2-x2.png"], [True]), "it takes the place of its own"
    assert call(files[2], files[0], files[0]) == (
        ["x-3-x2.png", "x-x2.png", "x-4-x2.png"],
        [True, True, False],
    )
    Image.new("RGB", (4, 4)).save(tmp_path / "r/x2/y-x2.png")
    files[0].rename(tmp_path / "y.png")
    assert call(tmp_path / "y.png") == (["y-2-x2.png"], [False]), "what is not ours stays"
    with pytest.raises(UserError, match="there is no such picture"):
        call(tmp_path / "z.png")
