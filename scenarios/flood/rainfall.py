"""Rain over the grid: one series everywhere, several gauges interpolated, or a raster per time step. Adds to the field and keeps the sum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio import features as rio_features

from scenarios.contract import World
from scenarios.flood import rain_grid, series
from scenarios.flood.domain import Domain
from scenarios.flood.params import Params
from scenarios.flood.solver import Solver
from scenarios.kernels import sources
from twin import crs
from twin.errors import BadOption

NEAREST = 1e-6


class Source(Protocol):
    """Where rain comes from: pairs of (weight of each cell, depth m) that fall in [start, end]; None: every cell alike."""

    def fallen(self, start: float, end: float) -> Iterator[tuple[int, float]]:
        """(pattern, depth in m) of each pattern that brings rain in the interval."""

    def pattern(self, number: int) -> NDArray[np.float32] | None:
        """(rows, columns) share of the depth that a cell gets; None: 1."""


@dataclass(frozen=True)
class Everywhere:
    """One series for the whole area."""

    rain: series.Rain

    def fallen(self, start: float, end: float) -> Iterator[tuple[int, float]]:
        """As in `Source`."""
        depth = self.rain.between(start, end)
        if depth > 0:
            yield 0, depth

    def pattern(self, number: int) -> NDArray[np.float32] | None:  # noqa: ARG002  the protocol's form
        """As in `Source`."""
        return None


@dataclass(frozen=True)
class Gauges:
    """Several series, each with the weights (rows, columns) of its gauge; the weights of a cell sum to 1."""

    rains: list[series.Rain]
    weights: list[NDArray[np.float32]]

    def fallen(self, start: float, end: float) -> Iterator[tuple[int, float]]:
        """As in `Source`."""
        for i, rain in enumerate(self.rains):
            depth = rain.between(start, end)
            if depth > 0:
                yield i, depth

    def pattern(self, number: int) -> NDArray[np.float32] | None:
        """As in `Source`."""
        return self.weights[number]


@dataclass(frozen=True)
class Within:
    """Another source's rain, but only in some cells."""

    source: Source
    inside: NDArray[np.bool_]

    def fallen(self, start: float, end: float) -> Iterator[tuple[int, float]]:
        """As in `Source`."""
        yield from self.source.fallen(start, end)

    def pattern(self, number: int) -> NDArray[np.float32]:
        """As in `Source`."""
        pattern = self.source.pattern(number)
        return self.inside.astype(np.float32) if pattern is None else np.where(self.inside, pattern, np.float32(0))


def within(source: Source, domain: Domain, corners: tuple[tuple[float, float], ...]) -> Within:
    """Rain inside a polygon only; a cell counts by its centre.

    Args:
        source: the rain; domain: the grid; corners: (longitude, latitude) in degrees, closed or not.

    Raises:
        BadOption: a polygon that crosses itself, or that holds no cell of the area.
    """
    x, y = crs.from_lonlat(domain.horizontal, *np.array(corners, np.float64).T)
    polygon = shapely.Polygon(np.column_stack([x, y]))
    if not polygon.is_valid:
        raise BadOption(f"rain_area: the polygon is not valid ({shapely.is_valid_reason(polygon)}).", "Draw it without crossing its own outline.")
    inside = rio_features.rasterize([polygon], out_shape=domain.bed.shape, transform=domain.transform, dtype="uint8") > 0
    if not inside.any():
        raise BadOption("rain_area covers no cell of the area.", "Move it into the area of the run, or widen bbox.")
    return Within(source, inside)


@dataclass
class Rainfall:
    """Rain onto the field.

    Attributes:
        source: where it comes from.
        roofs: (rows, columns) number of the drain (0 …) that takes a roof cell's rain, −1 elsewhere; None: roofs drain to the ground beside them.
        drained: (drains,) volume that roofs sent to each drain in the last interval, m³.
    """

    source: Source
    roofs: NDArray[np.int64] | None = None
    drained: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    _sums: dict[int, tuple[Any, float, NDArray[np.float64]]] = field(default_factory=dict)

    def fall(self, solver: Solver, start: float, end: float) -> float:
        """Rain of [start, end] onto the field; returns its volume there, m³ (what went to drains apart)."""
        volume = 0.0
        self.drained[:] = 0
        wet = False
        for number, depth in self.source.fallen(start, end):
            weight, cells, roofs = self._weights(solver, number)
            sources.rain(solver.state, weight, depth, solver.ghost)
            volume += depth * cells * solver.cell**2
            if len(self.drained):
                self.drained += roofs * depth * solver.cell**2
            wet = True
        if wet:
            solver.mark_wet()
        return volume

    def _weights(self, solver: Solver, number: int) -> tuple[Any, float, NDArray[np.float64]]:
        """(weights as the kernel wants them, their sum, sum over the roofs of each drain)."""
        if number not in self._sums:
            if isinstance(getattr(self.source, "source", self.source), rain_grid.Frames):
                self._sums.clear()  # one at a time: a storm may have thousands
            pattern = self.source.pattern(number)
            weight = solver.weight
            if pattern is not None:
                weight = solver.weight.copy()
                weight[solver.inside] *= pattern
            roofs = np.zeros(len(self.drained))
            if self.roofs is not None and len(self.drained):
                there = self.roofs >= 0
                roofs = np.bincount(self.roofs[there], None if pattern is None else pattern[there], len(self.drained)).astype(np.float64)
            self._sums[number] = weight, float(np.sum(weight, dtype=np.float64)), roofs
        return self._sums[number]


