"""A tiny real chain through the command line: three stages trained, sampled, measured."""

import hashlib
import html
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import dmtool as package
from dmtool import runs
from dmtool.config.compose import composed
from dmtool.config.evaluating import EvalAlign, EvalMemory, EvalVae
from dmtool.config.tuning import TuneSampler
from dmtool.config.validation import validate
from dmtool.diffusion.network import NoisePredictor
from dmtool.errors import UserError
from dmtool.files import directories
from dmtool.look.report import page
from dmtool.measure import tune
from dmtool.measure.alignment import align
from dmtool.measure.decoders import vae
from dmtool.measure.memory import memory
from dmtool.runs import defaults

DATA = ["data=shapes", "data.count=48", "data.size=32", "data.val=0.1", "data.test=0.15"]
QUICK = [*DATA, "dtype=fp32", "batch_size=4", "every.log=16", "optim.warmup=0",
         "every.snapshot=4", "ema.sigma_rel=0.07"]  # fmt: skip
VAE = ["vae.widths=[32]", "vae.decoder_blocks=1", "vae.latent_channels=4", "vae.groups=8"]
UNET = ["unet.widths=[32,32]", "unet.blocks=[1,1]", "unet.depths=[0,1]", "unet.middle_depth=1",
        "unet.groups=8", "unet.heads=2", "unet.text_width=32", "sampler.steps=2"]  # fmt: skip
UPSAMPLER = ["upsampler.widths=[32]", "upsampler.blocks=[1]", "upsampler.depths=[0]",
             "upsampler.groups=8", "resolution=32", "sampler.steps=2"]  # fmt: skip
PROMPTS = ["--prompt", "a large red circle", "--prompt", "", "--prompt", "ein grünes Quadrat"]


@pytest.fixture(scope="module")
def home(dmtool, tmp_path_factory):
    """A directory with runs/tiny: all three stages."""
    home = tmp_path_factory.mktemp("home")
    stop = ["limit.minutes=null", "limit.pictures=64"]
    dmtool("train-vae", "run=tiny", "resolution=16", *QUICK, *VAE, *stop, cwd=home)
    dmtool("train-unet", "run=tiny", *QUICK, *UNET, *stop, cwd=home)
    dmtool("train-upsampler", "run=tiny", *QUICK, *UPSAMPLER, *stop, cwd=home)
    return home


def test_each_stage_leaves_a_whole_run_directory(home):
    for stage in ("vae", "unet", "upsampler"):
        folder = home / "runs/tiny" / stage
        assert (folder / "config.yaml").is_file()
        assert list((folder / "checkpoints").iterdir())
        with Image.open(next((folder / "previews").glob("*.png"))) as preview:
            assert np.asarray(preview).std() > 0
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [line["pictures"] for line in lines if "loss" in line] == [16, 32, 48, 64]
        held_out = [name for name in lines[-1] if name.startswith("val_")]
        assert held_out and all(np.isfinite(lines[-1][name]) for name in held_out)


def test_the_averaged_weights_are_the_ones_exported_and_sampled(home):
    folder = home / "runs/tiny/unet"
    exported = load_file(folder / "artifacts/default/model.safetensors")
    newest = max((folder / "checkpoints").iterdir())
    average, live = (load_file(newest / f"{name}.safetensors") for name in ("ema", "model"))
    network = package.load(str(home / "runs/tiny")).generator.denoiser.network
    sampled = NoisePredictor(network.whole, network.text).state_dict()
    for name, tensor in exported.items():
        assert torch.equal(tensor, average[f"power-0.07/{name}"]) and torch.equal(
            tensor, sampled[name]
        )
    assert not torch.equal(average["power-0.07/unet.conv_in.weight"], live["unet.conv_in.weight"])


@pytest.mark.parametrize(("stage", "metric"), [("vae", "val_psnr"), ("unet", "val_loss"),
                                                ("upsampler", "val_psnr")])  # fmt: skip
