"""Every kind of file that is read back, damaged and forged in 300 ways: a line or a repair, never a
traceback, a hang, another result."""

import json
import logging
import random
import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import small_run
import torch
import yaml
from cards import SHA
from damage import json_mutated, outcome, tried
from PIL import Image
from small_run import STATISTICS, card_of, forged, read_all, read_statistics, used
from torch.amp.grad_scaler import GradScaler

from dmtool import defaults, metrics, outputs, runs, saved, shards
from dmtool.config import check, validate
from dmtool.data import source
from dmtool.health import check as health
from dmtool.health import curve
from dmtool.hydra_main import composed
from dmtool.report import page
from dmtool.schemas import STAGES, Defaults, Enlarging, Inspect, Sample
from dmtool.text.scratch import FILE
from dmtool.train import ema, lock, optim, snapshots
from dmtool.train.checkpoint import Progress, State
from dmtool.watch import live

QUIET = logging.getLogger("dmtool")
pytestmark = pytest.mark.slow
MANY = 300
TEXTS = {".json": json_mutated, ".jsonl": lambda text, rng: _lines(text, rng)}


def _lines(text, rng):
    lines = text.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    lines[at] = json_mutated(lines[at], rng).replace("\n", "") + "\n"
    return "".join(lines)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "run"
    small_run.train(root)
    return root


@pytest.fixture
def copy(run, tmp_path):
    """A run of its own to be damaged."""
    return Path(shutil.copytree(run, tmp_path / "run"))


@pytest.fixture
def alone(copy):
    """The same without the other stages, whose curves take time to draw."""
    shutil.rmtree(copy / "vae")
    shutil.rmtree(copy / "upsampler")
    return copy


@pytest.fixture
def silent():
    """Warnings of repairs are not kept, and the program's lines not shown."""
    before = QUIET.level
    QUIET.setLevel(logging.CRITICAL)
    yield
    QUIET.setLevel(before)


@pytest.mark.parametrize("stage", ["vae", "unet", "upsampler"])
def test_many_cards_as_they_were_written(copy, stage, silent):
    expected = used(copy, stage)
    for case, kind, found in tried([card_of(copy, stage)], lambda: used(copy, stage), MANY, TEXTS):
        assert kind == "refused" or found == expected, case


@pytest.mark.parametrize("stage", ["vae", "unet", "upsampler"])
def test_many_forged_cards(copy, stage, silent):
    """Of what such a card says nothing else tells the truth: it is used, or refused in a line."""
    forged(copy, stage, lambda card: None)
    kinds = [kind for _, kind, _ in tried(
        [card_of(copy, stage)], lambda: used(copy, stage), MANY, TEXTS, seed=1)]  # fmt: skip
    assert kinds.count("refused") > MANY / 2


def test_many_weights_and_tokenizers(copy, silent):
    folder = card_of(copy, "unet").parent
    expected = used(copy, "unet")
    files = [folder / "model.safetensors", folder / FILE]
    for case, kind, found in tried(files, lambda: used(copy, "unet"), MANY, TEXTS):
        assert kind == "refused" or found == expected, case


@pytest.mark.parametrize("name", [saved.NAME, metrics.NAME])
def test_many_configs_and_logs(alone, name, silent, capsys):
    stage = alone / "unet"
    acts = [
        lambda: check(saved.read(stage), STAGES["unet"]),
        lambda: health.check(str(alone), "unet", ".", None),
        lambda: curve.from_run("x", "unet", saved.read(stage), metrics.read(stage / metrics.NAME)),
        lambda: live.once(str(alone), "unet", "."),
        lambda: page.render([page.seen.look(str(alone), ".")], force=True),
    ]
    texts = TEXTS | {".yaml": _yaml_mutated}
    for _, kind, _ in tried([stage / name], lambda: [*map(outcome, acts)], MANY, texts):
        assert kind == "done"


def _yaml_mutated(text, rng):
    loaded = json.dumps(yaml.safe_load(text))
    return json_mutated(loaded, rng)  # JSON is YAML


