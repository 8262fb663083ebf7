"""A result as lines of text."""

from __future__ import annotations

from typing import Any

from dmtool.config.validation import leaves
from dmtool.measure.distances.manifold import K_DENSITY, K_PRECISION
from dmtool.measure.measures import Figures
from dmtool.measure.record import title


def text(result: dict[str, Any]) -> str:
    """All figures by group, each with its protocol's name, and the warnings."""
    lines = []
    for name, figures in result["figures"].items():
        fake, real = (
            "?" if n is None else f"{n:,}" for n in (figures["n_fake"], figures["n_real"])
        )
        lines.append(
            f"{name.replace('_', ' ')}: {fake} generated pictures against {real} real ones"
        )
        lines += [f"  {line}" for line in _lines(result["metric"], figures)]
    return "\n".join([*lines, *(f"warning: {line}" for line in result["warnings"])])


def _lines(metric: str, figures: Figures) -> list[str]:
    found = [_distance(metric, figures)] if "fd" in figures else []
    found += _of_features(metric, figures)
    if "precision" in figures:
        found.append(
            f"precision {figures['precision']:.3f}, recall {figures['recall']:.3f} "
            f"(k = {K_PRECISION}); density {figures['density']:.3f}, "
            f"coverage {figures['coverage']:.3f} (k = {K_DENSITY})"
        )
    if "r@1" in figures:
        best = figures["ceiling"]
        found.append(
            f"R@1 {figures['r@1']:.3f}, R@10 {figures['r@10']:.3f} "
            f"(the true pictures: {best['r@1']:.3f}, {best['r@10']:.3f})"
        )
    return [*found, *_of_packages(metric, figures)]


def _of_packages(metric: str, figures: Figures) -> list[str]:
    """The numbers of measures that packages have added, by the measure's name."""
    return [
        f"{title(metric, name, figures['n_fake'])} "
        + ", ".join(f"{key} {value:.4f}" for key, value in leaves(each) if _is_number(value))
        for name, each in figures.items()
        if ":" in name
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _distance(metric: str, figures: Figures) -> str:
    """The Fréchet distance with its spread, terms and floor, as far as they were measured."""
    line = f"{title(metric, '{}', figures['n_fake'])} {figures['fd']:.2f}"
    if "spread" in figures:
        line += f" ± {figures['spread']:.2f}"
    line += f" = mean {figures['mean_term']:.2f} + covariance {figures['cov_term']:.2f}"
    return line + _floors(figures.get("floor") or {})


def _floors(found: Figures) -> str:
    """Each by its name, the true pictures' first."""
    said = [
        f"{name.replace('_', ' ')} {each['fd']:.2f}"
        + (f" ({each['how']})" if each.get("how") == "closed form" else "")
        for name, each in found.items()
        if each
    ]
    return f"; floors: {', '.join(said)}" if said else ""


def _of_features(metric: str, figures: Figures) -> list[str]:
    """The other measures that are named by the features they are of."""
    n, found = figures["n_fake"], []
    if "infinity" in figures:
        name, each = title(metric, "{}-infinity", n), figures["infinity"]
        found.append(
            f"{name} {each['distance']:.2f} (N from {each['sizes'][0]:,}, r2 {each['r2']:.3f}; "
            "the reference's bias is in it)"
        )
    if "kid" in figures:
        line = f"{title(metric, 'KID', n)} {figures['kid']:.6f}"
        if "kid_subsets" in figures:
            line += " (subsets of 1,000: {mean:.6f} ± {std:.6f})".format(**figures["kid_subsets"])
        found.append(line)
    for key, word in (("mind", "MIND"), ("cmmd", "CMMD")):
        if key in figures:
            found.append(f"{title(metric, word, n)} {figures[key]:.4f}")
    if "inception_score" in figures:
        line = "{mean:.3f} ± {std:.3f} over the splits".format(**figures["inception_score"])
        found.append(f"{title(metric, 'IS', n)} {line}")
    return found
