"""Every kind of file of a run, damaged and forged in 300 ways: a line or a repair, never a
traceback, a hang, another result."""

import json
import shutil
from collections import Counter
from dataclasses import asdict

import pytest
import small_run
import yaml
from damage import MANY, TEXTS, json_mutated, outcome, tried
from PIL import Image
from small_run import card_of, forged, used
from torch.amp.grad_scaler import GradScaler

from dmtool import runs
from dmtool.config.compose import composed
from dmtool.config.stages import STAGES
from dmtool.config.using import Defaults, Enlarging, SampleConfig
from dmtool.config.validation import check, validate
from dmtool.files import outputs
from dmtool.look.health import check as health
from dmtool.look.health import curve
from dmtool.look.report import page
from dmtool.look.watch import live
from dmtool.runs import defaults, metrics, saved
from dmtool.text.scratch import FILE
from dmtool.train import ema, lock, optim, snapshots
from dmtool.train.progress import Progress
from dmtool.train.state import Learner, State

pytestmark = pytest.mark.slow


@pytest.fixture
def alone(copy):
    """The same without the other stages and most figures, whose curves take time to draw."""
    shutil.rmtree(copy / "vae")
    shutil.rmtree(copy / "upsampler")
    log, few = copy / "unet" / metrics.NAME, ("pictures", "seconds", "loss", "lr")
    lines = [{name: line[name] for name in few if name in line} for line in metrics.read(log)]
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return copy


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
        lambda: page.render([page.contents.look(str(alone), ".")], force=True),
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
        learner = Learner(network, optimizers, averages)
        new = State({"network": learner}, GradScaler("cpu", enabled=False), Progress())
        load(new)
        return _as_bytes(new.copy())

    def act():
        return state(lambda new: new.load_newest(folder))

    expected = [state(lambda new, path=path: new.load(path)) for path in (one, two)]
    assert expected[0] != expected[1]
    for case, kind, found in tried(sorted(two.iterdir()), act, MANY, TEXTS):
        assert kind == "done" and found in expected, case


def _as_bytes(moment):
    """All that a checkpoint holds: weights, averages, the optimizer's state, settings, progress."""
    tensors = {(kind, name): tensor.numpy().tobytes() for kind, each in moment.tensors.items()
               for name, tensor in each.items()}  # fmt: skip
    return tensors, moment.settings, moment.progress


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
            [page.contents.look(str(alone), ".")] * 2, force=True
        )

    assert sum(1 for _ in tried([path], act, MANY, TEXTS)) == MANY


def test_many_previews(alone, silent, capsys):
    """What is damaged is not shown, or as far as it can be read; the one before it is."""
    folder = alone / "unet/previews"
    Image.effect_noise((40, 30), 60).convert("RGB").save(folder / "9999.png")

    def act():
        _, image = live.look(str(alone), "unet", ".").preview()
        return image.mode, outcome(lambda: page.render([page.contents.look(str(alone), ".")], True))

    for case, kind, found in tried([folder / "9999.png"], act, MANY):
        assert kind == "done" and found[0] == "RGB", case


def test_many_defaults(copy, silent, capsys):
    """Whoever sends such a file may say anything of sampling, and nothing of anything else."""
    said = [f"run={copy.name}", f"root={copy.parent}"]
    artifact, usual = runs.find(copy.name, "unet", str(copy.parent)), composed("sample", said)
    made = validate(usual, SampleConfig)
    enlarging = Enlarging(augmentation=None, sampler=made.upsample.sampler)
    settings = Defaults(sampler=made.sampler, guidance=made.guidance, upsample=enlarging)
    defaults.write(defaults.file(artifact), artifact, settings, {"calls": 8})
    known = ("sampler", "guidance", "upsample")

    def act():
        found = asdict(defaults.tuned(usual, said, SampleConfig))
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
