"""The figures of `eval-align` as tables for the terminal."""

from __future__ import annotations

from typing import Any

from dmtool.evaluate import clip_score
from dmtool.evaluate.composition import ASPECTS
from dmtool.table import columns

ROWS = {
    "generated": "generated",
    "real": "real (ceiling)",
    "shuffled": "of other captions (chance)",
}


def text(result: dict[str, Any]) -> str:
    """All figures of a result, with what is not there and why."""
    protocol, figures = result["protocol"], result["figures"]
    what = (
        f"of the split {protocol['split']!r}" if "split" in protocol else f"in {protocol['fake']}"
    )
    lines = [f"{result['n']} pictures for captions {what}"]
    if "retrieval" in figures:
        lines += _retrieval(figures["retrieval"], result["extractor"]["kind"])
    if "clip" in figures:
        lines += _clip(figures["clip"], result["clip"])
    else:
        lines.append("no CLIP score: clip=DIR names a CLIP model as transformers saves it")
    if "composition" in figures:
        lines += _composition(figures["composition"])
    return "\n".join(lines)


def _retrieval(figures: dict[str, Any], extractor: str) -> list[str]:
    table = [["captions", "N", "R@1", "R@10", "R@1 of the true pictures"]]
    for name, each in figures.items():
        if name != "gallery":
            shares = (each["r@1"], each["r@10"], each["ceiling"]["r@1"])
            table.append([_words(name), str(each["n"]), *map(_share, shares)])
    title = f"the true picture among {figures['gallery']:,}, by {extractor}; higher is better"
    return [title, *_indented(table)]


def _clip(figures: dict[str, Any], model: dict[str, Any]) -> list[str]:
    table = [["form", *(ROWS[name] for name in figures)]]
    for form in clip_score.FORMS:
        values = (f"{each[form]:.4f}" for each in figures.values())
        table.append([clip_score.label(form, model["architecture"]), *values])
    title = (
        f"CLIP score[{model['architecture']}, {model['name']}, sha256 {model['sha256'][:8]}]: "
        "other models' are not comparable"
    )
    return [title, *_indented(table)]


def _composition(figures: dict[str, Any]) -> list[str]:
    table = [["captions", "N", "whole", *ASPECTS]]
    generated = figures["generated"]["captions"]
    rows = {_words(name): each for name, each in generated.items()}
    rows |= {ROWS[n]: each["captions"]["all"] for n, each in figures.items() if n != "generated"}
    for name, each in rows.items():
        table.append([name, str(each["n"]), *(_share(each[key]) for key in ("whole", *ASPECTS))])
    title = "composition: the share of pictures that show it, by the judge; higher is better"
    lines = [title, *_indented(table)]
    return lines + (_tasks(figures) if "tasks" in figures["generated"] else [])


def _tasks(figures: dict[str, Any]) -> list[str]:
    generated = figures["generated"]["tasks"]
    groups = list(generated["mean_of_tasks"])
    others = [name for name in figures if name != "generated"]
    table = [["task", "N", *map(_words, groups), *(ROWS[name] for name in others)]]
    for task, each in generated.items():
        shares = [each[group]["accuracy"] for group in groups]
        shares += [figures[name]["tasks"][task]["all"]["accuracy"] for name in others]
        table.append([_words(task), str(each["all"]["n"]), *map(_share, shares)])
    return ["toy-compositional: tasks like GenEval's; higher is better", *_indented(table)]


def _indented(table: list[list[str]]) -> list[str]:
    return [f"  {line}" for line in columns(table)]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
