r"""Weights in prompts: "a (red:1.3) heart".

(word:1.3) counts 1.3 times, (word) 1.1 times, as in AUTOMATIC1111's and ComfyUI's prompts; nested
ones multiply. A backslash before one of ``\ ( ) { } | : _ # $`` takes the character for itself.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from dmtool.errors import UserError

EMPHASIS = 1.1
"""The weight of parentheses without a number."""

PIECE = re.compile(
    r"\\(?P<escaped>[\\(){}|:_#$])"
    r"|(?P<opened>\()"
    r"|:(?P<weight>[^\s():\\]*|\s*[-+.,\d]+\s*)\)"  # what follows a space is text: "(kiss: man)"
    r"|(?P<closed>\))"
    r"|(?P<plain>.)",
    re.DOTALL,
)


class Weighed(NamedTuple):
    """A prompt's plain text, and the weight of each of its characters."""

    text: str
    weights: list[float]


def weighed(prompt: str) -> Weighed:
    """What a prompt says, and how much; UserError for parentheses or numbers that are not in
    order."""
    text, weights, opened = "", list[float](), list[tuple[int, int]]()
    for piece in PIECE.finditer(prompt):
        plain = piece["escaped"] or piece["plain"]
        if plain:
            text, weights = text + plain, [*weights, 1.0]
        elif piece["opened"]:
            opened.append((len(text), piece.start()))
        elif not opened:
            raise _mistake(prompt, f"')' at character {piece.end()} closes nothing", r"\)")
        else:
            factor = EMPHASIS if piece["closed"] else _number(prompt, piece["weight"])
            start, _ = opened.pop()
            weights[start:] = [weight * factor for weight in weights[start:]]
    if opened:
        raise _mistake(prompt, f"'(' at character {opened[-1][1] + 1} is never closed", r"\(")
    return Weighed(text, weights)


def _number(prompt: str, word: str) -> float:
    try:
        weight = float(word)
    except ValueError:
        weight = -1.0
    if not 0 <= weight < math.inf:
        raise _mistake(prompt, f"the weight {word.strip()!r} is no number from 0 up", r"\:")
    return weight


def _mistake(prompt: str, what: str, literal: str) -> UserError:
    shown = ascii(prompt[:60])
    return UserError(
        f"the prompt {shown}: {what}; weights are (word:1.3), the character is {literal}"
    )
