"""Gridded rain: a raster layer over time (a radar, a forecast; read from CF NetCDF) by its own clock, or a raster of one band a step.

A step's number is a rate, an amount of its step, or an amount since the first one's beginning; its unit says whether it is a rate. When a step lasts: by the
file's cell boundaries; without them a rate holds from its time until the next one's and an amount fell since the time before, as in the CSV series.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import rasterio
from numpy.typing import NDArray

from scenarios.contract import World
from scenarios.flood import series
from scenarios.flood.domain import Domain, Pixels
from scenarios.flood.params import Params
from twin import moments, parts
from twin.errors import BadInput
from twin.model import LayerVersion, Part

MAX_RATE = 3600.0
"""mm/h; more than the world's record over minutes (GB/T 28592 calls 250 mm a day 特大暴雨) is a wrong unit."""
GAP = 3.0
"""Steps without boundaries may be so many times as far apart as they mostly are (as in the CSV series)."""
ROUNDING = 0.1
"""mm by which an accumulated amount may fall: packed numbers are rounded."""
_LENGTHS = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
_TIMES = {name: seconds for seconds, names in ((1.0, "s sec second seconds"), (60.0, "min minute minutes"), (3600.0, "h hr hour hours"), (86400.0, "d day days"))
          for name in names.split()}  # fmt: skip
_FACTOR = re.compile(r"(/)?\s*([A-Za-z]+)(-?\d+)?")
FIX = "Set the unit in the file, or give rain_grid_unit, e.g. mm/h, kg m-2 s-1, mm."


def unit_of(text: str, where: str) -> tuple[float, bool]:
    """(mm or mm/h in one unit, whether it is a rate) of a unit of rain as UDUNITS and people write it: `mm h-1`, `mm/h`, `kg m-2 s-1`, `kg/m**2`, `m`.

    Raises:
        BadInput: another quantity (dBZ, K, none); says what to do.
    """
    plain = re.sub(r"\*\*|\^", "", re.sub(r"\bper\b", "/", text.strip())).replace("·", " ").replace("²", "2").replace("⁻", "-").replace("¹", "1").replace("(", " ").replace(")", " ")
    powers: dict[str, int] = {}
    for sign, name, power in _FACTOR.findall(plain):
        powers[name] = powers.get(name, 0) + (-1 if sign else 1) * int(power or 1)
    if _FACTOR.sub("", plain).strip():
        powers = {}  # a number in it (0.1 mm), or what is not read here
    powers = {name if name in ("m", "mm", "cm") else name.lower(): power for name, power in powers.items()}
    clock = [name for name, power in powers.items() if name in _TIMES and power == -1]
    water = {name: power for name, power in powers.items() if name not in clock}
    depth = 1.0 if water == {"kg": 1, "m": -2} else next((size for name, size in _LENGTHS.items() if water == {name: 1}), 0.0)  # 1 kg/m² of water is 1 mm
    if not depth or len(clock) > 1:
        hint = " Radar reflectivity must be made rain first (a Z–R relation)." if "dbz" in text.lower() else ""
        raise BadInput(f"{where}: its unit {text!r} is no rate or amount of rain." if text.strip() else f"{where}: it states no unit.", FIX + hint)
    return (depth * 3600.0 / _TIMES[clock[0]], True) if clock else (depth, False)


@dataclass(frozen=True)
class Step:
    """What falls from `start` to `end` (s of the run): the number of `part`, band `band`, times `factor` in mm/h; less that of `before` where amounts accumulate."""

    start: float
    end: float
    part: Part
    band: int
    factor: float
    before: Part | None = None


