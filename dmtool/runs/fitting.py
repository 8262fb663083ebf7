"""Networks that are built for weights in a file: of its very shapes, or not at all.

A card says how large a network is, and may say anything. So the network is built without memory
first, and compared with the shapes in the file's header; only then for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from dmtool.errors import UserError
from dmtool.runs import Artifact

M = TypeVar("M", bound=nn.Module)

Shapes = Mapping[str, tuple[int, ...]]


class Larger(Exception):
    """A network has more weights than there are."""


BUILT_WRONG = (
    Larger, RuntimeError, ValueError, TypeError, KeyError, AttributeError, OverflowError,
    MemoryError,
)  # fmt: skip
"""What building a network of arguments that are none raises."""


def loaded(artifact: Artifact, build: Callable[[], M]) -> M:
    """What `build` makes, with the artifact's weights; UserError if they are of another network."""
    reason = mismatch(build, artifact.shapes())
    if reason:
        raise UserError(
            f"{artifact.path}: card.json describes another network than model.safetensors holds: "
            f"{reason}"
        )
    weights = artifact.tensors()
    network = build()
    network.load_state_dict(weights)
    return network


def mismatch(build: Callable[[], nn.Module], shapes: Shapes) -> str | None:
    """In what a network's weights differ from `shapes`, if they do; takes no memory to speak of."""
    try:
        with torch.device("meta"), at_most(len(shapes)):
            made = build().state_dict()
    except Larger:
        return f"it has more than {len(shapes)} weights"
    except BUILT_WRONG as error:
        return f"it cannot be built ({' '.join(str(error).split())[:200]})"
    return difference(made, shapes)


def difference(weights: Mapping[str, Tensor], shapes: Shapes) -> str | None:
    """The first weight that is not of the shape that it has among others, in words."""
    made = {name: tuple(weight.shape) for name, weight in weights.items()}
    for name in sorted(made.keys() | shapes.keys()):
        one, two = made.get(name), shapes.get(name)
        if one != two:
            return f"{name} is {_shown(one)} in the one, {_shown(two)} in the other"
    return None


@contextmanager
def at_most(count: int) -> Iterator[None]:
    """Within it a network ends with Larger at its next parameter after so many."""
    names: list[str] = []

    def register(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        names.append(name)
        if len(names) > count:
            raise Larger

    handle = register_module_parameter_registration_hook(register)
    try:
        yield
    finally:
        handle.remove()


def _shown(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else str(list(shape))