def test_a_reconstructed_average_is_the_directly_tracked_one(home, dmtool, stage, metric):
    """`default` was tracked at 0.07, the snapshots at 0.05 and 0.1 were taken at each step."""
    dmtool("ema", "run=tiny", f"stage={stage}", "--sigma-rel", 0.07, cwd=home)
    default, rebuilt = (
        runs.find("tiny", stage, home / "runs", name) for name in ("default", "ema-0.07")
    )
    newest = max((home / f"runs/tiny/{stage}/checkpoints").iterdir())
    tracked = load_file(newest / "ema.safetensors")
    sides = [default.tensors(), rebuilt.tensors()]
    sides += [
        {name: tracked[f"power-{width}/{name}"] for name in sides[0]} for width in (0.05, 0.1)
    ]
    direct, ours, short, long = (
        torch.cat([side[name].flatten() for name in sides[0] if side[name].is_floating_point()])
        for side in sides
    )
    assert (ours - direct).norm() < 3e-4 * direct.norm()  # float16's rounding: 2e-4
    away = long - short
    shift = (ours - direct) @ away / (away @ away)  # in the direction of another length
    assert abs(shift) < 0.01 < (direct - short) @ away / (away @ away) < 0.99
    card = rebuilt.card
    assert card["ema"].items() >= {"kind": "power", "sigma_rel": 0.07}.items()
    assert card["ema"]["reconstructed_from"]["pictures"] == list(range(4, 65, 4))
    assert 0.003 < card["ema"]["profile_error"] < 0.005
    assert card["complete"] and card["pictures_seen"] == 64
    assert card["metrics"][metric] == pytest.approx(default.card["metrics"][metric], rel=2e-3)


def test_a_search_over_lengths_names_the_best_and_keeps_it_if_asked(home, dmtool):
    words = ["ema", "run=tiny", "--search", "0.05,0.1", "--metric", "val_loss"]
    artifacts = home / "runs/tiny/unet/artifacts"
    (table,) = [dmtool(*words, cwd=home).stdout.splitlines()]
    rows = {row[0]: row for row in map(str.split, table[1:])}
    best = min(rows, key=lambda width: float(rows[width][2]))
    assert [width for width in rows if "best" in rows[width]] == [best]
    assert not (artifacts / f"ema-{best}").exists()
    dmtool(*words, "--keep", cwd=home)
    kept = runs.find("tiny", "unet", home / "runs", f"ema-{best}")
    assert kept.card["metrics"]["val_loss"] == pytest.approx(float(rows[best][2]), rel=1e-4)
    paint = ["sample", "--prompt", "x", "run=tiny", "sampler.steps=1", "--out", "kept"]
    dmtool(*paint, f"artifact=ema-{best}", cwd=home)
    (picture,) = (home / "kept").iterdir()
    settings = json.loads(Image.open(picture).text["settings"])
    assert settings["checkpoint"] == kept.card["sha256"] and settings["upsampled"]
    refused = dmtool(*paint, "artifact=ema-0.2", cwd=home, code=2)
    assert f"no artifact 'ema-0.2'; there are: default, ema-{best}" in refused.stderr
    refused = dmtool("ema", "run=tiny", "--sigma-rel", 0.27, cwd=home, code=2)
    assert "16 moments" in refused.stderr and "from 0.028 to 0.233" in refused.stderr
    refused = dmtool(*words[:-1], "fid", cwd=home, code=2)
    assert "val_loss" in refused.stderr


def test_batch_size_does_not_change_a_picture_and_python_samples_the_same(home, dmtool):
    for size in (1, 5):
        dmtool("sample", *PROMPTS, "--n", 2, "--seed", 3, "--out", f"out{size}", "run=tiny",
               "sampler.steps=3", "dtype=fp32", f"batch_size={size}", cwd=home)  # fmt: skip
    files = sorted((home / "out1").iterdir())
    assert len(files) == 6
    for file in files:
        one, five = (np.asarray(Image.open(path)) for path in (file, home / "out5" / file.name))
        assert one.shape == (32, 32, 3)
        assert np.abs(one.astype(int) - five.astype(int)).max() <= 2
    chain = package.load(str(home / "runs/tiny"), "sampler.steps=3", "dtype=fp32")
    again = np.asarray(chain.sample("a large red circle", n=2, seed=3)[1]).astype(int)
    first = np.asarray(Image.open(home / "out1/000-a-large-red-circle-seed3-1.png")).astype(int)
    assert np.abs(again - first).max() <= 2