@dataclass
class Frames:
    """Steps of rain in their order, sampled at the cells' centres when they come."""

    world: World
    layer: str
    domain: Domain
    steps: list[Step]
    factor: float = 1.0
    dry_where_missing: bool = False
    _pixels: Pixels = field(init=False)
    _held: tuple[int, NDArray[np.float32]] | None = None

    def __post_init__(self) -> None:
        self._pixels = Pixels(self.world, self.layer, self.domain)
        self._starts = np.array([step.start for step in self.steps])

    def fallen(self, start: float, end: float) -> Iterator[tuple[int, float]]:
        """As in `rainfall.Source`: the pattern is in mm/h, so the depth is hours/1000."""
        k = max(int(np.searchsorted(self._starts, start, side="right")) - 1, 0)
        while k < len(self.steps) and self.steps[k].start < end:
            seconds = min(end, self.steps[k].end) - max(start, self.steps[k].start)
            if seconds > 0 and self.pattern(k).any():
                yield k, seconds / 3.6e6 * self.factor
            k += 1

    def pattern(self, number: int) -> NDArray[np.float32]:
        """As in `rainfall.Source`; refuses negative and impossible intensities and cells without data, names the step."""
        if self._held is None or self._held[0] != number:
            self._held = number, self._read(self.steps[number])
        return self._held[1]

    def _read(self, step: Step) -> NDArray[np.float32]:
        values = self._pixels.values(step.part, step.band)
        where = f"rain_grid, layer {self.layer!r}, " + (f"step of {step.start:.0f} s" if "time" in step.part.properties else f"band {step.band}")
        if step.before is not None:
            values = values - self._pixels.values(step.before, step.band)
            values = np.where((values < 0) & (values * step.factor * (step.end - step.start) / 3600 >= -ROUNDING), 0.0, values)
        values = values * step.factor
        low, high = np.nanmin(values, initial=0.0), np.nanmax(values, initial=0.0)
        if low < 0 or high > MAX_RATE:
            raise BadInput(f"{where}: intensities from {low:g} to {high:g} mm/h.",
                           "An accumulated amount must not fall; are these amounts by step?" if step.before is not None and low < 0 else "Negative rain and more than 3,600 mm/h are refused.")  # fmt: skip
        void = np.isnan(values) & ~self.domain.walls
        if void.any() and not self.dry_where_missing:
            raise BadInput(f"{where}: no data over {int(void.sum()):,} cells of the area.", "Give a raster that covers it (0 where it did not rain), or rain_grid_missing=dry.")
        return np.nan_to_num(values).astype(np.float32)


def build(p: Params, world: World, domain: Domain) -> Frames:
    """The steps of the layer `rain_grid`.

    Raises:
        BadInput: no unit, or one that is not of rain; a gap, steps that overlap; no step within the run.
    """
    version = world.version(p.rain_grid)
    source = str(version.report.get("source") or "")
    where = f"rain_grid, layer {p.rain_grid!r}" + (f" ({source})" if source else "")
    end = p.hours * 3600
    steps = _by_clock(p, world, version, where) if moments.moments(version) else _by_band(p, world, version, where)
    if steps[-1].end < end:
        world.report.note("assumed", p.rain_grid, f"its {len(steps)} steps end at {steps[-1].end:.0f} s; no rain after that")
    if steps[0].start > 0:
        world.report.note("assumed", p.rain_grid, f"its first step begins at {steps[0].start:.0f} s; no rain before that")
    if steps[-1].end <= 0 or steps[0].start >= end:
        raise BadInput(f"{where}: its steps last from {steps[0].start:,.0f} to {steps[-1].end:,.0f} s of the run, which lasts from 0 to {end:,.0f} s.",
                       "Check start (with its zone), the file's zone, and hours.")  # fmt: skip
    return Frames(world, p.rain_grid, domain, steps, p.rain_factor, p.rain_grid_missing == "dry")


def _by_band(p: Params, world: World, version: LayerVersion, where: str) -> list[Step]:
    """A raster of one band a step, the first from the run's start on."""
    part = parts.raster_part(version)
    unit = p.rain_grid_unit or str(version.style.get("unit") or "")
    if not unit:
        world.report.note("assumed", p.rain_grid, "the raster states no unit; its bands are taken as mm/h")
    length = p.rain_grid_step_min * 60
    scale, rate = unit_of(unit or "mm/h", where)
    with rasterio.open(world.lake.path(part.key)) as file:
        count = file.count
    return [Step(k * length, (k + 1) * length, part, k + 1, scale if rate else scale * 3600 / length) for k in range(count)]


