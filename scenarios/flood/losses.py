"""Water that soaks away or goes down gullies of unknown pipes: infiltration by soil and imperviousness, capacity-only drainage."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio import features as rio_features

from scenarios.contract import World
from scenarios.flood.domain import Domain, Pixels, move
from scenarios.flood.params import Params
from scenarios.flood.solver import Solver
from scenarios.kernels import sources
from twin.errors import BadInput, BadOption

#: Green–Ampt parameters by texture (Rawls, Brakensiek & Miller 1983, doi:10.1061/(ASCE)0733-9429(1983)109:1(62)): conductivity mm/h, suction mm, effective porosity.
TEXTURES = {
    "sand": (117.8, 49.5, 0.417), "loamy sand": (29.9, 61.3, 0.401), "sandy loam": (10.9, 110.1, 0.412), "loam": (3.4, 88.9, 0.434), "silt loam": (6.5, 166.8, 0.486),
    "sandy clay loam": (1.5, 218.5, 0.330), "clay loam": (1.0, 208.8, 0.309), "silty clay loam": (1.0, 273.0, 0.432), "sandy clay": (0.6, 239.0, 0.321),
    "silty clay": (0.5, 292.2, 0.423), "clay": (0.3, 316.3, 0.385),
}  # fmt: skip
CHINESE = dict(zip(("砂土", "壤质砂土", "砂质壤土", "壤土", "粉质壤土", "砂质黏壤土", "黏壤土", "粉质黏壤土", "砂质黏土", "粉质黏土", "黏土"), TEXTURES, strict=True))
#: Hydrologic soil groups: the middle of Musgrave's (1955) range of final rates, with the texture whose suction stands for the group.
GROUPS = {"a": (9.5, "loamy sand"), "b": (5.7, "silt loam"), "c": (2.5, "sandy clay loam"), "d": (0.6, "clay")}


class Losses:
    """What the ground and the gullies take, interval by interval.

    Attributes:
        soaked: cumulative infiltration of each cell (Green–Ampt only), m.
    """

    def __init__(self, params: Params, world: World, domain: Domain, solver: Solver) -> None:
        self.params, self.solver = params, solver
        p, s = params, solver
        self.taken = np.zeros(s.z.shape[0])
        self.open = self._padded(np.where(s.blocked, 0, 1)) if p.drainage_mm_h > 0 else None
        self.soaked = np.zeros((0, 0), s.dtype)
        if p.infiltration == "none":
            return
        pervious = np.where(s.blocked, 0.0, _pervious(p, world, domain))
        rate, head = _soil(p, world, domain)
        if p.infiltration == "green_ampt":
            self.soaked = np.zeros_like(s.z)
            self.share, self.rate, self.head = self._padded(pervious), self._padded(rate / 3.6e6), self._padded(head)
        else:
            self.rate = self._padded(pervious * rate / 3.6e6)
            if p.infiltration == "horton":
                self.extra = self._padded(pervious * np.maximum(p.horton_start_mm_h - rate, 0) / 3.6e6)

    def _padded(self, values: NDArray[Any]) -> NDArray[Any]:
        field = np.zeros_like(self.solver.z)
        field[self.solver.inside] = values
        return field

    def take(self, start: float, end: float) -> dict[str, float]:
        """Losses of [start, end] from the field; volumes by account, m³ (≥ 0)."""
        p, s, dt = self.params, self.solver, end - start
        found: dict[str, float] = {}
        if p.infiltration == "green_ampt":
            self.taken[:] = 0
            sources.green_ampt(s.state, self.share, self.soaked, self.rate, self.head, dt, s.ghost, self.taken)
            found["infiltration"] = self._volume()
        elif p.infiltration != "none":
            found["infiltration"] = self._remove(self.rate, dt)
            if p.infiltration == "horton":  # the integral of Horton's (1941) curve over the interval
                k = max(p.horton_decay_h / 3600, 1e-12)
                found["infiltration"] += self._remove(self.extra, (np.exp(-k * start) - np.exp(-k * end)) / k)
        if self.open is not None:
            found["drainage"] = self._remove(self.open, p.drainage_mm_h / 3.6e6 * dt)
        return found

    def _remove(self, share: NDArray[Any], amount: float) -> float:
        self.taken[:] = 0
        sources.take(self.solver.state, share, amount, self.solver.ghost, self.taken)
        return self._volume()

    def _volume(self) -> float:
        return float(self.taken.sum()) * self.solver.cell**2


def _pervious(p: Params, world: World, domain: Domain) -> NDArray[np.float64]:
    """(rows, columns) pervious share of the ground, 0–1."""
    share = np.full(domain.bed.shape, p.pervious)
    if not p.impervious:
        return share
    if world.version(p.impervious).kind == "raster":
        value = Pixels(world, p.impervious, domain).values()
        known = ~np.isnan(value)
        scale = 100.0 if np.nanmax(value, initial=0.0) > 1 else 1.0
        if known.any() and (np.nanmin(value) < 0 or np.nanmax(value) > 100):
            raise BadInput(f"impervious: layer {p.impervious!r} holds values from {np.nanmin(value):g} to {np.nanmax(value):g}.", "It must hold shares 0–1 or percent 0–100.")
        share[known] = 1 - value[known] / scale
    else:
        number = _burn_values(world, p.impervious, domain, p.impervious_column, _share_of)
        known = ~np.isnan(number)
        share[known] = 1 - number[known]
    world.report.note("assumed", p.impervious, f"{int((~known).sum()):,} cells outside it take pervious = {p.pervious:g}")
    return share


def _share_of(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 <= number <= 1:
        raise BadInput(f"{where}: {value!r} is not a share of 0–1.", "The column must hold the impervious share of each area.")
    return number


def _soil(p: Params, world: World, domain: Domain) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(final rate or conductivity mm/h, Green–Ampt ψ·Δθ m), each (rows, columns)."""
    rate, head = np.full(domain.bed.shape, p.infiltration_mm_h), np.full(domain.bed.shape, p.suction_m)
    if not p.soil:
        return rate, head
    names = [*TEXTURES, *GROUPS]

    def index(value: Any, where: str) -> float:
        text = str(value).strip()
        name = CHINESE.get(text, text.lower().removeprefix("group ").replace("_", " "))
        if name not in names:
            raise BadInput(f"{where}: soil {value!r} is unknown.", f"Known: {', '.join(TEXTURES)}; {'、'.join(CHINESE)}; groups A, B, C, D.")
        return float(names.index(name))

    number = _burn_values(world, p.soil, domain, p.soil_column, index)
    for k, name in enumerate(names):
        k_rate, texture = GROUPS[name] if name in GROUPS else (TEXTURES[name][0], name)
        _, suction, porosity = TEXTURES[texture]
        rate[number == k] = k_rate
        head[number == k] = suction / 1000 * porosity * (1 - p.soil_saturation)
    unknown = int(np.isnan(number).sum())
    if unknown:
        world.report.note("assumed", p.soil, f"{unknown:,} cells outside it take infiltration_mm_h and suction_m of the parameters")
    return rate, head


def _burn_values(world: World, layer: str, domain: Domain, column: str, number: Any) -> NDArray[np.float64]:
    """(rows, columns) of `number(value, where)` of the feature that a cell's centre lies in; NaN outside all."""
    found = np.full(domain.bed.shape, np.nan)
    for chunk in world.features(layer):
        if column and column not in chunk.attributes.column_names:
            raise BadOption(f"Layer {layer!r} has no column {column!r}.", f"Columns: {', '.join(chunk.attributes.column_names)}.")
        values = chunk.attributes.column(column).to_pylist() if column else [1.0] * len(chunk)
        moved = move(chunk.geometry, chunk.reference.horizontal, domain.horizontal)
        shapes = [(shape, number(value, f"layer {layer!r}, feature {name}")) for shape, value, name in zip(moved, values, chunk.ids.to_pylist(), strict=True)
                  if shape is not None and not shape.is_empty]  # fmt: skip
        if shapes:
            rio_features.rasterize(shapes, out=found, transform=domain.transform)
    return found
