"""What tests of this folder share: a run of all three stages, and copies of it to be damaged."""

import shutil
from pathlib import Path

import pytest
import small_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """As small as it can be; see `small_run`."""
    root = tmp_path_factory.mktemp("made") / "run"
    small_run.train(root)
    return root


@pytest.fixture
def copy(run, tmp_path):
    """A run of its own to be damaged."""
    return Path(shutil.copytree(run, tmp_path / "run"))