def _by_clock(p: Params, world: World, version: LayerVersion, where: str) -> list[Step]:
    """A raster over time: each moment's part with the interval that its number is of."""
    timed = moments.moments(version)
    column = version.columns[0] if version.columns else None
    if column is not None:
        where += f", variable {column.name!r}"
    scale, rate = unit_of(p.rain_grid_unit or (column.unit if column else ""), where)
    spans, accumulated = _spans(p, timed, rate, where, world)
    if accumulated and rate:
        raise BadInput(f"{where}: amounts accumulate, but its unit is one of a rate.", FIX)
    spans += _shift(p, timed, spans, world)
    over = np.flatnonzero(spans[1:, 0] < spans[:-1, 1] - 1e-3)
    if len(over):
        raise BadInput(f"{where}: the step from {spans[over[0], 0]:.0f} to {spans[over[0], 1]:.0f} s overlaps the next one.", "Amounts since one beginning need rain_grid_accumulated=true.")
    if not accumulated:  # what fell in a gap of those is known, only not when
        _close_gaps(p, world, spans, where)
    found = []
    for k, part in enumerate(timed):
        start, end = (float(v) for v in spans[k])
        if end > start:
            found.append(Step(start, end, part, 1, scale if rate else scale * 3600 / (end - start), timed[k - 1] if accumulated and k else None))
    if not found:
        raise BadInput(f"{where}: its time bounds are empty.", "A step's bounds are its beginning and its end.")
    return found


def _spans(p: Params, timed: list[Part], rate: bool, where: str, world: World) -> tuple[NDArray[np.float64], bool]:
    """((N, 2) s after the layer's start of each step, whether amounts accumulate)."""
    times = np.array([part.properties["time"] for part in timed], np.float64)
    if all("from" in part.properties for part in timed):
        spans = np.array([(part.properties["from"], part.properties["to"]) for part in timed], np.float64)
        accumulated = p.rain_grid_accumulated or (len(timed) > 1 and not rate and bool((spans[:, 0] == spans[0, 0]).all()))
        if accumulated:
            spans[1:, 0] = spans[:-1, 1]
        return spans, accumulated
    if len(timed) < 2:
        raise BadInput(f"{where}: one moment without time bounds has no length.", "Give the file's time coordinate bounds, or at least two steps.")
    lengths = np.diff(times)
    at_end = p.rain_grid_stamp == "end" or (p.rain_grid_stamp == "auto" and not rate) or p.rain_grid_accumulated
    if p.rain_grid_stamp == "auto":
        world.report.note("assumed", p.rain_grid, "without time bounds " + ("an amount fell since the step before" if at_end else "a rate holds from its time until the next one's"))
    if p.rain_grid_accumulated:  # what the first number has fallen since is not known
        return np.column_stack([np.append(times[0], times[:-1]), times]), True
    usual = float(np.median(lengths))
    held = np.where(lengths > GAP * usual, usual, lengths)  # a gap; else single steps that are not there are bridged, as in the CSV series
    if at_end:
        return np.column_stack([times - np.append(held[0], held), times]), False
    return np.column_stack([times, times + np.append(held, held[-1])]), False


def _shift(p: Params, timed: list[Part], spans: NDArray[np.float64], world: World) -> float:
    """Seconds from the run's start to the layer's: by the clock where both are known; else the run begins with the first step."""
    begun = str(timed[0].properties.get("start") or "")
    if not begun:
        return 0.0
    moment = datetime.fromisoformat(begun)
    own = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    given = series.moment(p.start)
    if given is not None:
        return own - given
    first = float(spans[spans[:, 1] > spans[:, 0], 0].min()) if (spans[:, 1] > spans[:, 0]).any() else 0.0
    world.report.note("assumed", p.rain_grid, f"the run's start is not given; it begins with the first step, {datetime.fromtimestamp(own + first, UTC).isoformat()}")
    return -first


def _close_gaps(p: Params, world: World, spans: NDArray[np.float64], where: str) -> None:
    """Refuse gaps between the steps (N, 2), s of the run, where they lie within it; with `rain_grid_missing=dry` no rain falls in them, which is said.

    Raises:
        BadInput: names the first gap.
    """
    usual = float(np.median(spans[:, 1] - spans[:, 0]))
    gaps = [(a, b) for a, b in zip(spans[:-1, 1].tolist(), spans[1:, 0].tolist(), strict=True) if b - a > 1e-3 and b > 0 and a < p.hours * 3600]
    if not gaps:
        return
    said = f"{len(gaps)} {'gap' if len(gaps) == 1 else 'gaps'} in time, the first from {gaps[0][0]:.0f} to {gaps[0][1]:.0f} s of the run, where steps are of {usual:.0f} s"
    if p.rain_grid_missing != "dry":
        raise BadInput(f"{where}: {said}.", "Fill it (0 where it did not rain), or give rain_grid_missing=dry.")
    world.report.note("assumed", p.rain_grid, f"{said}; no rain falls there")