@pytest.mark.parametrize(
    ("sampler", "calls"),
    [
        (["ddpm", "sampler.steps=4"], 4),
        (["heun", "sampler.steps=4"], 7),
        (["plms", "sampler.steps=null", "sampler.calls=6", "sampler/grid=trailing"], 6),
        (["edm", "sampler.steps=null", "sampler.calls=6", "sampler/grid=karras"], 5),
    ],
)
def test_samplers_paint_and_say_how_many_calls_they_make(home, sampler, calls):
    words = (f"sampler={sampler[0]}", *sampler[1:], "upsample.use=never", "dtype=fp32")
    chain = package.load(str(home / "runs/tiny"), *words)
    assert chain.sample("x")[0].size == (16, 16)
    assert chain.settings()["calls"] == calls
    assert chain.settings()["network_evaluations"] == 2 * calls


def test_a_tuned_setting_is_what_sampling_begins_with(home, dmtool):
    words = ["calls=3", "count=2", "reference.calls=5", "samplers=[euler]", "grids=[uniform]",
             "guidance.scale=2", "guidance.interval.high=4", "guided.scales=[2]",
             "guided.intervals=[[0,4]]", "guided.count=4"]  # fmt: skip
    words = [f"root={home / 'runs'}", "run=tiny", *words]
    tune.run(validate(composed("tune_sampler", words), TuneSampler), None)
    artifact = runs.find("tiny", "unet", home / "runs")
    stored = defaults.read(artifact)
    assert (stored.settings.sampler.kind, stored.settings.sampler.calls) == ("euler", 3)
    assert stored.settings.guidance.interval.high == 4
    assert stored.found["guidance"]["n"] == 4 and stored.found["steps"]["n"] == 2
    try:
        said = dmtool("sample", "--prompt", "x", "run=tiny", "--out", "tuned", cwd=home)
        assert "defaults of this artifact: sampler=" in said.stderr and "3 calls" in said.stdout
        chain = package.load(str(home / "runs/tiny"))
        assert chain.settings()["calls"] == 3 and chain.generator.guidance.interval.high == 4
        (picture,) = (home / "tuned").iterdir()
        painted = json.loads(Image.open(picture).text["settings"])
        assert painted["sampler"] == json.loads(json.dumps(chain.settings()["sampler"]))
        chain = package.load(str(home / "runs/tiny"), "sampler.steps=2")
        assert chain.settings()["sampler"]["kind"] == "heun" and chain.generator.guidance.scale == 2
        assert package.load(str(home / "runs/tiny"), "tuned=false").generator.guidance.scale == 3
    finally:
        defaults.file(artifact).unlink()


def test_pictures_say_how_they_were_made_and_films_show_each_step(home, dmtool):
    words = ["--negative", "blue", "--film", "--out", "film", "run=tiny", "sampler.steps=3"]
    prompt = 'größer $\\{x\\} "a\'b"'
    dmtool("sample", "--prompt", prompt, *words, "upsample.use=never", cwd=home)
    (file,) = (home / "film").iterdir()
    meta = Image.open(file).text
    assert (meta["prompt"], meta["negative"], meta["seed"]) == (prompt, "blue", "0")
    assert json.loads(meta["settings"])["sampler"]["kind"] == "heun"
    strip = Image.open(home / "film-film" / file.name)
    assert strip.size == (4 * 18 + 2, 2 * 18 + 2)  # noise and three steps, states and estimates
    assert (home / "film-sheet.png").is_file()
    moving = Image.open(home / "film-film" / f"{file.stem}.webp")
    assert moving.n_frames == 4, "one frame a step"
    first, other = moving.size[1] // 18, strip.crop((2, 2, 18, 18))  # pixels are enlarged
    moving.seek(0)
    shown = moving.convert("RGB").crop((2 * first, 2 * first, 18 * first, 18 * first))
    assert list(shown.resize((16, 16), Image.Resampling.NEAREST).getdata()) == list(other.getdata())


