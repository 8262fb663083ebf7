"""Several players in one loop: each learns alone, and all of it is resumed, split and undone."""

import json

import pytest
import torch
import toy

from dmtool.errors import UserError
from dmtool.files.tensors import read_tensors
from dmtool.train.checkpoint import part

WORDS = ["limit.pictures=320", "every.checkpoint=64"]


class Killed(Exception):
    pass


def newest(folder):
    """All tensors of the newest checkpoint, by file."""
    path = max((folder / "checkpoints").glob("[0-9]*"))
    return {file.name: read_tensors(file) for file in path.glob("*.safetensors")}


def same(a, b):
    assert a.keys() == b.keys()
    for file in a:
        assert a[file].keys() == b[file].keys()
        assert all(torch.equal(a[file][name], b[file][name]) for name in a[file]), file


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    root = tmp_path_factory.mktemp("straight")
    toy.trainer(root, *WORDS).run()
    return root


def test_all_that_players_change_is_in_the_checkpoint_and_the_log(straight):
    saved, begun = newest(straight), toy.trainer(straight / "new", *WORDS).stage.players
    assert set(saved) == {
        "model.safetensors", "ema.safetensors", "optimizer.safetensors",
        "critic.model.safetensors", "critic.optimizer.safetensors",
    }  # fmt: skip
    for file, player in (("model", "network"), ("critic.model", "critic")):
        found = part(saved[f"{file}.safetensors"], file)
        for name, tensor in begun[player].network.state_dict().items():
            assert not torch.equal(found[name], tensor), name
    lines = [json.loads(line) for line in (straight / "metrics.jsonl").open()]
    lines = [line for line in lines if "lr" in line]
    assert len(lines) == 10
    seen = [line["pictures"] for line in lines if "critic_loss" in line]
    assert seen == [96, 160, 224, 288]  # of steps that begin at 64, 128, ...: each second one
    assert all({"critic_grad_norm", "critic_real", "critic_lr"} <= line.keys() for line in lines
               if line["pictures"] in seen)  # fmt: skip


@pytest.mark.parametrize("player", ["network", "critic"])
def test_killed_in_a_players_turn_it_goes_on_bit_for_bit(player, straight, tmp_path):
    cut = toy.trainer(tmp_path, *WORDS)
    losses = cut.stage.losses

    def dying(name, models, batch):
        if (name, cut.progress.pictures) == (player, 192):
            raise Killed
        return losses(name, models, batch)

    cut.stage.losses = dying
    with pytest.raises(Killed):
        cut.run()
    toy.trainer(tmp_path, *WORDS).run()
    same(newest(tmp_path), newest(straight))


def test_while_one_learns_the_other_receives_no_gradient(tmp_path):
    trainer = toy.trainer(tmp_path, *WORDS)
    networks = {name: each.network for name, each in trainer.stage.players.items()}
    losses, turns, received = trainer.stage.losses, [], []
    for name, network in networks.items():
        for parameter in network.parameters():
            parameter.register_hook(lambda _, owner=name: received.append((turns[-1], owner)))

    def noted(player, models, batch):
        other = networks["critic" if player == "network" else "network"]
        assert not any(each.requires_grad for each in other.parameters())
        assert all(each.requires_grad for each in networks[player].parameters())
        assert all(each.grad is None for each in other.parameters())
        turns.append(player)
        return losses(player, models, batch)

    trainer.stage.losses = noted
    shares = trainer._shares()
    for _ in range(3):
        trainer.step(next(shares), 0.0)
    assert turns == ["network", "network", "network", "critic"]  # it begins at 64 pictures
    assert set(received) == {("network", "network"), ("critic", "critic")}


def test_a_turn_that_is_not_finite_changes_nothing_of_its_own(tmp_path):
    trainer = toy.trainer(tmp_path, *WORDS)
    losses, shares = trainer.stage.losses, trainer._shares()
    for _ in range(2):
        trainer.step(next(shares), 0.0)
    before = {name: {k: v.clone() for k, v in each.network.state_dict().items()}
              for name, each in trainer.stage.players.items()}  # fmt: skip

    def spoiled(player, models, batch):
        if player == "critic":
            batch.noise.fill_(torch.nan)
            batch.image.fill_(255)
            found = losses(player, models, batch)
            return type(found)(found.loss * torch.nan, found.figures, found.sums)
        return losses(player, models, batch)

    trainer.stage.losses = spoiled
    trainer.step(next(shares), 0.0)
    assert (trainer.progress.skipped, trainer.progress.strikes) == (1, 1)
    for name, each in trainer.stage.players.items():
        equal = [torch.equal(v, before[name][k]) for k, v in each.network.state_dict().items()]
        assert all(equal) if name == "critic" else not any(equal), name


def test_what_losses_couple_is_never_split(tmp_path):
    with pytest.raises(UserError, match=r"32 is not divisible .* = 16 x 1 x 4 pictures"):
        toy.trainer(tmp_path, *WORDS, "accumulation=16").run()
    trainer = toy.trainer(tmp_path / "full", *WORDS)
    sizes, losses = [], trainer.stage.losses

    def full(player, models, batch):
        sizes.append(len(batch))
        if len(batch) > toy.GROUP:
            raise torch.OutOfMemoryError
        return losses(player, models, batch)

    trainer.stage.losses = full
    trainer.step(next(trainer._shares()), 0.0)
    assert sizes == [32, 16, 8, *[4] * 8]
    trainer.stage.losses = lambda *_: full("", {}, range(toy.GROUP + 1))
    with pytest.raises(UserError, match="does not suffice for 4 at a time"):
        trainer.step(next(trainer._shares()), 0.0)
