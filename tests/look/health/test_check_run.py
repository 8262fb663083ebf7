"""Runs that are ill in one way each are found out, and healthy ones are left in peace."""

import json

import pytest
from omegaconf import OmegaConf

from dmtool.config import compose
from dmtool.config.stages import STAGES
from dmtool.config.validation import container
from dmtool.errors import CheckFailed, UserError
from dmtool.look.health import check, curve

BATCH, LIMIT, LR = 16, 40_000, 2e-3
END = {"pictures": 20_000, "seconds": 200.0}


def mean_loss(start, end):
    """The mean of 1 / sqrt(pictures) over an interval."""
    return 2 * (end**0.5 - start**0.5) / (end - start)


def lines(step=2000, end=20_000):
    """A healthy course, logged every `step` pictures, with a constant learning rate."""
    return [
        {"pictures": p, "seconds": p / 100, "loss": mean_loss(p - step, p), "grad_norm": 0.5,
         "lr": LR, "pictures_per_second": 100.0, "rollbacks": 0}
        for p in range(step, end + 1, step)
    ]  # fmt: skip


def config(*words):
    constant = ["experiment=demo_vae", "optim.schedule=constant", "optim.warmup=0", "run=r"]
    return container(compose.composed("train_vae", [*constant, *words]))


def store(home, logged, *words):
    """A run directory with that config and these lines."""
    folder = home / "runs/r/vae"
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(config(*words)), folder / "config.yaml")
    text = "".join(json.dumps(line) + "\n" for line in logged)
    (folder / "metrics.jsonl").write_text(text)
    return str(home / "runs")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The curve of a healthy run, in a file."""
    home = tmp_path_factory.mktemp("reference")
    check.write("r", None, store(home, lines()), home / "mine.json")
    return home / "mine.json"


@pytest.mark.parametrize("step", [500, 1000, 2000, 4000])
def test_means_over_the_same_pictures_are_compared(reference, step):
    pairs = curve.read(reference).pairs(lines(step))
    wider = max(step, 2000)
    assert [pair.reference.pictures for pair in pairs] == list(range(wider, 20_001, wider))
    for pair in pairs:
        assert pair.loss == pytest.approx(pair.reference.loss, rel=1e-12)
        assert pair.reference.high == pytest.approx(1.15 * pair.loss, rel=1e-4)


def worse(name, factor, after=12_000):
    return [
        line | {name: line[name] * factor} if line["pictures"] > after else line for line in lines()
    ]


def judged(real, fake):
    """A run with a critic that finds these mean logits."""
    return [line | {"critic_real": real, "critic_fake": fake} for line in lines()]


@pytest.mark.parametrize(
    ("logged", "says"),
    [
        (judged(0.2, 0.2), "logits of real and made pictures are 0 apart"),
        (judged(9.0, -8.0), "logits of real and made pictures are 17 apart"),
        (worse("loss", 1.2), "too high, .* at 14,000 pictures where mine has .* 3 times later"),
        (worse("loss", 4), "the loss of the last quarter"),
        (worse("loss", float("nan")), "loss is nan at 14,000 pictures"),
        (worse("grad_norm", 5), "gradient norm of the last quarter is 2.5, it was 0.5"),
        (worse("pictures_per_second", 0.4), "saw 40 pictures/s, the fastest 100"),
        (worse("lr", 0.7), "learning rate is 0.0014 at 20,000 pictures, the schedule says 0.002"),
        ([*lines(), END | {"ema_distance": 0.8}], "0.8 of the"),
        ([*lines(), END | {"skipped": 25}], "25 steps were skipped: 4.00%"),
        ([*lines(), END | {"alert": "no step"}], "vae: no step"),
    ],
)  # fmt: skip
def test_what_is_unhealthy_is_named(tmp_path, reference, logged, says):
    root = store(tmp_path, logged)
    with pytest.raises(CheckFailed, match=says):
        check.check("r", None, root, reference)


def test_a_healthy_run_of_another_seed_passes(tmp_path, reference, capsys):
    logged = [
        line | {"loss": line["loss"] * f} for line, f in zip(lines(), [1.1, 0.9] * 5, strict=True)
    ]
    check.check("r", "vae", store(tmp_path, logged, "seed=5", "data.workers=2"), reference)
    out = capsys.readouterr().out
    assert "the loss is that of mine up to 20,000 pictures (10 compared)" in out
    assert "UNHEALTHY" not in out


def test_a_critic_that_tells_pictures_apart_is_healthy(tmp_path, capsys):
    check.check("r", "vae", store(tmp_path, judged(0.8, -0.4)), None)
    out = capsys.readouterr().out
    assert "pictures are 1.2 apart in the last quarter" in out and "UNHEALTHY" not in out


def test_a_rate_that_going_back_has_lowered_is_on_schedule(tmp_path, capsys):
    gone_back = [line | {"lr": LR / 4, "rollbacks": 2} for line in lines()]
    check.check("r", "vae", store(tmp_path, gone_back), None)
    assert "the learning rate is 0.0005 at 20,000 pictures" in capsys.readouterr().out


def test_only_like_is_compared_with_like(tmp_path, reference, capsys):
    """Other settings, or another learning rate at the same pictures: general rules only."""
    root = store(tmp_path, worse("loss", 1.2), "optim.betas=[0.5,0.9]")
    check.check("r", "vae", root, reference)
    assert "optim.betas=[0.5, 0.9] (there [0.9, 0.99])" in capsys.readouterr().out
    ended = ["optim.schedule=linear", "limit.minutes=null", f"limit.pictures={LIMIT}"]
    falling = [line | {"lr": LR * (1 - (line["pictures"] - BATCH) / LIMIT)} for line in lines()]
    store(reference.parent, falling, *ended)
    check.write("r", "vae", str(reference.parent / "runs"), reference.parent / "falling.json")
    shorter = [
        line | {"lr": LR * (1 - line["pictures"] / 20_500)} for line in worse("loss", 9, 16_000)
    ]
    root = store(tmp_path, shorter, *ended[:2], "limit.pictures=20500")
    with pytest.raises(CheckFailed) as failed:
        check.check("r", "vae", root, reference.parent / "falling.json")
    assert "falling" not in str(failed.value), "at 18,000 pictures its rate is another one"


def test_what_an_older_curve_does_not_know_is_what_was_before(reference, tmp_path):
    values = json.loads(reference.read_text()) | {"format": 1}
    del values["config_format"], values["settings"]["loss.saturating"]
    file = tmp_path / "older.json"
    file.write_text(json.dumps(values))
    known = curve.read(file)
    assert known.differences(config("loss.saturating=false")) == []
    differs = "loss.saturating=True (there False)"
    assert known.differences(config("loss.saturating=true")) == [differs]
    for wrong, says in (({"format": 9}, "9, this dmtool reads 1 to"), ({"points": []}, "no curve")):
        file.write_text(json.dumps(values | wrong))
        with pytest.raises(UserError, match=says):
            curve.read(file)
    file.write_text(json.dumps(values | {"settings": {"a": 1, "a.b": 2}}))
    with pytest.raises(UserError, match=r"no curve.*a\.b stands within a value"):
        curve.read(file)


@pytest.mark.parametrize("stage", STAGES)
def test_the_packed_curves_are_of_todays_demo(stage):
    """If this fails, the demo's settings have changed: `make curves`."""
    (known,) = curve.packed(stage)
    demo = container(compose.composed(f"train_{stage}", [f"experiment=demo_{stage}"]))
    assert known.name == f"demo_{stage}" and known.differences(demo) == []
    assert known.points[-1].pictures >= 10_000


def test_exit_codes(tmp_path, dmtool):
    store(tmp_path, worse("grad_norm", 5))
    done = dmtool("check-run", "r", cwd=tmp_path, code=3)
    assert "UNHEALTHY  the gradient norm" in done.stdout and "general rules only" in done.stdout
    assert done.stderr.startswith("dmtool: r is not healthy: vae: the gradient norm")
    (tmp_path / "wrong.json").write_text("{}")
    with pytest.raises(UserError, match=r"wrong\.json is no curve"):
        check.check("r", None, str(tmp_path / "runs"), tmp_path / "wrong.json")
