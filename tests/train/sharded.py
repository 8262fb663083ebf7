"""A small training in float64 on any number of processes, for the tests of sharded ones."""

import socket
from functools import partial

import torch
import torch.distributed as dist
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.distributed.device_mesh import init_device_mesh

from dmtool.cond import Cond
from dmtool.config.cadence import Keep
from dmtool.diffusion.network import NoisePredictor
from dmtool.nn.text import TextTransformer
from dmtool.nn.unet import UNet
from dmtool.train.ema import Ema, Power
from dmtool.train.progress import Progress
from dmtool.train.shard import gathered, shard, whole
from dmtool.train.state import Learner, State
from dmtool.train.team import Team

BATCH, PARTS = 8, 2
KEEP = Keep(last=9, every=None, best=None)
CLIP = 0.01


def network():
    """A noise predictor with a text encoder; some tensors have fewer rows than processes."""
    torch.manual_seed(0)
    unet = UNet(
        channels=3, patch=1, widths=[8, 8], blocks=[1, 1], depths=[0, 1], middle_depth=0, heads=2,
        groups=4, modulation="add", text_dim=8, pooled_dim=8, text_width=None, dropout=0.0,
        gate="gelu", images={}, levels=[], residual=None,
    )  # fmt: skip
    made = NoisePredictor(unet, TextTransformer(11, 8, 1, 2, 5)).double()
    for parameter in made.parameters():  # no branch begins as nothing
        nn.init.normal_(parameter, std=0.2)
    return made


def start():
    """The state at the beginning, in shards if there is a process group; the network to call."""
    made, team = network(), None
    if dist.is_initialized():
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        made = shard(made, mesh, torch.float64, reshard=True)
        team = Team(dist.new_group(backend="gloo"))
    average = Ema(made, Power(0.1), [0.05])
    weights, vectors = (
        [p for p in made.parameters() if (p.dim() > 1) is big] for big in (True, False)
    )
    optimizers = [torch.optim.AdamW(part, lr=1e-3, fused=True) for part in (weights, vectors)]
    learner = Learner(made, optimizers, average)
    return State({"network": learner}, GradScaler("cpu"), Progress(), team)


def train(state, until, folder=None):
    """Up to so many pictures, each process on its share of each batch; save then into `folder`."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if state.team else (0, 1)
    parameters, progress = list(state.main.network.parameters()), state.progress
    while progress.pictures < until:
        batch = examples(progress.pictures)
        shares = [share.chunk(world)[rank] for share in torch.arange(BATCH).chunk(PARTS)]
        for i, rows in enumerate(shares):
            if state.team:
                state.main.network.set_requires_gradient_sync(i == PARTS - 1)
            share = {name: x[rows] for name, x in batch.items()}
            (loss(state.main.network, share) / PARTS).backward()
        norm = gathered(nn.utils.clip_grad_norm_(parameters, CLIP, foreach=True))
        assert norm > 10 * CLIP
        for optimizer in state.main.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        progress.pictures += BATCH
        state.main.ema.update(BATCH, progress.pictures)
    if folder:
        state.copy().write(folder, KEEP)


def examples(pictures):
    generator = torch.Generator().manual_seed(pictures)
    normal = partial(torch.randn, generator=generator, dtype=torch.float64)
    ids = torch.randint(11, (BATCH, 5), generator=generator)
    return {"x": normal(BATCH, 3, 4, 4), "y": normal(BATCH, 3, 4, 4), "ids": ids,
            "level": normal(BATCH)}  # fmt: skip


def loss(model, batch):
    cond = Cond(states=batch["ids"], mask=torch.ones_like(batch["ids"], dtype=torch.bool))
    return (model(batch["x"], batch["level"], cond) - batch["y"]).square().mean()


def content(state):
    """All tensors of a state, whole, by file and name."""
    made = {"model": state.main.network.state_dict(), "ema": state.main.ema.state()}
    for i, optimizer in enumerate(state.main.optimizers):
        for j, values in optimizer.state_dict()["state"].items():
            made[f"optimizer {i} {j}"] = values
    return {
        f"{file} {name}": tensor.clone()
        for file, tensors in made.items()
        for name, tensor in whole(tensors, keep=True).items()
    }


def run(act, world):
    """Do `act(rank)` in so many connected processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_process, (act, world, port), nprocs=world)


def _process(rank, act, world, port):
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=world)
    act(rank)
    dist.destroy_process_group()
