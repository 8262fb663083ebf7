"""The directions of DESIGN: who may import whom, and what a bare `dmtool --help` may load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dmtool

ROOT = Path(dmtool.__file__).parent
FORBIDDEN = [  # (modules, what they may not import, but for)
    ("nn", "dmtool", "dmtool.nn"),
    ("noise", "dmtool", "dmtool.noise"),
    ("evaluate/frechet", "dmtool", "-"),
    ("errors", "dmtool", "dmtool.say"),
    ("schemas", "dmtool", "dmtool.schemas"),
    ("denoise", "dmtool", "dmtool.noise dmtool.cond dmtool.device dmtool.errors"),
    (
        "likelihood",
        "dmtool",
        "dmtool.likelihood dmtool.noise dmtool.cond dmtool.denoise dmtool.device",
    ),
    (
        "guidance",
        "dmtool",
        "dmtool.guidance dmtool.noise dmtool.cond dmtool.denoise dmtool.schemas dmtool.errors",
    ),
    ("weighting", "dmtool", "dmtool.denoise dmtool.schemas"),
    ("plot", "dmtool", "dmtool.errors"),
    ("prompts", "dmtool", "dmtool.errors dmtool.rng dmtool.templates"),
    ("templates", "dmtool", "dmtool.errors"),
    (
        "weighted",
        "dmtool",
        "dmtool.blend dmtool.cond dmtool.denoise dmtool.network dmtool.pipeline dmtool.request "
        "dmtool.text",
    ),
    ("samplers", "dmtool.pipeline dmtool.train dmtool.guidance dmtool.nn dmtool.network", "-"),
    ("latents", "dmtool.pipeline dmtool.train dmtool.data", "-"),
    ("pipeline", "dmtool.train dmtool.evaluate dmtool.tune dmtool.defaults", "-"),
    ("tune", "dmtool.train dmtool.cli dmtool.tasks", "-"),
    ("defaults", "dmtool.train dmtool.pipeline dmtool.evaluate dmtool.samplers", "-"),
    ("data", "dmtool.train dmtool.pipeline dmtool.nn dmtool.text dmtool.evaluate", "-"),
    ("text", "dmtool.train dmtool.pipeline dmtool.data dmtool.evaluate", "-"),
    ("evaluate", "dmtool.train", "-"),
    ("evaluate/extractors", "dmtool.pipeline dmtool.data", "-"),
    ("train", "dmtool.cli dmtool.tasks dmtool.hydra_main", "-"),
]


def imported(path):
    """The full names that a file imports, at its top or within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name, packages):
    return any(name == each or name.startswith(f"{each}.") for each in packages.split())


@pytest.mark.parametrize(("part", "banned", "allowed"), FORBIDDEN)
def test_directions(part, banned, allowed):
    single = ROOT / f"{part}.py"
    files = [single] if single.is_file() else list((ROOT / part).rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported(path)
        if within(name, banned) and not within(name, allowed)
    ]
    assert not wrong


def test_only_the_entry_imports_the_command_line():
    users = [
        path.name
        for path in ROOT.rglob("*.py")
        if path.parent.name != "cli" and any(within(n, "dmtool.cli") for n in imported(path))
    ]
    assert users == ["__main__.py"]


@pytest.mark.parametrize(("part", "heavy"), [
    ("dmtool.cli", "torch hydra datasets transformers numpy PIL"),
    ("dmtool.watch.live", "torch datasets transformers"),
])  # fmt: skip
def test_what_answers_at_once_has_no_heavy_imports(part, heavy):
    code = f"import sys, {part}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert part in loaded and not loaded & set(heavy.split())
