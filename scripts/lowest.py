"""The lowest versions that pyproject.toml allows, one `name==version` a line, for pip.

    python scripts/lowest.py

All dependencies, those of extras included.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path


def lowest(project: dict) -> list[str]:
    """`name>=1.2` as `name==1.2`, which is 1.2.0 as well; what has no bound as it is."""
    extras = project["optional-dependencies"].values()
    declared = [*project["dependencies"], *(each for extra in extras for each in extra)]
    return [re.sub(r"^([\w-]+)>=([\d.]+)$", r"\1==\2", each) for each in dict.fromkeys(declared)]


if __name__ == "__main__":
    file = Path(__file__).parent.parent / "pyproject.toml"
    print("\n".join(lowest(tomllib.loads(file.read_text())["project"])))
