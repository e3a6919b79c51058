"""A CF NetCDF field (rain of a radar or a forecast, water depths of another model, …) → one raster, or one a moment where it has a time axis.

Numbers and their unit stay as the file says (packed ones are unpacked, missing cells become cells without data); grids are turned north up and
not resampled. Classic files and NetCDF-4 alike. What a step's number means (a rate, an amount, since when) is kept with it for those who use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ingest_gis import cf, netcdf_classic, raster_legend
from twin.errors import BadFeature, BadOption, OverLimit, UnreadableSource
from twin.model import Batch, Column, Grid, Reference, Report
from twin.registry import ReaderOptions

NODATA = -9999.0
MAGIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF\r\n\x1a\n")
MOST_STEPS = 10_000
MOST_CELLS = 1 << 28
SAMPLED = 12
"""Steps that the legend's range is drawn from, spread over all."""


class Options(ReaderOptions):
    """Which variable, and what the file leaves open."""

    variable: str | None = Field(None, description="The variable to read, where the file has several fields.")
    zone: str | None = Field(None, min_length=1, description="Offset from UTC (+08:00) of times whose units name no zone; CF says UTC.")
    ramp: str | None = Field(None, description=f"Colours: {', '.join(raster_legend.RAMPS)}.")
    minimum: float | None = Field(None, description="Value at the ramp's first colour (else the 2nd percentile).")
    maximum: float | None = Field(None, description="Value at the ramp's last colour (else the 98th percentile).")


