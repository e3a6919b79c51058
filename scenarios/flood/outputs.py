"""The layers that a run writes, with their legends."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from scenarios.flood.domain import Domain
from scenarios.flood.moments import Moments
from scenarios.flood.params import Params
from scenarios.flood.watch import wanted
from twin.model import Batch, Column, Grid, Reference

NODATA = -9999.0


def maxima(p: Params, domain: Domain, best: NDArray[np.float32]) -> dict[str, list[Batch]]:
    """Rasters of the maxima; `best` as in `kernels.sources.record`."""
    wet = best[0] >= p.threshold
    out: dict[str, list[Batch]] = {"depth-least": [], "depth-most": []}
    for name, (band, unit) in {"depth": (0, "m"), "velocity": (1, "m/s"), "hazard": (2, ""), "arrival": (3, "s"), "duration": (4, "s")}.items():
        out[name] = raster(domain, np.where(wet, best[band], NODATA), name, unit) if wanted(p, name) else []
    out["level"] = levels(domain, best[0], wet) if wanted(p, "level") else []
    out["grade"] = grades(domain, best[0], p.depth_grades) if wanted(p, "grade") else []
    return out


def levels(domain: Domain, depth: NDArray[np.float32], wet: NDArray[np.bool_]) -> list[Batch]:
    """The highest water level, m in the terrain's datum, with a legend over the levels that occur."""
    if not wet.any():
        return []
    level = domain.bed + depth
    low, high = float(level[wet].min()), float(level[wet].max())
    stops = np.linspace(low, max(high, low + 0.01), len(BLUES))
    entries = [{"value": round(float(v), 3), "color": c, "label": {"zh": f"{v:.2f}", "en": f"{v:.2f}"}} for v, c in zip(stops, BLUES, strict=True)]
    legend = {"type": "continuous", "unit": "m", "title": {"zh": "最高水位（米，地形高程基准）", "en": "Highest water level (m, terrain's datum)"}, "entries": entries}
    return [_grid(domain, np.where(wet, level, NODATA).astype(np.float32), "level", "m", legend)]


def grades(domain: Domain, depth: NDArray[np.float32], edges: tuple[float, ...]) -> list[Batch]:
    """Waterlogging grade 1–4 by the greatest depth; less than the first depth has none."""
    grade = np.searchsorted(np.array(edges), depth.astype(np.float64) + 1e-7, side="right").astype(np.uint8)
    if not grade.any():
        return []
    tops = [f"{a * 100:g}–{b * 100:g} cm" for a, b in itertools.pairwise(edges)] + [f"≥ {edges[-1] * 100:g} cm"]
    entries = [{"value": k, "color": c, "label": {"zh": f"{n}级（{t}）", "en": f"Grade {n} ({t})"}} for k, (c, n, t) in enumerate(zip(GRADE_COLORS, GRADE_NAMES, tops, strict=True), 1)]
    return [_grid(domain, grade, "grade", "", {"type": "classes", "unit": "", "title": {"zh": "积水等级", "en": "Waterlogging grade"}, "entries": entries}, nodata=0)]


@dataclass(frozen=True)
class Frames(Sequence[Batch]):
    """The depth at moments of the run, a raster each, made when asked for: uint16 millimetres (scale 0.001), 0 where less than the threshold.

    Each part's properties hold `time` (s after the start), `start` (ISO 8601, "" where none was given) and `scale`.
    """

    domain: Domain
    moments: Moments
    start: str

    def __len__(self) -> int:
        return len(self.moments) if self.moments.wet else 0

    @overload
    def __getitem__(self, index: int) -> Batch: ...

    @overload
    def __getitem__(self, index: slice) -> list[Batch]: ...

    def __getitem__(self, index: int | slice) -> Batch | list[Batch]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        time, values = self.moments[range(len(self))[index]]
        legend = {**LEGENDS["depth"], "title": {"zh": "水深（米）", "en": "Depth (m)"}}
        return _grid(self.domain, values, "depth", "m", legend, nodata=0, properties={"time": time, "start": self.start, "scale": 0.001})


def raster(domain: Domain, values: NDArray[Any], name: str, unit: str, legend: str = "") -> list[Batch]:
    """One raster, or none where nothing is known."""
    if not (values != NODATA).any():
        return []
    return [_grid(domain, values.astype(np.float32), name, unit, LEGENDS[legend or name])]


def _grid(domain: Domain, values: NDArray[Any], name: str, unit: str, legend: dict[str, Any], *, nodata: float = NODATA, properties: dict[str, Any] | None = None) -> Grid:
    return Grid(Reference(domain.horizontal), values[None], tuple(domain.transform[:6]), nodata, (Column(name, str(values.dtype), unit),), legend, properties or {})


def _classes(unit: str, zh: str, en: str, edges: list[float], colors: list[str], names: list[tuple[str, str]] | None = None) -> dict[str, Any]:
    """A legend of classes between `edges`, the last one open."""
    tops = [*edges[1:], 1e9]
    labels = [f"{a:g}–{b:g}" if b < 1e9 else f"> {a:g}" for a, b in zip(edges, tops, strict=True)]
    said = names or [("", "")] * len(edges)
    return {"type": "classes", "unit": unit, "title": {"zh": zh, "en": en},
            "entries": [{"value": [a, b], "color": c, "label": {"zh": f"{n[0]} {t}".strip(), "en": f"{n[1]} {t}".strip()}} for a, b, c, t, n in zip(edges, tops, colors, labels, said, strict=True)]}  # fmt: skip


BLUES = ["#d6ecfa", "#a3d0f0", "#6aaee0", "#3a83c5", "#1f5a9e", "#12366b"]
GRADE_NAMES = ("I", "II", "III", "IV")
GRADE_COLORS = ("#4f9de0", "#ffd166", "#f79d4b", "#c9184a")
WARM = ["#fff3b0", "#ffd166", "#f79d4b", "#e4572e", "#a3123a"]
DEPTHS = [0.0, 0.15, 0.3, 0.6, 1.2, 2.5]
LEGENDS = {
    "depth": _classes("m", "最大水深（米）", "Greatest depth (m)", DEPTHS, BLUES),
    "depth-least": _classes("m", "最大水深：三次模拟之最小（米）", "Greatest depth: least of three runs (m)", DEPTHS, BLUES),
    "depth-most": _classes("m", "最大水深：三次模拟之最大（米）", "Greatest depth: most of three runs (m)", DEPTHS, BLUES),
    "velocity": _classes("m/s", "最大流速（米/秒）", "Greatest speed (m/s)", [0.0, 0.25, 0.5, 1.0, 2.0], WARM),
    # classes of the rating depth·(speed + 0.5) + debris factor: Defra/EA FD2320/TR2 (2005), FD2321/TR1 (2006)
    "hazard": _classes("", "洪水危险度", "Flood hazard rating", [0.0, 0.75, 1.25, 2.0], ["#bfe3b4", "#ffd166", "#f79d4b", "#c9184a"],
                       [("低", "Low"), ("部分人危险", "Danger for some"), ("多数人危险", "Danger for most"), ("所有人危险", "Danger for all")]),
    "arrival": _classes("s", "到达时间（秒）", "Arrival time (s)", [0.0, 600.0, 1800.0, 3600.0, 7200.0], WARM[::-1]),
    "duration": _classes("s", "淹没历时（秒）", "Time under water (s)", [0.0, 600.0, 1800.0, 3600.0, 7200.0], BLUES[1:]),
}
