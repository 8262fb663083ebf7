"""Sharding without the machines: what is wrapped, what it weighs, and what is refused."""

from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.testing._internal.distributed.fake_pg import FakeStore

from dmtool.config.compose import composed
from dmtool.config.stages import TrainVae
from dmtool.config.validation import container, validate
from dmtool.errors import UserError
from dmtool.nn.layers import ResBlock
from dmtool.nn.unet import Block, Transformer, UNet
from dmtool.train import parallel
from dmtool.train.ema import Ema, Power
from dmtool.train.player import Player
from dmtool.train.shard import local, shard

RANKS, MIB = 8, 2**20


@pytest.fixture
def mesh():
    """Eight processes, of which this is the first; nothing is sent."""
    dist.init_process_group("fake", rank=0, world_size=RANKS, store=FakeStore())
    yield init_device_mesh("cpu", (RANKS,))
    dist.destroy_process_group()


@pytest.fixture
def network():
    """Stable Diffusion 1.x's noise predictor, without memory."""
    chosen = container(composed("train_unet", ["unet=sd1"]))["unet"]
    del chosen["kind"], chosen["pooled"]
    with torch.device("meta"):
        return UNet(**chosen, channels=4, text_dim=768, pooled_dim=None, images={}, levels=[],
                    residual=None)  # fmt: skip


def size(tensors):
    return sum(local(tensor).nbytes for tensor in tensors)


def own(module):
    """Parameters that are gathered with this module, and not with one inside it."""
    inner = {
        id(parameter)
        for other in module.modules()
        if isinstance(other, FSDPModule) and other is not module
        for parameter in other.parameters()
    }
    return sum(p.numel() for p in module.parameters() if id(p) not in inner)


def test_a_process_of_eight_holds_an_eighth_of_stable_diffusion(mesh, network):
    shapes = [parameter.shape for parameter in network.parameters()]
    total = sum(shape.numel() for shape in shapes)
    assert total == 859_520_964
    ours = sum(-(-shape[0] // RANKS) * shape[1:].numel() for shape in shapes)  # rank 0 rounds up
    assert total / RANKS <= ours < 1.0001 * total / RANKS + 8 * len(shapes)

    shard(network, mesh, torch.bfloat16, reshard=True)
    parameters = list(network.parameters())
    assert size(parameters) == 4 * ours  # float32, whatever they are computed in
    optimizer = torch.optim.AdamW(parameters)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert size(parameter.grad for parameter in parameters) == 4 * ours
    states = [optimizer.state[parameter] for parameter in parameters]
    assert size(state[name] for state in states for name in ("exp_avg", "exp_avg_sq")) == 8 * ours
    averages = Ema(network, Power(0.1), [0.05]).averages
    assert size(tensor for each in averages.values() for tensor in each.values()) == 8 * ours
    everything = 4 * (2 + 2 + 2) * total / MIB
    assert everything == pytest.approx(19_673, abs=1) and everything / RANKS < 2460


def test_each_block_is_gathered_on_its_own_and_little_stays(mesh, network):
    shard(network, mesh, torch.bfloat16, reshard=True)
    wrapped = [module for module in network.modules() if isinstance(module, FSDPModule)]
    count = {
        kind: sum(isinstance(module, kind) for module in wrapped)
        for kind in (ResBlock, Block, Transformer)
    }
    assert count == {ResBlock: 22, Block: 16, Transformer: 16}
    assert len(wrapped) == 22 + 16 + 16 + 3 + 1  # upsamplings, and the rest
    units = {module: own(module) for module in wrapped}
    ends = (4 * 320 * 9 + 320) + 2 * 320 + (320 * 4 * 9 + 4)
    embedding = (320 * 1280 + 1280) + (1280 * 1280 + 1280)
    strides = sum(width * width * 9 + width for width in (320, 640, 1280))
    assert units[network] == ends + embedding + strides
    assert sum(units.values()) == 859_520_964
    widest = (2560 + 1280) * 1280 * 9 + 1280 * 1280 + 2560 * 1280 + 2 * 2560 + 6 * 1280
    assert max(units.values()) == widest


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "for ZeRO-3 type accelerate launch --config_file"),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}, "set fsdp_version: 2"),
        (
            {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"},
            "fsdp_offload_params is not supported",
        ),
    ],
)
def test_other_engines_are_refused_in_one_line(monkeypatch, told, said):
    parallel.refuse_other_engines()
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=said) as refused:
        parallel.refuse_other_engines()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "word", ["optim=adam8bit", "compute.compile=true", "compute.channels_last=true"]
)
def test_what_shards_do_not_do_is_refused(word):
    config = validate(composed("train_vae", ["parallel=fsdp2", word]), TrainVae)
    several = SimpleNamespace(num_processes=2)
    players = {"network": Player(torch.nn.Linear(2, 2), config.optim, config.ema)}
    with pytest.raises(UserError, match=f"{word.partition('=')[0]}.* parallel=ddp"):
        parallel.build(config, players, several, torch.float32)
