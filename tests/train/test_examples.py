"""Which example is seen when: on any number of processes, from any start, the same."""

from dataclasses import dataclass
from itertools import islice

import pytest
import torch

from dmtool.config.noise import LogitNormalTimes, LogNormalTimes, ModeTimes, UniformTimes
from dmtool.data.batches import in_order
from dmtool.diffusion.noise import schedule
from dmtool.train.batch import Batch
from dmtool.train.examples import normals, uniforms
from dmtool.train.feed import Positions, Shuffled, batches, place
from dmtool.train.stages.process import draw_times

BATCH, SEED = 12, 3


@dataclass(frozen=True, eq=False)
class RowsBatch(Batch):
    places: torch.Tensor
    noise: torch.Tensor


class Rows:
    """Batches that say where they come from."""

    def __len__(self):
        return 50

    def batch(self, places):
        return RowsBatch(torch.tensor(places), normals(SEED, "eps", places, (2,)))


def placed(size, start, micro, rank, world):
    for numbers in Positions(start, micro, rank, world):
        yield [place(k, size, SEED) for k in numbers]


def steps(count, start=0, world=1, accumulation=1, size=50):
    """The sorted places of each global step."""
    micro = BATCH // world // accumulation
    streams = [placed(size, start, micro, rank, world) for rank in range(world)]
    return [
        sorted(p for s in streams for part in islice(s, accumulation) for p in part)
        for _ in range(count)
    ]


@pytest.mark.parametrize("size", [5, 12, 50])
@pytest.mark.parametrize("start", [0, 12, 600])
@pytest.mark.parametrize(("world", "accumulation"), [(2, 1), (1, 3), (2, 2), (3, 4)])
def test_a_global_step_is_the_same_however_it_is_split(world, accumulation, start, size):
    expected = steps(9, start, size=size)
    assert steps(9, start, world, accumulation, size) == expected
    numbers = [k for step in expected for k, _ in step]
    assert numbers == list(range(start, start + 9 * BATCH))


def test_micro_batches_of_all_processes_are_disjoint():
    streams = [iter(Positions(0, 3, rank, 2)) for rank in range(2)]
    seen = [k for _ in range(5) for stream in streams for k in next(stream)]
    assert seen == list(range(30))


def test_going_on_sees_what_would_have_been_seen():
    whole = steps(10)
    for done in (1, 4, 7):
        assert steps(10 - done, start=done * BATCH) == whole[done:]


@pytest.mark.parametrize("size", [1, 5, 50])
def test_each_epoch_is_a_permutation_of_its_own(size):
    epochs = [[place(e * size + i, size, SEED)[1] for i in range(size)] for e in range(4)]
    assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
    assert size < 50 or len({tuple(epoch) for epoch in epochs}) == 4
    assert size < 50 or epochs[0] != [place(i, size, SEED + 1)[1] for i in range(size)]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_stream_is_in_order_with_any_number_of_workers(workers):
    stream = batches(Shuffled(Rows(), SEED), Positions(24, 4, 0, 1), workers, pin=False)
    for batch, places in islice(zip(stream, placed(50, 24, 4, 0, 1), strict=False), 15):
        assert batch.places.tolist() == [list(p) for p in places]
        assert torch.equal(batch.noise, normals(SEED, "eps", places, (2,)))


def test_random_numbers_belong_to_the_example():
    places = [(k, 0) for k in range(400)]
    for draw in (uniforms, lambda seed, purpose, p, n: normals(seed, purpose, p, (n,))):
        whole = draw(SEED, "a", places, 3)
        assert torch.equal(torch.cat([draw(SEED, "a", [p], 3) for p in places]), whole)
        assert whole.unique().numel() == whole.numel()
        for other in (draw(SEED, "b", places, 3), draw(SEED + 1, "a", places, 3)):
            assert abs(torch.corrcoef(torch.stack([whole.flatten(), other.flatten()]))[0, 1]) < 0.1
    uniform = uniforms(SEED, "a", places, 3)
    assert uniform.min() >= 0 and uniform.max() < 1 and abs(uniform.mean() - 0.5) < 0.05


@pytest.mark.parametrize(
    ("config", "inverse"),
    [
        (UniformTimes(kind="uniform", stratified=True), lambda t: t),
        (
            LogitNormalTimes(kind="logit_normal", mean=0.0, std=1.0, stratified=True),
            lambda t: torch.special.ndtr(torch.logit(t)),
        ),
        (
            LogNormalTimes(kind="log_normal", mean=0.5, std=2.0, stratified=True),
            lambda t: torch.special.ndtr((torch.logit(t) - 0.5) / 2),  # a flow's ln sigma / alpha
        ),
        (ModeTimes(kind="mode", scale=0.0, stratified=True), lambda t: t),
    ],
)
def test_times_are_stratified_over_the_global_batch_however_it_is_split(config, inverse):
    flow = schedule("flow")
    for step in steps(5, start=600):
        uniform = uniforms(SEED, "t", step, 1)[:, 0]
        whole = draw_times(config, flow, uniform, step, BATCH)
        shares = [draw_times(config, flow, uniform[i::3], step[i::3], BATCH) for i in range(3)]
        assert torch.equal(torch.stack(shares, 1).flatten(), whole)
        assert (inverse(whole) * BATCH).floor().sort().values.tolist() == list(range(BATCH))


@pytest.mark.parametrize(("count", "rows"), [(None, range(10)), (4, [0, 2, 5, 7]), (99, range(10))])
def test_in_order_visits_evenly_spaced_rows(count, rows):
    class Pictures:
        def __len__(self):
            return 10

        def __getitem__(self, index):
            assert index[0] == index[1]
            return {"image": torch.full((3, 2, 2), index[1], dtype=torch.uint8)}

    found = list(in_order(Pictures(), 3, count))
    assert [row for chunk, _ in found for row in chunk] == list(rows)
    assert all(images[:, 0, 0, 0].tolist() == chunk for chunk, images in found)
    assert max(len(chunk) for chunk, _ in found) == 3