def gauge_weights(domain: Domain, places: NDArray[np.float64], how: str) -> list[NDArray[np.float32]]:
    """Share of each gauge in each cell: `idw` inverse squared distance (Shepard 1968), `thiessen` the nearest gauge alone (Thiessen 1911).

    Args:
        domain: the grid; places: (N, 2) gauges in its CRS, m; how: the rule.
    """
    rows, columns = domain.bed.shape
    x, y = domain.transform * np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    square = np.stack([(x - px) ** 2 + (y - py) ** 2 for px, py in places])
    if how == "thiessen":
        first = np.argmin(square, axis=0)
        return [(first == i).astype(np.float32) for i in range(len(places))]
    share = 1 / np.maximum(square, NEAREST)
    share /= share.sum(axis=0)
    return [s.astype(np.float32) for s in share]


def build(p: Params, world: World, domain: Domain) -> Source | None:
    """The rain that the parameters ask for.

    Raises:
        BadInput: a series or band that cannot be used. BadOption: a polygon that cannot.
    """
    source = _source(p, world, domain)
    return within(source, domain, p.rain_area) if source is not None and p.rain_area else source


def _source(p: Params, world: World, domain: Domain) -> Source | None:
    if p.rain == "uniform":
        return Everywhere(scaled(series.uniform(p.rain_mm_h, p.rain_hours), p.rain_factor))
    if p.rain == "csv":
        return Everywhere(scaled(series.measured(p.rain_csv, series.moment(p.start)), p.rain_factor))
    if p.rain == "chicago":
        names = ("storm_a", "storm_c", "storm_b", "storm_n")
        if not set(names) & p.model_fields_set:
            world.report.note("assumed", "rain", "intensity formula q = 3618.427(1 + 0.438 lg P)/(t + 11.259)^0.750 L/(s·ha), as published for central Guangzhou; "
                                                 "enter the formula in force for your city as storm_a, storm_c, storm_b, storm_n")  # fmt: skip
        return Everywhere(scaled(series.chicago(p.storm_a, p.storm_c, p.storm_b, p.storm_n, p.return_period, p.rain_hours, p.storm_peak), p.rain_factor))
    if p.rain == "gauges":
        lonlat = np.array([gauge.at for gauge in p.rain_gauges], np.float64)
        origin = series.common_start([gauge.csv for gauge in p.rain_gauges], p.start)
        rains = [scaled(series.measured(gauge.csv, origin, gauge.name), p.rain_factor) for gauge in p.rain_gauges]
        outside = [g.name for g, r, c in zip(p.rain_gauges, *domain.cells_at(lonlat), strict=True) if not (0 <= r < domain.bed.shape[0] and 0 <= c < domain.bed.shape[1])]
        if outside:
            world.report.note("assumed", ", ".join(outside), "rain gauges outside the area still count by their distance")
        for gauge, rain in zip(p.rain_gauges, rains, strict=True):
            if rain.times[-1] < p.hours * 3600:
                world.report.note("assumed", gauge.name, f"no rain after the end of its series ({rain.times[-1]:.0f} s)")
        places = np.column_stack(crs.from_lonlat(domain.horizontal, lonlat[:, 0], lonlat[:, 1]))
        return Gauges(rains, gauge_weights(domain, places, p.rain_interpolation))
    if p.rain == "grid":
        return rain_grid.build(p, world, domain)
    return None


def scaled(rain: series.Rain, factor: float) -> series.Rain:
    """All depths times a factor."""
    return rain if factor == 1 else series.Rain(rain.times, rain.depths * factor)
