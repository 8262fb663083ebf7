"""A cache of its own for every test session, and configs made from the files in conf/."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from dmtool.config.parts import Data, EmojiData, FolderData, ShapesData
from dmtool.config.validation import conf_dir, validate

SCHEMAS = {"emoji": EmojiData, "folder": FolderData, "shapes": ShapesData}


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DMTOOL_CACHE", str(path))
        yield path


@pytest.fixture(scope="session")
def config() -> Callable[..., Data]:
    def make(kind: str, **overrides: Any) -> Data:
        files = [OmegaConf.load(conf_dir() / "data" / f"{name}.yaml") for name in ("_common", kind)]
        values = OmegaConf.merge(*files, overrides)
        del values["defaults"]
        return validate(values, SCHEMAS[kind])

    return make