def test_many_checkpoints(copy, silent):
    trained, folder = small_run.unet(copy), copy / "unet/checkpoints"
    one, two = sorted(folder.iterdir())

    def state(load):
        network, config = trained.stage.network, trained.stage.config
        averages = ema.Ema(network, ema.profile(config.ema), config.ema.snapshots)
        optimizers = optim.build(network, config.optim)
        new = State(network, averages, optimizers, GradScaler("cpu", enabled=False), Progress())
        load(new)
        weights = b"".join(x.numpy().tobytes() for x in network.state_dict().values())
        return new.progress.pictures, weights

    def act():
        return state(lambda new: new.load_newest(folder))

    expected = [state(lambda new, path=path: new.load(path)) for path in (one, two)]
    assert expected[0] != expected[1]
    for case, kind, found in tried(sorted(two.iterdir()), act, MANY, TEXTS):
        assert kind == "done" and found in expected, case


def test_many_snapshots(copy, silent):
    folder = copy / "unet/snapshots"

    def act():
        return [
            (
                each.pictures,
                each.sigma_rel,
                sorted((n, x.numpy().tobytes()) for n, x in each.tensors().items()),
            )
            for each in snapshots.find(folder)
        ]

    expected = act()
    newest = max(folder.iterdir())
    for case, kind, found in tried(sorted(newest.iterdir()), act, MANY, TEXTS):
        assert kind == "refused" or all(each in expected for each in found), case


def test_many_entries_of_the_data_cache(tmp_path, monkeypatch, silent):
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))
    words = ["data=shapes", "data.count=24", "data.size=16"]
    config = validate(composed("inspect", words), Inspect).data
    source.load(config)
    files = sorted((tmp_path / "cache").glob("data/*/*"))
    expected = read_all(config)
    for case, kind, found in tried(files, lambda: read_all(config), MANY, TEXTS):
        assert kind == "done" and found == expected, case


def test_many_shards(tmp_path, monkeypatch, silent):
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))

    def act():
        encode = lambda rows: {"x": torch.arange(rows.start, rows.stop)}  # noqa: E731
        return torch.cat(shards.filled("toy", {"a": 1}, 600, 8, encode).column("x")).tolist()

    assert act() == [*range(600)]
    files = sorted((tmp_path / "cache").glob("toy/*/*"))
    for case, kind, found in tried(files, act, MANY, TEXTS):
        assert kind == "done" and found == [*range(600)], case


def test_many_statistics(tmp_path, silent):
    folder = tmp_path / "s"
    folder.mkdir()
    path, rng = folder / "x.npz", random.Random(0)
    about = {"name": "FD-six", "sha256": SHA, "protocol": {}}
    np.savez(path, **STATISTICS, extractor=json.dumps(about))
    expected = read_statistics(path)
    for case, kind, found in tried([path], lambda: read_statistics(path), MANY):
        assert kind == "refused" or found == expected, case
    odd = [np.zeros(()), np.zeros(0), np.full(6, np.nan), np.array("x"), np.array(b"x"), np.eye(6),
           np.zeros((6, 6, 6)), np.array([1, 2]), np.array(-5), np.array(1e308), np.array(True),
           np.array(10**18), np.zeros(6, complex), np.array("{"), np.zeros(6, "M8[s]"),
           np.zeros(2, "i4,f4"), np.array([None])]  # fmt: skip
    for _ in range(MANY):
        held = dict(STATISTICS)
        held[rng.choice(["mu", "sigma", "n", "extractor", "feats", "files", "arr_0"])] = rng.choice(
            odd
        )
        np.savez(path, **held)
        outcome(lambda: read_statistics(path))


def test_many_curves(alone, silent, capsys):
    path = alone / "mine.json"
    health.write(str(alone), "unet", ".", path)
    act = lambda: health.check(str(alone), "unet", ".", path)  # noqa: E731
    assert sum(1 for _ in tried([path], act, MANY, TEXTS)) == MANY


def test_many_results(alone, silent):
    (alone / "unet" / metrics.NAME).write_text("")
    path = alone / "eval/fid-train.json"
    path.parent.mkdir()
    figures = {"all": {"fd": 3.5, "n_fake": 10, "floor": {"fd": 1.0}}, "seen": {"fd": None}}
    result = {"metric": "FD", "figures": figures, "settings": {"steps": 3}, "warnings": ["w"],
              "protocol": {"seed": 0}, "versions": {"dmtool": "0"}}  # fmt: skip
    path.write_text(json.dumps(result))

    def act():
        return outputs.known(path, outputs.EVALUATION), page.render(
            [page.seen.look(str(alone), ".")] * 2, force=True
        )

    assert sum(1 for _ in tried([path], act, MANY, TEXTS)) == MANY