def test_pictures_of_ones_own_are_changed_and_ways_lead_from_one_to_another(home, dmtool):
    """Through latents and the upsampler, by the command line."""
    Image.effect_noise((64, 64), 80).convert("RGB").save(home / "mine.png")
    mask = Image.new("L", (64, 64), 255)
    mask.paste(0, (0, 0, 64, 32))
    mask.save(home / "mask.png")
    words = ["sample", "--prompt", "a red circle", "run=tiny", "sampler.steps=6"]
    edit = ["--init", "mine.png", "--mask", "mask.png", "edit.inpaint.repeats=2"]
    dmtool(*words, *edit, "--n", 2, "--out", "kept", cwd=home)
    one, two = (np.asarray(Image.open(path)) for path in sorted((home / "kept").glob("*.png"))[:2])
    known = np.asarray(Image.open(home / "mine.png").resize((32, 32), Image.Resampling.BICUBIC))
    assert (one[:16] == known[:16]).all() and (one[:16] == two[:16]).all()
    assert (one[16:] != two[16:]).any()
    settings = json.loads(Image.open(next((home / "kept").iterdir())).text["settings"])
    digest = hashlib.sha256((home / "mine.png").read_bytes()).hexdigest()
    assert settings["edit"]["init"] == digest and settings["calls"] > 2 * 11 - 7
    way = ["--prompt", "a large blue square", "--interpolate", 3, "--to-seed", 9, "--out", "way"]
    dmtool(*words, *way, "--n", 2, "animation.format=gif", cwd=home)
    files = sorted((home / "way").iterdir())
    assert len(files) == 6 and Image.open(home / "way-1.gif").n_frames == 3
    middle = Image.open(files[2]).text
    assert (middle["seed"], middle["to_seed"], middle["seed_share"]) == ("0", "9", "0.5")
    assert (middle["to_prompt"], middle["prompt_share"]) == ("a large blue square", "0.5")
    chain = package.load(str(home / "runs/tiny"), "sampler.steps=6")
    for prompt, seed, frame in (("a red circle", 0, 0), ("a large blue square", 9, 4)):
        for i, plain in enumerate(chain.sample(prompt, n=2, seed=seed)):
            found = np.asarray(Image.open(files[frame + i])).astype(int)
            assert np.abs(found - np.asarray(plain)).max() <= 2


def test_figures_of_a_run_and_of_two_folders(home, dmtool):
    dmtool("eval-fid", "run=tiny", "count=12", "sampler.steps=1", "--out", "fid.json", cwd=home)
    result = json.loads((home / "fid.json").read_text())
    assert result["metric"] == "FD-EffNetLite0@224" and "FID" not in json.dumps(result)
    assert (result["n_fake"], result["n_real"]) == (12, 48)
    assert result["settings"]["steps"] == 1 and result["settings"]["ema"]["kind"] == "power"
    protocol = {"data", "resolution", "split", "files", "prompts", "seed", "measures"}
    assert protocol <= set(result["protocol"])
    assert {"kid", "spread", "floor", "precision", "coverage"} <= set(result["figures"]["all"])
    assert 0 <= result["figures"]["all"]["r@1"] <= result["figures"]["all"]["r@10"] <= 1
    dmtool("sample", *PROMPTS, "--out", "fake", "run=tiny", "sampler.steps=1", cwd=home)
    done = dmtool("eval-fid", "--real", "fake", "--fake", "fake", cwd=home)
    value = float(re.search(r"FD-EffNetLite0@224\[N=3\] (-?[\d.]+)", done.stdout)[1])
    assert value == pytest.approx(0, abs=0.01)


def measured(name, schema, run, home, *words):
    """The JSON that an evaluation of runs/tiny writes, in this process."""
    words = ["run=tiny", f"root={home / 'runs'}", "count=6", *words]
    path = home / f"{name}.json"
    run(validate(composed(name, words), schema), path)
    return json.loads(path.read_text())


def test_the_decoder_is_measured_beside_real_pictures(home):
    result = measured("eval_vae", EvalVae, vae.run, home, "split=train", "batch_size=4")
    assert result["metric"] == "rFD-EffNetLite0@224" and result["n_real"] == result["n_fake"] == 6
    figures = result["figures"]["reconstruction"]
    assert figures["fd"] > 1 and 5 < figures["psnr"]["mean"] < 30
    latents = figures["latents"]
    assert len(latents["mean"]) == 4 and latents["n"] == 6 * 4 * 4
    assert 0.3 < np.mean(latents["std"]) < 3, "latents are whitened"
    worst = [each["psnr"] for each in result["examples"]["worst"]]
    assert len(worst) == 6 and worst == sorted(worst)
    assert result["protocol"]["split"] == "train" and result["n_below_dim"]
    with Image.open(home / "eval_vae-worst.png") as sheet:
        assert np.asarray(sheet).std() > 0


