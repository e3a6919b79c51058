"""Legends made from what a column holds: classes with colours that colour-blind readers can tell apart.

Numbers: equal ranges or equal counts over a ramp even in lightness (cividis: Nuñez, Anderton & Renslow, PLOS ONE 2018; viridis and
magma: van der Walt & Smith 2015). Categories: Okabe & Ito's eight, the most frequent values first, the rest in grey.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from twin.errors import BadOption
from twin.statistics import Summary

RAMPS: dict[str, tuple[str, ...]] = {
    "cividis": ("#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"),
    "viridis": ("#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"),
    "magma": ("#000004", "#180f3d", "#440f76", "#721f81", "#9e2f7f", "#cd4071", "#f1605d", "#fd9668", "#feca8d", "#fcfdbf"),
}  # fmt: skip
CATEGORIES = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#882255")
OTHER = "#9a9a9a"
METHODS = ("quantile", "equal", "continuous")


def legend(summary: Summary, *, method: str = "quantile", classes: int = 5, ramp: str = "viridis", unit: str | None = None,
           title: dict[str, str] | None = None) -> dict[str, Any]:  # fmt: skip
    """A legend as layers carry it: type, unit, title, entries with value, colour and label.

    A class of numbers is [from, to); the last one holds its upper end too. Columns of one value make one class.

    Raises:
        BadOption: an unknown method or ramp, or nothing known to make classes from.
    """
    if ramp not in RAMPS or method not in METHODS:
        raise BadOption(f"There is no ramp {ramp!r} or no method {method!r}.", f"Ramps: {', '.join(RAMPS)}; methods: {', '.join(METHODS)}.")
    if not summary.count:
        raise BadOption(f"Column {summary.name!r} holds no value to make a legend of.")
    head = {"unit": unit, "title": title}
    if summary.kind != "number":
        return {"type": "classes", **head, "entries": _categories(summary)}
    return {"type": "continuous" if method == "continuous" else "classes", **head, "entries": _numbers(summary, method, classes, ramp)}


def _categories(summary: Summary) -> list[dict[str, Any]]:
    ranked = sorted(summary.texts.items(), key=lambda pair: (-pair[1], pair[0]))
    entries: list[dict[str, Any]] = [{"value": text, "color": color} for (text, _), color in zip(ranked, CATEGORIES, strict=False)]
    if len(ranked) > len(CATEGORIES) or summary.nulls:
        entries.append({"value": None, "color": OTHER, "label": {"zh": "其他", "en": "other"}})
    return entries


def _numbers(summary: Summary, method: str, classes: int, ramp: str) -> list[dict[str, Any]]:
    values = np.concatenate(summary.numbers)
    low, high = float(values.min()), float(values.max())
    if method == "continuous":
        stops = np.linspace(low, high, len(RAMPS[ramp])) if high > low else np.array([low])
        return [{"value": float(v), "color": color} for v, color in zip(stops, RAMPS[ramp], strict=False)]
    edges = np.quantile(values, np.linspace(0, 1, classes + 1)) if method == "quantile" else np.linspace(low, high, classes + 1)
    edges = np.unique(edges)
    if len(edges) == 1:
        edges = np.array([low, low])
    colors = _spread(RAMPS[ramp], len(edges) - 1)
    return [{"value": [float(a), float(b)], "color": color} for (a, b), color in zip(pairwise(edges), colors, strict=True)]


def _spread(ramp: tuple[str, ...], count: int) -> list[str]:
    """`count` colours evenly along a ramp, mixed between its stops."""
    stops = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in ramp], float)
    at = np.linspace(0, len(ramp) - 1, count) if count > 1 else np.array([(len(ramp) - 1) / 2])
    mixed = np.column_stack([np.interp(at, np.arange(len(ramp)), stops[:, k]) for k in range(3)])
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in np.rint(mixed).astype(int).tolist()]
