"""The floor plan: who may import whom, and what a bare `dmtool --help` may load."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import dmtool

ROOT = Path(dmtool.__file__).parent
FLOORS = [
    "say", "errors", "rng", "cond", "alive", "device", "processes", "config", "files", "draw",
    "runs", "data", "nn", "losses", "text", "codecs", "diffusion", "upsamplers", "generators",
    "chain", "measure", "train", "look", "cli", "__main__",
]  # fmt: skip
"""Each imports of those before it alone, so that nothing is reached but what lies below."""

WITHIN = [  # (parts, all of dmtool that they may import)
    ("nn", "dmtool.nn"),
    ("losses", "dmtool.losses"),
    ("diffusion/noise", "dmtool.diffusion.noise"),
    ("measure/distances/frechet", ""),
    ("config", "dmtool.config dmtool.errors"),
    ("diffusion/weighting", "dmtool.diffusion.denoise dmtool.config"),
    (
        "diffusion/denoise",
        "dmtool.diffusion.noise dmtool.cond dmtool.device dmtool.errors dmtool.nn.precision",
    ),
    (
        "diffusion/likelihood",
        "dmtool.diffusion.likelihood dmtool.diffusion.noise dmtool.diffusion.denoise dmtool.cond "
        "dmtool.device",
    ),
    (
        "diffusion/guidance",
        "dmtool.diffusion.guidance dmtool.diffusion.noise dmtool.diffusion.denoise dmtool.cond "
        "dmtool.nn.precision",
    ),
    (
        "diffusion/samplers",
        "dmtool.diffusion.samplers dmtool.diffusion.noise dmtool.diffusion.denoise dmtool.cond "
        "dmtool.errors dmtool.rng dmtool.device",
    ),
    ("draw/plot", "dmtool.errors"),
    ("chain/prompts", "dmtool.errors dmtool.rng dmtool.chain.templates"),
    ("chain/templates", "dmtool.errors"),
    ("measure/distances", "dmtool.measure.distances"),
]


def modules():
    """All modules by their full name."""
    for path in ROOT.rglob("*.py"):
        parts = ("dmtool", *path.relative_to(ROOT).with_suffix("").parts)
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


PATHS = dict(modules())


def imported(path):
    """The full names of dmtool's modules that a file imports, at its top or within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("dmtool") for alias in node.names), path
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module.split(".")[0] == "dmtool":
                for name in (f"{node.module}.{alias.name}" for alias in node.names):
                    yield name if name in PATHS else node.module


def floor(module):
    return FLOORS.index(module.split(".")[1])


def within(name, packages):
    return any(name == each or name.startswith(f"{each}.") for each in packages.split())


def test_what_is_imported_lies_below():
    wrong = [
        f"{module} imports {name}"
        for module, path in PATHS.items()
        if module != "dmtool"
        for name in imported(path)
        if floor(name) > floor(module)
    ]
    assert not wrong


@pytest.mark.parametrize(("part", "allowed"), WITHIN)
def test_parts_that_stand_alone(part, allowed):
    single = ROOT / f"{part}.py"
    files = [single] if single.is_file() else list((ROOT / part).rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported(path)
        if not within(name, allowed)
    ]
    assert not wrong


@pytest.mark.parametrize(("part", "heavy"), [
    ("dmtool.cli", "torch hydra datasets transformers numpy PIL"),
    ("dmtool.look.watch.live", "torch datasets transformers"),
    ("dmtool.diffusion.samplers", "pydantic hydra"),
    ("dmtool.diffusion.guidance", "pydantic hydra"),
])  # fmt: skip
def test_what_is_not_loaded_with_it(part, heavy):
    code = f"import sys, {part}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert part in loaded and not loaded & set(heavy.split())


SAID_TWICE = {"Bound", "Recovery", "Shards", "Step", "UNet", "Wandb"}
"""The config's schema and what is built of it, and words of two fields."""


def test_a_class_name_has_one_meaning():
    trees = (ast.parse(path.read_text()) for path in PATHS.values())
    classes = (node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    counts = Counter(node.name for node in classes)
    assert {name for name, count in counts.items() if count > 1} <= SAID_TWICE
