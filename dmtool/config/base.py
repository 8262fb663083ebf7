"""Words that all schemas are written in."""

from __future__ import annotations

import os
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field

Count = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Several = Annotated[int, Field(ge=10)]
"""Enough pictures for each measure of all pairs."""
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Channel = Annotated[int, Field(ge=0, le=255)]
OneOf = Field(discriminator="kind")
From = Field(alias="from")  # a word that Python keeps for itself
Listed = BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
"""One word may stand for a list of it."""


def _text(value: Any) -> Any:
    """A whole number in a file of YAML is a name, too."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[str, BeforeValidator(_text)]
"""A name or a prompt, which may be of digits."""

Location = Annotated[Name, AfterValidator(os.path.expanduser)]
"""A path, or a name that may stand in its place: `~` is the user's home."""


def _in_its_folder(name: str) -> str:
    if name in ("", ".", "..") or "/" in name:
        raise ValueError(f"{name!r} is no name of an artifact: it holds no '/'")
    return name


ArtifactName = Annotated[Name, AfterValidator(_in_its_folder)]
"""Of a folder in a stage's `artifacts`."""


def by_group(group: str) -> BeforeValidator:
    """Of a part that is a config group: a word in its place is told how groups are chosen."""

    def refuse(value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(f"it is a config group: say {group}={value}")
        return value

    return BeforeValidator(refuse)


class Schema:
    """Base of all schemas: an unknown key is an error."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
