"""The figures of `eval-align` as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dmtool.measure.alignment import clip_score
from dmtool.measure.alignment.composition import ASPECTS, WORDS
from dmtool.measure.measures import Figures
from dmtool.say import columns, counted

SETS = {
    "real": "real (ceiling)",
    "decoded": "real, decoded",
    "shuffled": "of other captions (chance)",
}
"""What stands beside the generated pictures, by the names of their figures."""


def text(result: dict[str, Any], name: str) -> str:
    """All figures of a result for the captions of `name`, with what is not there and why."""
    figures = result["figures"]
    shown = {key: each for key, each in figures.items() if not _of_a_word(key)}
    lines = [f"{counted(result['n_fake'], 'picture')} for the captions of {name}"]
    if "r@1" in figures["all"]:
        lines += _retrieval(shown, result["n_real"], result["extractor"]["name"])
    if result["clip"]:
        lines += _clip(shown, result["clip"])
    else:
        lines.append("no CLIP score: clip=DIR names a CLIP model as transformers saves it")
    if "composition" in figures["all"]:
        lines += _composition(shown)
    if "tasks" in figures["all"]:
        lines += _tasks(shown)
    return "\n".join([*lines, *(f"warning: {line}" for line in result["warnings"])])


def _retrieval(figures: Mapping[str, Figures], gallery: int, extractor: str) -> list[str]:
    table = [["captions", "N", "R@1", "R@10", "R@1 of the true pictures"]]
    for name, each in figures.items():
        if "r@1" in each:
            shares = (each["r@1"], each["r@10"], each["ceiling"]["r@1"])
            table.append([_words(name), str(each["n"]), *map(_share, shares)])
    title = f"the true picture among {gallery:,}, by the features of {extractor}; higher is better"
    return [title, *_indented(table)]


def _clip(figures: Mapping[str, Figures], model: dict[str, Any]) -> list[str]:
    chosen = {"generated": figures["all"]} | {n: figures[n] for n in SETS if n in figures}
    table = [["form", *(_words(name) for name in chosen)]]
    for form in clip_score.FORMS:
        values = (f"{each['clip'][form]:.4f}" for each in chosen.values())
        table.append([clip_score.label(form, model["architecture"]), *values])
    title = (
        f"CLIP score[{model['architecture']}, {model['name']}, sha256 {model['sha256'][:8]}]: "
        "other models' are not comparable"
    )
    return [title, *_indented(table)]


def _composition(figures: Mapping[str, Figures]) -> list[str]:
    keys = ("whole", *ASPECTS)
    table = [["captions", "N", *keys]]
    for name, each in figures.items():
        shares = (_share(each["composition"][key]) for key in keys)
        table.append([_words(name), str(each["n"]), *shares])
    title = "composition: the share of pictures that show it, by the judge; higher is better"
    return [title, *_indented(table)]


def _tasks(figures: Mapping[str, Figures]) -> list[str]:
    chosen = {name: each["tasks"] for name, each in figures.items() if "tasks" in each}
    table = [["task", *map(_words, chosen)]]
    for task in chosen["all"]:
        table.append([_words(task), *(_share(each[task]) for each in chosen.values())])
    each = figures["all"]["n"] // (len(chosen["all"]) - 1)  # one is their mean
    title = f"toy-compositional: tasks like GenEval's, {each:,} prompts each; higher is better"
    return [title, *_indented(table)]


def _of_a_word(group: str) -> bool:
    return group.partition("_")[0] in WORDS


def _indented(table: list[list[str]]) -> list[str]:
    return [f"  {line}" for line in columns(table)]


def _words(name: str) -> str:
    return SETS.get(name, name.replace("_", " "))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
