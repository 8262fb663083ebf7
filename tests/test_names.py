"""Every name of another library that dmtool uses is there in the version that is installed.

Lower bounds are tested by this as well (`make test-lowest`): what a GPU alone needs is looked up,
too.
"""

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import dmtool

ROOT = Path(dmtool.__file__).parent
LIBRARIES = ("torch", "numpy", "PIL", "safetensors", "psutil", "accelerate", "omegaconf", "hydra",
             "pydantic", "typer", "tqdm", "datasets", "transformers", "tokenizers")  # fmt: skip


def aliases(tree):
    """What a file calls modules and what it takes out of them: name -> object of the library."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                if each.name.partition(".")[0] in LIBRARIES:
                    module = import_module(each.name)
                    top = import_module(each.name.partition(".")[0])
                    found[each.asname or each.name.partition(".")[0]] = (
                        module if each.asname else top
                    )
        elif isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] in LIBRARIES:
            for each in node.names:
                found[each.asname or each.name] = taken(node.module, each.name)
    return found


def taken(module, name):
    """`from module import name`."""
    parent = import_module(module)
    return getattr(parent, name) if hasattr(parent, name) else import_module(f"{module}.{name}")


def chain(node):
    """torch.cuda.is_available -> ["torch", "cuda", "is_available"]; None if it begins otherwise."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute) and (before := chain(node.value)):
        return [*before, node.attr]
    return None


def missing(path):
    tree = ast.parse(path.read_text())
    modules = {k: v for k, v in aliases(tree).items() if type(v).__name__ == "module"}
    for node in ast.walk(tree):
        names = chain(node) if isinstance(node, ast.Attribute) else None
        if names and names[0] in modules:
            found = modules[names[0]]
            for i, name in enumerate(names[1:], start=2):
                if not hasattr(found, name):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}: {'.'.join(names[:i])}"
                    break
                found = getattr(found, name)
                if type(found).__name__ != "module":
                    break


def test_no_library_lacks_a_name_that_is_used():
    assert all(find_spec(name) for name in LIBRARIES)
    assert not [line for path in sorted(ROOT.rglob("*.py")) for line in missing(path)]


def test_a_missing_name_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("test_names.ROOT", tmp_path)
    file = tmp_path / "x.py"
    file.write_text("import torch\ntorch._foreach_mul_([], 2)\ntorch.cuda.no_such_name()\n")
    assert [*missing(file)] == ["x.py:3: torch.cuda.no_such_name"]
    file.write_text("def f():\n    from torch.nn import NoSuchLayer\n")
    with pytest.raises(ImportError):
        [*missing(file)]
