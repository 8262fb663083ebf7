"""What a user meets: help, wrong input in one line, Hydra's ways, and the wheel away from home."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

REPOSITORY = Path(__file__).parents[1]


def test_help_answers_at_once(dmtool, tmp_path):
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert "train-unet" in dmtool("--help", cwd=tmp_path).stdout
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.0  # half a second on a quiet machine; importing torch takes more


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train-unet", "unet.wdith=3"], "did you mean unet.widths?"),
        (["train-unet", "+unet.wdith=3"], "did you mean unet.widths?"),
        (["train-unet", "steps=3"], "did you mean sampler.steps?"),
        (["train-unet", "data=shapes", "data.background=[1]"], "'data.background.1' is missing"),
        (["train-unet", "unet=smal"], "there are: base, sd1, small"),
        (["sample", "--prompt", "x", "sampler=eulr"], "there are: ddim, ddpm, dpmpp_2m"),
        (["upscale", "a.png", "guidance.scale=2"], "unknown key 'guidance.scale'"),
        (["train-unet", "unet.heads=x"], "unet.heads='x'"),
        (["train-unet", "unet.widths=[100]"], "not divisible by groups=32"),
        (["train-unet", "unet.blocks=[1,1]"], "2 entries for 1 widths"),
        (["train-unet", "sampler.kind=foo"], "'dpmpp_2m'"),
        (["train-unet", "data.kind=foo"], "data.kind=foo is none of"),
        (["train-unet", "codec=pixels"], "needs resolution="),
        (["train-unet", "from.vae=nope"], "there is no run 'nope'"),
        (["train-vae", "resolution=33"], "33 pixels is not divisible by 4"),
        (["train-vae", "data=folder"], "data.path=..."),
        (["train-vae", "data=folder", "data.path=nowhere"], "no such folder"),
        (["train-vae", "device=tpu"], "device=tpu"),
        (["train-vae", "run=a/b"], "run=a/b is a path"),
        (["train-vae", "batch_size=7", "accumulation=2"], "not divisible by accumulation=2"),
        (["train-vae", "limit.minutes=null"], "training needs an end"),
        (["train-vae", "keep.best=val_los"], "val_los is none of val_psnr, val_ssim"),
        (["verify-resume", "unte"], "'unte' is no stage"),
        (["plan", "vae", "-m"], "no -m, no launcher"),
        (["plan", "unet", "run=nope"], "the run 'nope' has no vae stage"),
        (["verify-resume", "vae", "-m"], "in one process: no -m, no launcher"),
        (["train-vae", "=3"], "dmtool: "),
        (["sample", "--prompt", "x", "run=nope"], "there is no run 'nope'"),
        (["sample", "--prompt", "x", "--n", "0"], "--n"),
        (["sample"], "--prompt TEXT, or --prompts FILE"),
        (["sample", "--prompts", "nope.txt"], "nope.txt cannot be read"),
        (["sample", "--prompt", "{a|b", "--combine"], "never closed"),
        (["sample", "--prompt", "x", "--strength", "0.5"], "--init FILE"),
        (["sample", "--prompt", "x", "--init", "a.png", "--strength", "2"], "outside (0, 1]"),
        (["sample", "--prompt", "x", "--init", "a.png", "run=nope"], "a.png is missing"),
        (["sample", "--prompt", "x", "--outpaint", "1,2,3"], "LEFT,TOP,RIGHT,BOTTOM"),
        (["sample", "--prompt", "x", "--mask", "a.png"], "--init FILE"),
        (["sample", "--prompt", "x", "--vary", "0.2"], "--n"),
        (["sample", "--prompt", "x", "--interpolate", "4"], "a second --prompt, or --to-seed"),
        (["sample", "--prompt", "x", "--to-seed", "4"], "--interpolate 8"),
        (["sample", "--prompt", "x", "edit.strength=0"], "edit.strength=0"),
        (["eval-fid", "--real", "x"], "--real and --fake go together"),
        (["eval-fid", "--real", "x", "--fake", "y"], "x is not a folder of pictures"),
        (["eval-fid", "extractor=incep"], "inception, random"),
        (["eval-fid", "extractor=inception", "extractor.mode=legacy"], "'pytorch-fid', 'clean'"),
        (["eval-fid", "extractor=inception", "extractor.seed=1"], "unknown key 'extractor.seed'"),
        (["eval-fid", "-m", "guidance.scale=1,2"], "dmtool eval-sweep"),
        (["eval-align", "-m", "run=a,b", "clip=x,y"], "the jobs of clip=x,y would all write"),
        (["eval-vae", "-m", "run=a,b", "--out", "x.json"], "would all write x.json"),
        (["sample", "--prompt", "x", "-m", "seed=range(3)"], "the jobs of seed=range(3)"),
        (["stats", "nope", "--out", "x.npz"], "nope is not a folder of pictures"),
        (["eval-vae", "run=nope"], "there is no run 'nope'"),
        (["eval-vae", "perceptual=lpip"], "there are: effnet_lite0, lpips"),
        (["eval-memory", "threshold=0"], "threshold=0"),
        (["eval-align", "prompts=geneval"], "'captions' or 'toy-compositional'"),
        (["eval-align", "--fake", "nope"], "nope is not a folder of pictures"),
        (["ema", "run=nope", "--sigma-rel", "0.1"], "there is no run 'nope'"),
        (["ema", "stage=unets", "--sigma-rel", "0.1"], "'unet'"),
        (["tune-sampler", "run=nope"], "there is no run 'nope'"),
        (["ema", "run=nope"], "either --sigma-rel"),
        (["ema", "--sigma-rel", "0.1", "--keep"], "go with --search"),
        (["ema", "--search", "0.1;0.2"], "numbers with commas"),
        (["train-vae", "ema.half_life=9"], "unknown key 'ema.half_life'"),
        (["info", "nope"], "there is no run 'nope'"),
        (["reconstruct", "nope.png", "run=nope"], "nope.png: there is no such picture"),
    ],
)
def test_a_mistake_is_one_clear_line(dmtool, tmp_path, words, says):
    done = dmtool(*words, cwd=tmp_path, code=2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("Usage:") or len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_too_many_bad_pictures_are_named_and_refused(dmtool, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(8):
        Image.new("RGB", (20, 20), (30 * i, 0, 0)).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    words = ["train-vae", "data=folder", "data.path=pictures"]
    done = dmtool(*words, cwd=tmp_path, code=2)
    assert "broken.png" in done.stderr and "data.max_bad" in done.stderr
    shown = dmtool("data", "data=folder", "data.path=pictures", "data.max_bad=0.5", cwd=tmp_path)
    assert "broken.png" in shown.stdout and (tmp_path / "folder-sheet.png").is_file()


def test_a_noise_predictor_wants_captions(dmtool, tmp_path):
    (tmp_path / "pictures").mkdir()
    for i in range(3):
        Image.new("RGB", (16, 16), (80 * i, 0, 0)).save(tmp_path / f"pictures/{i}.png")
    words = ["data=folder", "data.path=pictures", "codec=pixels", "resolution=16", "text=scratch"]
    done = dmtool("train-unet", *words, cwd=tmp_path, code=2)
    assert "have no captions" in done.stderr


def test_sweeps_give_each_job_its_own_run(dmtool, tmp_path):
    words = ["train-vae", "-m", "run=s", "seed=1,2", "data=shapes", "data.count=16", "data.size=16",
             "resolution=16", "vae.widths=[16]", "vae.groups=8", "batch_size=4",
             "limit.minutes=null", "limit.pictures=8"]  # fmt: skip
    dmtool(*words, cwd=tmp_path)
    cards = [
        json.loads((tmp_path / f"runs/s-{i}/vae/artifacts/default/card.json").read_text())
        for i in (0, 1)
    ]
    assert cards[0]["sha256"] != cards[1]["sha256"]


def test_the_wheel_finds_its_configs_from_an_empty_directory(tmp_path):
    wheels, site, empty = (tmp_path / name for name in ("wheels", "site", "empty"))
    empty.mkdir()
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, "."]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = wheels.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", site, wheel]
    subprocess.run(install, check=True, capture_output=True)
    code = "import dmtool, sys; print(dmtool.__file__); from dmtool.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "train-unet", "unet.heads=4", "--cfg", "job"],
        cwd=empty, env=os.environ | {"PYTHONPATH": str(site)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.startswith(str(site))
    assert "heads: 4" in done.stdout and "kind: minilm" in done.stdout
    assert not list(empty.iterdir())


def test_what_one_process_does_is_not_done_by_several(dmtool, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = dmtool("ema", "run=x", "--sigma-rel", "0.1", cwd=tmp_path, code=2)
    assert "start it without a launcher" in done.stderr
    done = dmtool("train-vae", "-m", "seed=1,2", cwd=tmp_path, code=2)
    assert "-m sweeps do not go with several processes" in done.stderr