def test_the_upsampler_is_measured_beside_its_baselines(home, dmtool):
    words = ["run=tiny", "count=4", "split=train", "sampler.steps=1", "--out", "up.json"]
    said = dmtool("eval-upsampler", *words, cwd=home).stdout
    result = json.loads((home / "up.json").read_text())
    assert list(result["figures"]) == ["upsampler", "bicubic", "lanczos"]
    for name, figures in result["figures"].items():
        assert f"{figures['psnr']['mean']:.2f} ± " in said and name in said
        assert 0 < figures["consistency"]["mean"] < 100
    assert result["settings"]["calls"] == 1 and result["settings"]["factor"] == 2


@pytest.mark.parametrize("upsample", ["never", "auto"])
def test_samples_stand_between_training_and_held_out_pictures(home, upsample):
    words = ["sampler.steps=1", f"upsample.use={upsample}", "upsample.sampler.steps=1"]
    result = measured("eval_memory", EvalMemory, memory.run, home, *words)
    sides = result["figures"]
    assert list(sides) == ["samples", "held_out_decoded", "train_decoded", "held_out", "train"]
    assert sides["samples"]["n"] == 6 and result["n_real"] + sides["held_out"]["n"] <= 48
    assert result["n_real"] == sides.pop("train")["n"]
    assert all(0 <= side["auth_pct"] <= 100 for side in sides.values())
    assert sides["held_out"]["distance"]["q50"] < sides["samples"]["distance"]["q50"]
    assert sides["held_out"]["closer"] < 0.5, "a barely trained model is no memory"
    assert len(result["examples"]["samples"]) == 6
    assert result["settings"]["upsampled"] == (upsample == "auto")
    for what in ("closest", "held-out"):
        with Image.open(home / f"eval_memory-{what}.png") as sheet:
            assert np.asarray(sheet).std() > 0


def test_planted_duplicates_are_found_by_their_names(home, dmtool):
    folder = home / "twins"
    folder.mkdir()
    for i in range(5):
        noise = np.random.default_rng(i).integers(0, 256, (4, 4, 3), np.uint8)
        picture = Image.fromarray(noise).resize((48, 48), Image.Resampling.NEAREST)
        picture.save(folder / f"{i}.png")
    picture.save(folder / "twin.png")
    words = ["data=folder", f"data.path={folder}", "threshold=0.99", "--out", "twins.json"]
    assert "1 pair at a cosine of 0.99" in dmtool("duplicates", *words, cwd=home).stdout
    (pair,) = json.loads((home / "twins.json").read_text())["pairs"]
    assert {pair["a"]["key"], pair["b"]["key"]} == {"4.png", "twin.png"}
    assert (home / "twins.png").is_file()


def test_single_stages_work_on_own_pictures_of_any_size(home, dmtool):
    Image.effect_noise((37, 22), 50).convert("RGB").save(home / "own.png")
    done = dmtool("reconstruct", "own.png", "run=tiny", cwd=home)
    assert "PSNR" in done.stdout
    assert Image.open(home / "runs/tiny/reconstructed/own-reconstructed.png").size == (37, 22)
    dmtool("upscale", "own.png", "run=tiny", "--out", "big", cwd=home)
    assert Image.open(home / "big/own-x2.png").size == (74, 44)
    words = ["--prompt", "a", "--negative", "b", "run=tiny", "guidance.scale=1"]
    refused = dmtool("sample", *words, cwd=home, code=2)
    assert "nothing leads away from --negative" in refused.stderr


def test_info_says_what_fits(home, dmtool):
    text = dmtool("info", "tiny", cwd=home).stdout
    assert "unet fits the autoencoder" in text and "upsampler fits the unet" in text


