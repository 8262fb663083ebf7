"""How a set of pictures differs from one that was there before, in words."""

from __future__ import annotations

from collections.abc import Sequence

from dmtool.data import store
from dmtool.data.store import Source

SHOWN = 3
"""Pictures that are named."""


def told(before: str, count: int | None, now: Source) -> str:
    """What became of the set of `count` pictures with the fingerprint `before`.

    Which pictures came, went or changed, if the cache still holds what they were; else how many
    there are.
    """
    then = store.known(before)
    if then is None:
        return f"{'some' if count is None else f'{count:,}'} then, {len(now.dataset):,} now"
    old, new = set(then.keys), set(now.keys)
    added = [key for key in now.keys if key not in old]
    removed = [key for key in then.keys if key not in new]
    changed = [] if added or removed else _changed(then, now)
    parts = {"added": added, "removed": removed, "changed": changed}
    found = [f"{len(keys):,} {what}: {_named(keys)}" for what, keys in parts.items() if keys]
    return ", ".join(found) or "the same, in other splits"


def _changed(then: Source, now: Source) -> list[str]:
    """Those whose file or captions are others."""
    old = dict(store.digests(then))
    return [key for key, digest in store.digests(now) if old[key] != digest]


def _named(keys: Sequence[str]) -> str:
    return ", ".join(keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")
