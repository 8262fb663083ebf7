"""The arithmetic of a run's length, against counts by hand and the loop's own decisions."""

from dataclasses import replace

import pytest

from dmtool.config.cadence import Limit
from dmtool.look.plan import forecast
from dmtool.look.plan.forecast import Costs, FileSizes
from dmtool.look.plan.loading import Loading

COSTS = Costs(step=1.0, validate=10.0, preview=100.0, snapshot=1e3, save=1e4, last_save=2e4)


WORDS = ["every.validate=20", "every.preview=30", "every.checkpoint=40", "every.snapshot=25",
         "batch_size=10", "limit.pictures=85"]  # fmt: skip


@pytest.fixture
def ten(config):
    """Nine steps of ten pictures."""
    return config(*WORDS)


@pytest.fixture
def best(config):
    """The same, with the best by a figure kept."""
    return config(*WORDS, "keep.best=val_psnr")


def free(seen):
    return 0.0


def test_the_occasions_of_a_run_by_hand(ten):
    assert forecast.length(ten, COSTS, free) == 9
    happens = forecast.calendar(ten, 9)
    assert happens.validations == [2, 4, 6, 8, 9]
    assert happens.previews == [3, 6, 9]
    assert happens.snapshots == [3, 5, 8, 9]
    assert happens.saves == [4, 8, 9]
    # 9 steps, 5 validations, 3 previews, 4 snapshots, 2 saves on the way and the last
    assert forecast.whole(ten, COSTS, free, 9) == 9 + 50 + 300 + 4000 + 20_000 + 20_000


def test_the_best_may_be_saved_at_each_validation(best):
    happens = forecast.calendar(best, 9)
    assert happens.saves == [2, 4, 6, 8, 9]


@pytest.mark.parametrize("every", [1, 7, 10, 16, 25, 40])
def test_occasions_are_when_the_loop_has_them(every):
    seen = [10 * step for step in range(1, 30)]
    loop = {n // 10 for n in seen if n // every > (n - 10) // every}
    assert forecast.crossed(every, 10, 29) == loop


def test_a_limit_of_minutes_counts_what_happens_on_the_way(ten):
    """Steps of 1 s and validations of 10 s after every second: 10, 20 pictures at 1, 2 s, ..."""
    only = replace(COSTS, preview=0.0, snapshot=0.0, save=0.0)

    def steps(seconds):
        limit = Limit(pictures=None, minutes=seconds / 60)
        return forecast.length(replace(ten, limit=limit), only, free)

    # steps end at 1, 2 (+10), 13, 14 (+10), 25, 26 (+10), 37
    assert [steps(s) for s in (0.5, 1.5, 2, 2.5, 13, 25.5, 36.9, 37.1)] == [1, 2, 2, 3, 3, 6, 7, 8]
    both = replace(ten, limit=Limit(pictures=20, minutes=1.0))
    assert forecast.length(both, only, free) == 2, "whichever comes first"


def test_pictures_that_memory_holds_are_decoded_once():
    half = Loading(rows=[0, 1], pictures=100, decode=2.0, share=0.5, remembered=1000)
    assert half.seconds(60) == 2 * (30 + 30)
    assert half.seconds(1000) == 2 * (50 + 500)
    assert half.memory(1000) == 980 and half.memory(2) == 0


def test_what_is_on_the_disk_in_the_end(ten, best):
    sizes = FileSizes(checkpoint=1000, artifact=100, snapshot=10, preview=1)
    written = forecast.disk(ten, sizes, 9)
    # checkpoints of 80 and 90 pictures; one moment in each 25: 30, 50, 80, and the newest, 90
    assert written == {"checkpoints": 2000, "artifacts": 100, "snapshots": 40, "previews": 3}
    kept = forecast.disk(best, sizes, 9)
    assert kept["checkpoints"] == 3000 and kept["artifacts"] == 200