def test_a_finished_stage_is_not_trained_again(home, dmtool):
    stop = ["limit.minutes=null", "limit.pictures=64"]
    artifact = home / "runs/tiny/vae/artifacts/default/model.safetensors"
    before = artifact.stat().st_mtime_ns
    done = dmtool("train-vae", "run=tiny", "resolution=16", *QUICK, *VAE, *stop, cwd=home)
    assert "is trained" in done.stderr + done.stdout
    assert artifact.stat().st_mtime_ns == before
    changed = [*QUICK, *VAE, *stop, "optim.lr=0.5"]
    refused = dmtool("train-vae", "run=tiny", "resolution=16", *changed, cwd=home, code=2)
    assert "optim" in refused.stderr and "0.5" in refused.stderr


def test_stages_that_do_not_fit_are_refused_with_both_values(home, dmtool):
    stop = ["limit.minutes=null", "limit.pictures=8"]
    dmtool("train-vae", "run=other", "resolution=16", *QUICK, *VAE, *stop, "seed=5", cwd=home)
    tiny, other = (home / "runs" / name for name in ("tiny", "other"))
    (other / "unet").symlink_to(tiny / "unet")
    moved = home / "runs/moved"
    moved.mkdir()
    for stage, source in (("vae", other), ("unet", tiny)):
        (moved / stage).mkdir()
        directories.replace(
            moved / stage / "artifacts/default",
            lambda folder, path=source / stage / "artifacts/default": [
                (folder / file.name).write_bytes(file.read_bytes()) for file in path.iterdir()
            ],
        )
    spaces = {runs.find(name, "vae", home / "runs").card["space_id"] for name in ("tiny", "other")}
    with pytest.raises(UserError) as refused:
        package.load(str(moved))
    assert all(space in str(refused.value) for space in spaces)
    words = ["train-unet", "run=tiny2", "from.vae=tiny", "resolution=32", *DATA]
    done = dmtool(*words, cwd=home, code=2)
    assert "resolution=32" in done.stderr and "16" in done.stderr
    assert not (home / "runs/tiny2").exists()


def test_whether_a_runs_pictures_show_their_captions(home, capsys):
    words = ["count=null", "sampler.steps=1", "upsample.use=always", "upsample.sampler.steps=1"]
    found = measured("eval_align", EvalAlign, align.run, home, *words)
    figures, n = found["figures"], found["n_fake"]
    shown = {name: each["composition"]["whole"] for name, each in figures.items()}
    assert shown["real"] == 1 and shown["shuffled"] < 0.5 and n > 2
    assert found["n_real"] == 48 and figures["all"]["ceiling"]["r@1"] == 1
    novel = [each["n"] for name, each in figures.items() if "seen" in name]
    assert sum(novel) == n == figures["all"]["n"]
    assert "no CLIP score: clip=DIR" in capsys.readouterr().out and found["settings"]["upsampled"]


def test_toy_prompts_are_painted_and_reported(home, dmtool):
    words = ["run=tiny", "sampler.steps=1", "prompts=toy-compositional", "each=2"]
    dmtool("eval-align", *words, cwd=home)
    toy = json.loads((home / "runs/tiny/eval/align-toy-compositional.json").read_text())
    tasks = {name: each["tasks"] for name, each in toy["figures"].items() if "tasks" in each}
    assert toy["n_fake"] == 12 and "r@1" not in toy["figures"]["all"]
    means = {name: tasks[name].pop("mean_of_tasks") for name in tasks}
    assert means == pytest.approx({name: np.mean([*each.values()]) for name, each in tasks.items()})
    assert means["real"] > max(means[name] for name in ("all", "decoded", "shuffled"))
    assert "nothing is held out" in toy["warnings"][0]
    shown = html.unescape(page.report(["tiny"], str(home / "runs"), None, False).read_text())
    assert f"align-toy-compositional: {toy['metric']}" in shown and toy["warnings"][0] in shown