@dataclass(frozen=True)
class _Field:
    """A variable and its dimensions: the numbers of time (−1: none), y and x among them."""

    variable: Any
    t: int
    y: int
    x: int

    def read(self, step: int, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
        """(rows, columns) of one step, row 0 in the north; `NODATA` where nothing is."""
        where: list[Any] = [0] * self.variable.ndim
        where[self.y] = where[self.x] = slice(None)
        if self.t >= 0:
            where[self.t] = step
        values = cf.numbers_of(self.variable[tuple(where)])
        cells = (values if self.y < self.x else values.T)[np.ix_(rows, columns)]
        return np.where(np.isfinite(cells), cells, NODATA).astype(np.float32)


def read(source: Path, options: Options, report: Report) -> Iterator[Batch]:
    """One `Grid` a step, each with `time` (s after the first) and `start` in its properties, and where the file has cell boundaries `from` and `to`.

    Raises:
        UnreadableSource: empty, cut short, no NetCDF. BadOption: several fields and no variable named, or one that is not there.
        BadFeature: a grid or time that cannot be placed, no data at all. MissingReference, BadReference: no CRS, a wrong one. OverLimit: too many steps or cells.
    """
    if options.ramp is not None and options.ramp not in raster_legend.RAMPS:
        raise BadOption(f"There is no ramp {options.ramp!r}.", f"Known: {', '.join(raster_legend.RAMPS)}.")
    with _opened(source) as file:
        field = _choose(file, options.variable, source.name)
        variable, name = field.variable, field.variable.name
        where = f"{source.name}, variable {name!r}"
        across, down = (file.variables[variable.dimensions[at]] for at in (field.x, field.y))
        geographic = cf.text(across, "units").lower().startswith("degree") or cf.text(across, "standard_name") == "longitude"
        reference = cf.reference(file, variable, geographic, options, where, report)
        x, y = (cf.axis(one, kind, reference.horizontal, where) for one, kind in ((across, "x"), (down, "y")))
        clock = cf.times(file, file.variables[variable.dimensions[field.t]], options.zone, where, report) if field.t >= 0 else None
        steps = 1 if clock is None else len(clock.seconds)
        if steps > MOST_STEPS or len(x.order) * len(y.order) > MOST_CELLS:
            raise OverLimit(f"{where} has {steps:,} steps of {len(y.order):,} × {len(x.order):,} cells; at most {MOST_STEPS:,} and {MOST_CELLS:,} are taken.",
                            "Cut out the time and area that matter.")  # fmt: skip
        unit, title = cf.text(variable, "units"), cf.text(variable, "long_name") or cf.text(variable, "standard_name") or name
        legend = {**_legend(field, steps, x, y, options, unit, where), "title": {"zh": title, "en": title}}
        report.facts["style"] = {"legend": legend, "unit": unit}
        report.facts |= {"driver": f"NetCDF ({file.data_model})", "variable": name, "unit": unit, "size": [len(x.order), len(y.order)], "steps": steps,
                         "start": "" if clock is None else clock.start, "crs_source": "option" if options.crs else "file"}  # fmt: skip
        about = {key: cf.text(variable, key) for key in ("standard_name", "cell_methods") if cf.text(variable, key)}
        yield from _grids(field, reference, x, y, clock, legend, Column(name, "float32", unit, {"zh": title, "en": title}), about, report)


def _grids(field: _Field, reference: Reference, x: cf.Axis, y: cf.Axis, clock: cf.Times | None, legend: dict[str, Any], band: Column, about: dict[str, str],
           report: Report) -> Iterator[Grid]:  # fmt: skip
    transform = (x.step, 0.0, x.first - x.step / 2, 0.0, y.step, y.first - y.step / 2)
    empty = 0
    for k in range(1 if clock is None else len(clock.seconds)):
        cells = field.read(k, y.order, x.order)
        known = int((cells != NODATA).sum())
        report.read, report.kept = report.read + cells.size, report.kept + known
        empty += known == 0
        told: dict[str, Any] = dict(about)
        if clock is not None:
            told |= {"time": float(clock.seconds[k]), "start": clock.start}
        if clock is not None and clock.bounds is not None:
            told |= {"from": float(clock.bounds[k, 0]), "to": float(clock.bounds[k, 1])}
        yield Grid(reference, cells[None], transform, NODATA, (band,), legend, told)
    if empty:
        report.note("warned", band.name, f"{empty} steps have no data in any cell")
    if report.kept < report.read:
        report.note("assumed", band.name, f"{report.read - report.kept:,} of {report.read:,} values are missing; their cells are without data")


@contextmanager
def _opened(source: Path) -> Iterator[Any]:
    """The file, by its first bytes and never by its name; what breaks while it is read is said as such.

    Raises:
        UnreadableSource: no file, empty, no NetCDF, cut short.
    """
    if not source.is_file() or source.stat().st_size == 0:
        raise UnreadableSource(f"{source.name} is {'empty (0 bytes)' if source.is_file() else 'no file'}.", "Export or download it again.")
    with source.open("rb") as stream:
        head = stream.read(8)
    if not head.startswith(MAGIC):
        raise UnreadableSource(f"{source.name} is no NetCDF file.", "Readable: classic NetCDF (CDF-1, -2, -5) and NetCDF-4.")
    if head.startswith(b"CDF"):
        netcdf_classic.check(source)
    try:
        with import_module("netCDF4").Dataset(str(source.resolve()), "r") as file:
            yield file
    except (OSError, RuntimeError, UnicodeDecodeError) as error:  # the last: names that are no text
        raise UnreadableSource(f"{source.name} is cut short or damaged ({error}).", "Export or download it again.") from error


def _choose(file: Any, wanted: str | None, name: str) -> _Field:
    """The field asked for, else the only one the file has."""
    beside = {cf.text(v, "bounds") for v in file.variables.values()} | {cf.text(v, "grid_mapping").split(":")[0] for v in file.variables.values()}
    fields = {v.name: found for v in file.variables.values() if v.name not in beside and (found := _field(file, v)) is not None}
    if wanted is None and len(fields) == 1:
        return next(iter(fields.values()))
    known = ", ".join(fields) or "none"
    if wanted is not None and wanted in fields:
        return fields[wanted]
    if wanted is not None and wanted in file.variables:
        raise BadFeature(f"{name}, variable {wanted!r}: its dimensions ({_sizes(file.variables[wanted])}) are no field over a regular grid in the plane.",
                         "It needs coordinate variables of one dimension for x and y (or longitude and latitude), and at most time beside them; cut out one level or member.")  # fmt: skip
    if wanted is not None:
        raise BadOption(f"{name} has no variable {wanted!r}.", f"Its fields: {known}.")
    if fields:
        raise BadOption(f"{name} has {len(fields)} fields: {known}.", "Choose one: --option variable=NAME.")
    raise BadFeature(f"{name} has no field over a regular grid; its variables: {', '.join(f'{v.name} ({_sizes(v)})' for v in file.variables.values())[:300] or 'none'}.",
                     "A field needs coordinate variables of one dimension for x and y, and at most time beside them: "
                     "cut out one level or member, bring swaths and turned grids to a regular one, e.g. with cdo.")  # fmt: skip


def _sizes(variable: Any) -> str:
    return ", ".join(f"{d} {n}" for d, n in zip(variable.dimensions, variable.shape, strict=True))


def _field(file: Any, variable: Any) -> _Field | None:
    """A variable as a field over x and y and at most time; other dimensions may have one value only."""
    if getattr(variable.dtype, "kind", "") not in ("f", "i", "u") or variable.ndim < 2:
        return None
    roles = [cf.role(file, d) for d in variable.dimensions]
    if roles.count("x") != 1 or roles.count("y") != 1 or roles.count("t") > 1:
        return None
    if any(size > 1 for one, size in zip(roles, variable.shape, strict=True) if one not in ("x", "y", "t")):
        return None
    return _Field(variable, roles.index("t") if "t" in roles else -1, roles.index("y"), roles.index("x"))


def _legend(field: _Field, steps: int, x: cf.Axis, y: cf.Axis, options: Options, unit: str, where: str) -> dict[str, Any]:
    """A ramp over what some of the steps hold; over the first that holds anything where those are empty."""
    rows, columns = (one.order[:: max(1, len(one.order) // 512)] for one in (y, x))
    held = [cells[cells != NODATA] for cells in (field.read(k, rows, columns) for k in np.linspace(0, steps - 1, min(SAMPLED, steps)).astype(int).tolist())]
    for k in range(steps if not any(map(len, held)) else 0):
        cells = field.read(k, y.order, x.order)
        if (cells != NODATA).any():
            held = [cells[cells != NODATA]]
            break
    values = np.concatenate(held)
    if len(values):
        return raster_legend.ramp(values, options.ramp or "blues", options.minimum, options.maximum, unit)
    raise BadFeature(f"{where} holds no data: every cell of every step is missing.", "Check _FillValue and valid_range, or export it again.")
