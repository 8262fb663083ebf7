"""What the tests share: a cache of their own, and the command line as a user calls it."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}


LONGEST = ["test_chain", "test_resume", "test_kill", "test_launch", "test_together", "test_kinds",
           "test_plan", "test_fuzz"]  # fmt: skip


def pytest_collection_modifyitems(items):
    """The longest modules come first, so that the processes end together."""
    places = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """No test reads or fills the user's cache."""
    path = tmp_path_factory.mktemp("cache")
    os.environ["DMTOOL_CACHE"] = str(path)
    os.environ.update(ENVIRONMENT)
    return path


@pytest.fixture(scope="session")
def dmtool():
    """`dmtool(*words, cwd=...)` as a process of its own; fails unless it exits with `code`."""

    def call(*words: object, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dmtool", *map(str, words)]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    return call


@pytest.fixture
def silent():
    """Warnings of repairs are not kept, and the program's lines not shown."""
    program = logging.getLogger("dmtool")
    before = program.level
    program.setLevel(logging.CRITICAL)
    yield
    program.setLevel(before)