@pytest.mark.slow
def test_processes_share_out_pictures_and_figures(home, monkeypatch):
    """Three processes write what one does, to rounding, and say it once."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    many = ["torch.distributed.run", "--standalone", "--nproc_per_node=3", "-m", "--"]

    def call(launch, *words):
        command = [sys.executable, "-m", *launch, "dmtool", *words]
        done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    names, quick = ("alone", "shared"), "sampler.steps=2"
    for name, launch in zip(names, ([], many), strict=True):
        paint = ["sample", *PROMPTS, "--n", "2", "run=tiny", quick, "--out", name]
        assert call(launch, *paint, "--film").count("6 pictures") == 1
        words = ["eval-fid", "run=tiny", "count=10", "dtype=fp32", quick, "--out", f"{name}.json"]
        assert call(launch, *words).count("written to") == 1
        align = ["eval-align", "run=tiny", "dtype=fp32", quick, "--out", f"{name}-align.json"]
        assert call(launch, *align).count("written to") == 1
        two = ["eval-fid", "--real", "alone", "--fake", name, "--out", f"{name}-two.json"]
        assert call(launch, *two).count("6 generated pictures against 6 real ones") == 1
        assert call(launch, "reconstruct", f"{name}-sheet.png", "run=tiny").count("PSNR") == 1
    for ending in ("", "-film"):
        files = sorted(path.name for path in (home / f"alone{ending}").glob("*.png"))
        assert len(files) == 6
        assert files == sorted(path.name for path in (home / f"shared{ending}").glob("*.png"))
        for file in files:
            one, three = (
                Image.open(home / f"{name}{ending}" / file) for name in ("alone", "shared")
            )
            assert one.text == three.text
            assert np.abs(np.asarray(one).astype(int) - np.asarray(three)).max() <= 2
    one, three = (json.loads((home / f"{name}.json").read_text()) for name in names)
    assert three["n_fake"] == one["n_fake"] == 10
    figures = [each["figures"]["all"] for each in (one, three)]
    assert figures[1]["floor"] == figures[0]["floor"]
    assert figures[1]["fd"] == pytest.approx(figures[0]["fd"], rel=1e-3)
    one, three = (json.loads((home / f"{name}-align.json").read_text()) for name in names)
    assert one["n_fake"] == three["n_fake"] and one["protocol"] == three["protocol"]
    assert all(one["figures"][name] == three["figures"][name] for name in ("real", "shuffled"))
    same, other = (
        json.loads((home / f"{name}-two.json").read_text()) for name in ("alone", "shared")
    )
    assert abs(same["figures"]["all"]["fd"]) < 1e-3 and abs(other["figures"]["all"]["fd"]) < 0.5
    call(many, "sample", "--prompt", "x", "run=tiny", quick, "--out", "single")
    assert len(list((home / "single").iterdir())) == 1


@pytest.mark.slow
def test_processes_share_out_what_is_measured_beside_real_pictures(home, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    many = ["torch.distributed.run", "--standalone", "--nproc_per_node=3", "-m", "--"]
    for command, word in (("eval-vae", "split=train"), ("eval-memory", "sampler.steps=1")):
        found = []
        for number, launch in enumerate(([], many)):
            path = home / f"{command}-{number}.json"
            words = [command, "run=tiny", "count=7", "dtype=fp32", word, "--out", str(path)]
            call = [sys.executable, "-m", *launch, "dmtool", *words]
            done = subprocess.run(call, cwd=home, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
            assert done.stdout.count("written to") == 1
            found.append(json.loads(path.read_text()))
        one, three = found
        assert one["protocol"] == three["protocol"] and one["n_fake"] == three["n_fake"] == 7
        for name, figures in one["figures"].items():
            for figure in figures.keys() & {"psnr", "ssim", "distance"}:
                assert three["figures"][name][figure] == pytest.approx(figures[figure], rel=1e-3)
        stds = [
            each["figures"]["reconstruction"]["latents"]["std"]
            for each in found
            if "reconstruction" in each["figures"]
        ]
        assert not stds or stds[1] == pytest.approx(stds[0], rel=1e-5)


@pytest.mark.slow
def test_two_processes_fill_the_same_caches_as_one(home, dmtool, tmp_path, monkeypatch):
    words = ["train-unet", *QUICK, *UNET, "data.count=600", "data.flip=true", "from.vae=tiny",
             "limit.minutes=null", "limit.pictures=16"]  # fmt: skip
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "-m", "dmtool"]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "one"))
    dmtool(*words, "run=one", cwd=home)
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "two"))
    subprocess.run([*launch, *words, "run=two"], cwd=home, check=True, timeout=300)
    one, two = (
        sorted(
            str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).glob("[lt]*/*/*")
        )
        for name in ("one", "two")
    )
    assert one == two and len(one) > 2 * 3 + 3 + 3, "shards are named by their content"