def test_many_defaults(copy, silent, capsys):
    """Whoever sends such a file may say anything of sampling, and nothing of anything else."""
    said = [f"run={copy.name}", f"root={copy.parent}"]
    artifact, usual = runs.find(copy.name, "unet", str(copy.parent)), composed("sample", said)
    made = validate(usual, Sample)
    enlarging = Enlarging(augmentation=None, sampler=made.upsample.sampler)
    settings = Defaults(sampler=made.sampler, guidance=made.guidance, upsample=enlarging)
    defaults.write(defaults.file(artifact), artifact, settings, {"calls": 8})
    known = ("sampler", "guidance", "upsample")

    def act():
        found = asdict(defaults.tuned(usual, said, Sample))
        return {name: value for name, value in found.items() if name not in known}

    expected = act()
    for case, kind, found in tried([defaults.file(artifact)], act, MANY, TEXTS):
        assert kind == "refused" or found == expected, case


def test_many_locks(tmp_path, monkeypatch, silent, capsys):
    for name, seconds in (("SILENT", 0.05), ("BEAT", 0.02), ("GRACE", 0.01)):
        monkeypatch.setattr(lock, name, seconds)
    stage = tmp_path / "unet"
    stage.mkdir()
    left = lock.Owner("elsewhere", "elsewhere 1", 4711, 1.7e9, "a" * 32)
    (stage / lock.NAME).write_text(json.dumps(asdict(left)))

    def act():
        with lock.held(stage):
            return sorted(path.name for path in stage.iterdir())

    kinds = Counter()
    for case, kind, found in tried([stage / lock.NAME], act, MANY, TEXTS):
        kinds[kind] += 1
        assert kind == "refused" or found == [lock.NAME], case
    assert kinds["done"] > MANY / 2


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A folder of pictures with captions of all kinds, and what is read of it."""
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))
    home = tmp_path / "pictures"
    rows = {"rows": ["a.png", "b.jpg", "c.webp"], "table": ["d.png", "e.gif"], "texts": ["f.tif"]}
    for number, (folder, names) in enumerate(rows.items()):
        (home / folder).mkdir(parents=True)
        for name in names:
            noise = Image.effect_noise((24, 20), 60 + number).convert("RGB")
            noise.save(home / folder / name)
    lines = [json.dumps({"file_name": name, "text": f"a {name}"}) for name in rows["rows"]]
    (home / "rows/metadata.jsonl").write_text("\n".join(lines))
    (home / "table/metadata.csv").write_text('file_name,text\nd.png,"a, d"\ne.gif,an e\n')
    (home / "texts/f.txt").write_text("an f\nanother f")
    words = ["data=folder", f"data.path={home}", "data.max_bad=0.5"]
    config = validate(composed("inspect", words), Inspect).data

    def read():
        found = source.load(config)
        rows = found.dataset.with_format("arrow")[:].to_pylist()
        pixels = {row["key"]: row["image"]["bytes"] for row in rows}
        return pixels, {row["key"]: row["caption"] for row in rows}, {name for name, _ in found.bad}

    return home, read


def test_many_pictures(pictures, silent):
    """A damaged picture is named and left out, or is what its bytes say; all else stays."""
    home, read = pictures
    (pixels, captions, _), files = read(), sorted(home.glob("*/?.*[!t]"))
    assert len(pixels) == len(files) == 6
    for case, kind, found in tried(files, read, MANY):
        if kind == "done":
            same = {key for key, data in found[0].items() if data == pixels[key]}
            assert len(same) >= 5 and captions.keys() >= found[0].keys(), case
            assert all(found[1][key] == captions[key] for key in same), case
            assert captions.keys() - found[0].keys() <= found[2] | _away(home, captions), case


def _away(home, keys):
    """Pictures that are no longer there."""
    return {key for key in keys if not (home / key).exists() and not (home / key).is_symlink()}


def test_many_captions(pictures, silent):
    """Captions are what their files say: a picture that loses its own is named or has none, and
    what the other files say stays."""
    home, read = pictures
    pixels, captions, _ = read()
    files = [home / "rows/metadata.jsonl", home / "table/metadata.csv", home / "texts/f.txt"]
    for case, kind, found in tried(files, read, MANY, TEXTS):
        if kind == "done":
            assert all(pixels[key] == data for key, data in found[0].items()), case
            assert pixels.keys() - found[0].keys() <= found[2], case
            changed = {key for key in captions if found[1].get(key) != captions[key]}
            assert len({key.partition("/")[0] for key in changed}) <= 1, case
