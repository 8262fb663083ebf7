"""The CLIP score against transformers' own CLIP, on real files."""

import json

import numpy as np
import pytest
import torch
import transformers
from PIL import Image, PngImagePlugin
from tokenizers import pre_tokenizers
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from dmtool.errors import UserError
from dmtool.measure.alignment import clip, clip_score
from dmtool.measure.captioned_folder import captioned, read_picture

LONG = "red " * 40 + "circle"
CAPTIONS = ["a red circle", "größe", LONG, "re d", "blue"]
PREPARATION = {
    "crop_size": {"height": 24, "width": 24},
    "image_mean": [0.48, 0.46, 0.41],
    "image_std": [0.27, 0.26, 0.28],
    "resample": 3,
    "size": {"shortest_edge": 28},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny random CLIP model as transformers saves it, of 16 tokens, crops smaller than sizes."""
    folder = tmp_path_factory.mktemp("models") / "tiny-clip"
    folder.mkdir()
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), "re", "red</w>"]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    ids = {token: i for i, token in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4}
    special = {"bos_token_id": len(ids) - 2, "eos_token_id": len(ids) - 1}
    text = {"vocab_size": len(ids), "max_position_embeddings": 16, **special, **sizes}
    vision = {"image_size": 24, "patch_size": 8, **sizes}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    torch.manual_seed(0)
    network = CLIPModel(config)
    for name, parameter in network.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, std=0.3)
    network.save_pretrained(folder)
    processor(**PREPARATION).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Files of several sizes and modes with their captions in metadata.jsonl."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    shapes = [(40, 61, 3), (28, 28, 3), (90, 33, 3), (31, 31, 4), (24, 50, 3)]
    lines = []
    for i, (shape, caption) in enumerate(zip(shapes, CAPTIONS, strict=True)):
        pixels = random.integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels).resize(shape[1::-1]).save(folder / f"{i}.png")
        lines.append(json.dumps({"file_name": f"{i}.png", "text": caption}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def processor(**settings):
    """transformers' own on Pillow, whatever its version calls it."""
    kind = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    return kind(**settings)


def over_white(path):
    image = Image.open(path).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def by_transformers(model, folder, prefix=""):
    """Cosines of the files with their captions."""
    network = CLIPModel.from_pretrained(model).eval()
    images = [over_white(folder / f"{i}.png") for i in range(len(CAPTIONS))]
    texts = CLIPTokenizer.from_pretrained(model)(
        [prefix + caption for caption in CAPTIONS],
        padding="max_length", truncation=True, max_length=16, return_tensors="pt",
    )  # fmt: skip
    pixels = processor(**PREPARATION)(images, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        out = network(**texts, pixel_values=pixels)
    return torch.cosine_similarity(out.image_embeds, out.text_embeds).numpy()


def test_figures_of_a_folder_are_those_of_transformers(model, pictures, dmtool, tmp_path):
    out = tmp_path / "align.json"
    words = ["eval-align", "--fake", pictures, "--out", out, f"clip={model}", "batch_size=2"]
    printed = dmtool(*words, cwd=tmp_path).stdout
    cosines, prefixed = (
        by_transformers(model, pictures, p) for p in ("", clip_score.HESSEL_PREFIX)
    )
    assert cosines.std() > 0.05 and np.abs(cosines - prefixed).max() > 0.02
    found = json.loads(out.read_text())
    assert found["figures"]["all"]["clip"] == pytest.approx({
        "cosine": cosines.mean(),
        "hessel": 2.5 * np.maximum(prefixed, 0).mean(),
        "torchmetrics": max(100 * cosines.mean(), 0),
        "distance": 1 - cosines.mean(),
    }, abs=2e-5)  # fmt: skip
    assert found["clip"]["architecture"] == "ViT-width 32/8@24" and found["n_fake"] == 5
    assert found["clip"]["activation"] == "quick_gelu"
    assert "1 - mean cos, lower is better" in printed and "2.5 max(cos, 0)" in printed
    assert "his model: ViT-B/32" in printed and "tiny-clip" in printed


def test_a_long_text_keeps_its_end_token(model):
    found = clip.load(str(model), torch.device("cpu"))
    same = found.texts(["red " * 14, LONG, "red " * 13])
    assert np.allclose(same[0], same[1], atol=1e-6) and not np.allclose(same[1], same[2], atol=1e-3)


def test_the_forms_of_two_cosines():
    cosines = np.array([0.3, -0.1])
    found = clip_score.scores(cosines, cosines)
    expected = {"cosine": 0.1, "hessel": 0.375, "torchmetrics": 10, "distance": 0.9}
    assert found == pytest.approx(expected)
    below = clip_score.scores(-cosines, -cosines)
    assert below["torchmetrics"] == 0 and below["hessel"] == pytest.approx(0.125)
    assert "his model" not in clip_score.label("hessel", "ViT-B/32")


def test_what_is_no_clip_model_is_refused(model, tmp_path):
    def broken(name, file, **changes):
        folder = tmp_path / name
        folder.mkdir()
        for path in model.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        content = json.loads((folder / file).read_text()) | changes
        (folder / file).write_text(json.dumps(content))
        return str(folder)

    refused = {
        "./nowhere": "the CLIP model's folder ./nowhere is not there",
        "no-one/nothing": r"neither.*clip=FOLDER.*hf download no-one/nothing",
        broken("other", "config.json", model_type="siglip"): "'siglip', not 'clip'",
        broken("squashed", "preprocessor_config.json", size={"height": 3}): "KeyError",
        broken("uncropped", "preprocessor_config.json", do_center_crop=False): "do_center_crop",
    }
    for name, message in refused.items():
        with pytest.raises(UserError, match=message):
            clip.load(name, torch.device("cpu"))


def test_captions_of_a_folder(pictures, tmp_path):
    assert [caption for _, caption in captioned(pictures)] == CAPTIONS
    assert read_picture(pictures / "3.png").shape == (3, 31, 31)
    painted = tmp_path / "painted"
    painted.mkdir()
    meta = PngImagePlugin.PngInfo()
    meta.add_itxt("prompt", "ein grünes Quadrat")
    Image.new("RGB", (8, 8)).save(painted / "a.png", pnginfo=meta)
    assert captioned(painted) == [(painted / "a.png", "ein grünes Quadrat")]
    Image.new("RGB", (8, 8)).save(painted / "b.png")
    with pytest.raises(UserError, match=r"1 of 2 pictures in .* have no caption: b.png"):
        captioned(painted)
    (painted / "b.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"b.png cannot be read"):
        read_picture(painted / "b.png")
    with pytest.raises(UserError, match="is not a folder"):
        captioned(tmp_path / "nowhere")
