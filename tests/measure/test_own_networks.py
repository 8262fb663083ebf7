"""Networks by path: their names, and their features against transformers and Pillow by hand."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from dmtool.config.extractors import (
    ClipExtractor,
    DinoExtractor,
    TorchScriptExtractor,
    TransformersExtractor,
)
from dmtool.errors import UserError
from dmtool.measure.features.extractors import dino, load

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
IMAGES = torch.from_numpy(PIXELS).permute(2, 0, 1)[None]
OWN = {
    "resize": "bicubic",
    "fit": "squash",
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.25, 0.5),
}
VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14}


def saved(model, folder):
    torch.manual_seed(0)
    model = model.eval()
    model.save_pretrained(folder)
    return model, hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def normalised(image, mean, std):
    values = torch.from_numpy(np.asarray(image) / np.float32(255)).permute(2, 0, 1)
    return ((values - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1))[None]


@torch.inference_mode()
def test_dinov2_is_the_class_token_of_pillows_squashed_picture(tmp_path):
    config = transformers.Dinov2Config(**VIT, image_size=224)
    model, sha256 = saved(transformers.Dinov2Model(config), tmp_path)
    extractor = load(DinoExtractor(kind="dinov2", weights=str(tmp_path)), "cpu")
    assert (extractor.name, extractor.dim) == ("FD-DINOv2-32x2/14", 32)
    large = transformers.Dinov2Config(hidden_size=1024, num_hidden_layers=24, patch_size=14)
    assert dino.named(large, "") == "FD-DINOv2"
    assert extractor.sha256 == sha256
    square = Image.fromarray(PIXELS).resize((224, 224), Image.Resampling.BICUBIC)
    inputs = normalised(square, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    expected = model(pixel_values=inputs).pooler_output
    torch.testing.assert_close(extractor(IMAGES), expected, rtol=1e-3, atol=1e-4)


@torch.inference_mode()
def test_clip_is_its_own_processors_picture_and_its_projection(tmp_path):
    vision = transformers.CLIPVisionConfig(
        **(VIT | {"patch_size": 16}), image_size=32, intermediate_size=64, projection_dim=24
    )
    model, _ = saved(transformers.CLIPVisionModelWithProjection(vision), tmp_path)
    extractor = load(ClipExtractor(kind="clip", weights=str(tmp_path)), "cpu")
    assert (extractor.name, extractor.dim) == ("FD-CLIP-ViT-32x2/16@32", 24)
    wide = Image.fromarray(PIXELS).resize((48, 32), Image.Resampling.BICUBIC)  # shorter side 32
    inputs = normalised(
        wide.crop((8, 0, 40, 32)),
        [0.48145466, 0.4578275, 0.40821073],
        [0.26862954, 0.26130258, 0.27577711],
    )
    expected = model(pixel_values=inputs).image_embeds
    torch.testing.assert_close(extractor(IMAGES), expected, rtol=1e-3, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("layer", ["pooled", "cls", "mean"])
def test_any_vision_model_of_transformers(tmp_path, layer):
    config = transformers.ViTConfig(**(VIT | {"patch_size": 16}), image_size=32)
    model, sha256 = saved(transformers.ViTModel(config), tmp_path)
    extractor = load(
        TransformersExtractor(
            kind="transformers", weights=str(tmp_path), size=32, layer=layer, **OWN
        ),
        "cpu",
    )
    assert extractor.name == f"FD-domain-{sha256[:8]}@32"
    out = model(pixel_values=extractor.inputs(IMAGES))
    tokens = out.last_hidden_state
    expected = {"pooled": out.pooler_output, "cls": tokens[:, 0], "mean": tokens.mean(1)}[layer]
    torch.testing.assert_close(extractor(IMAGES), expected, rtol=1e-3, atol=1e-5)


def script(path, forward):
    class Network(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return forward(x)

    torch.jit.trace(Network(), torch.zeros(1, 3, 20, 20)).save(path)
    return TorchScriptExtractor(kind="torchscript", weights=str(path), size=20, **OWN)


def test_any_torchscript_with_its_options_in_name_and_protocol(tmp_path):
    config = script(tmp_path / "n.pt", lambda x: x.flatten(1))
    extractor = load(config, "cpu")
    sha256 = hashlib.sha256((tmp_path / "n.pt").read_bytes()).hexdigest()
    assert (extractor.name, extractor.dim) == (f"FD-domain-{sha256[:8]}@20", 1200)
    red, green, blue = (
        np.asarray(Image.fromarray(channel).resize((20, 20), 3)).clip(0, 255)
        for channel in PIXELS.transpose(2, 0, 1).astype(np.float32)
    )
    expected = np.stack([red / 127.5 - 1, (green / 255 - 0.5) / 0.25, blue / 127.5 - 1]).ravel()
    np.testing.assert_allclose(extractor(IMAGES)[0], expected, rtol=1e-4, atol=1e-4)
    protocol = str(extractor.protocol)
    assert "20x20, bicubic" in protocol and "[127.5, 63.75, 127.5]" in protocol


def test_networks_that_do_not_fit_are_refused_with_a_reason(tmp_path):
    def refused(config, reason):
        with pytest.raises(UserError, match=reason):
            load(config, "cpu")

    good = script(tmp_path / "n.pt", lambda x: x.reshape(1, 1200)[:, :3])
    refused(replace(good, size=21), "takes no pictures of 21x21")
    refused(script(tmp_path / "map.pt", lambda x: x * 2), r"makes \[1, 3, 20, 20\] of a picture")
    (tmp_path / "bad.pt").write_bytes(b"no script")
    refused(replace(good, weights=str(tmp_path / "bad.pt")), "is no TorchScript")
    refused(replace(good, weights="x.pt"), "no such file")
    refused(DinoExtractor(kind="dinov2", weights=str(tmp_path / "n.pt")), "takes no|ViT-L/14")
    vit = str(tmp_path / "vit")
    saved(transformers.ViTModel(transformers.ViTConfig(**VIT)), tmp_path / "vit")
    refused(DinoExtractor(kind="dinov2", weights=vit), "not dinov2; take extractor=transformers")
    refused(ClipExtractor(kind="clip", weights=vit), "vit")
    refused(DinoExtractor(kind="dinov2", weights="no/where"), "'no/where'.*hf download no/where")
