"""Quantities over time: measured series from CSV text, and design storms. Times are seconds of the run."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from twin.errors import BadInput

SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
UNITS = {
    "rain": {"mm_h": 1e-3 / 3600, "mm": 1e-3}, "flow": {"m3_s": 1.0, "l_s": 1e-3}, "level": {"m": 1.0, "cm": 0.01},
}  # fmt: skip
LIMITS = {"rain": (0.0, 1e-3), "flow": (-1e6, 1e6), "level": (-500.0, 9000.0)}


@dataclass(frozen=True)
class Series:
    """Values over time: `times` (N,) s ascending, `values` (N,); linear between, constant outside."""

    times: NDArray[np.float64]
    values: NDArray[np.float64]

    def at(self, time: float) -> float:
        """The value at a time."""
        return float(np.interp(time, self.times, self.values))

    def scaled(self, factor: float) -> Series:
        """All values times a factor."""
        return Series(self.times, self.values * factor)

    def shifted(self, offset: float) -> Series:
        """All values plus an offset."""
        return Series(self.times, self.values + offset)

    def mean(self, start: float, end: float) -> float:
        """Mean over [start, end] (exact for linear pieces)."""
        inner = self.times[(self.times > start) & (self.times < end)]
        t = np.concatenate([[start], inner, [end]])
        return float(np.trapezoid(np.interp(t, self.times, self.values), t) / (end - start)) if end > start else self.at(start)


def parse(text: str, quantity: str, origin: float | None = None, name: str = "") -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """A two-column CSV text with its units in the header → (times s, values in SI, unit as written).

    Header: `time_s`, `time_min`, `time_h`, or `time` (ISO 8601 with a zone); then `<quantity>_<unit>`. `origin` is the moment (POSIX s) at
    which the run starts; without it the first row of ISO times is the start. `name` says in messages which series it is.

    Raises:
        BadInput: an unknown or missing unit, a time without zone, times that do not ascend, an empty, unreadable or impossible value,
            a gap (a time step more than 3 times the median); each with its line.
    """
    label = f"{quantity} series {name}".strip()
    rows = [row for row in csv.reader(io.StringIO(text.strip())) if row and any(cell.strip() for cell in row)]
    if len(rows) < 3 or len(rows[0]) < 2:
        raise BadInput(f"The {label} needs a header and at least two rows of two columns.", f"For example: time_min,{quantity}_{next(iter(UNITS[quantity]))}")
    time_name, value_name = (cell.strip().lower() for cell in rows[0][:2])
    unit = value_name.removeprefix(f"{quantity}_")
    if not value_name.startswith(f"{quantity}_") or unit not in UNITS[quantity]:
        raise BadInput(f"The {label} names its second column {rows[0][1]!r}; the unit is missing or unknown.",
                       f"Use {' or '.join(f'{quantity}_{u}' for u in UNITS[quantity])}.")  # fmt: skip
    scale = SECONDS.get(time_name.removeprefix("time_"), 0.0)
    if not scale and time_name != "time":
        raise BadInput(f"The {label} names its first column {rows[0][0]!r}.", "Use time_s, time_min, time_h, or time with ISO 8601 times and zone.")
    times, values = np.empty(len(rows) - 1), np.empty(len(rows) - 1)
    for i, row in enumerate(rows[1:]):
        where = f"{label}, line {i + 2}"
        times[i] = _number(row[0], where) * scale if scale else _moment(row[0], where)
        values[i] = _number(row[1] if len(row) > 1 else "", where) * UNITS[quantity][unit]
    if not scale:
        times -= times[0] if origin is None else origin
    steps = np.diff(times)
    if (steps <= 0).any():
        raise BadInput(f"{label}, line {int(np.argmax(steps <= 0)) + 3}: the time does not ascend.", "Sort the rows and remove doubles.")
    if quantity == "rain" and len(steps) > 2 and steps.max() > 3 * np.median(steps):
        raise BadInput(f"{label}, line {int(np.argmax(steps)) + 3}: a gap of {steps.max():.0f} s where rows are {np.median(steps):.0f} s apart.",
                       "Fill the gap (0 where it did not rain).")  # fmt: skip
    low, high = LIMITS[quantity]
    bad = (values < low) | (values > (high if unit != "mm" else 1.0))
    if bad.any():
        i = int(np.argmax(bad))
        raise BadInput(f"{label}, line {i + 2}: {rows[i + 1][1]} is impossible.", "Negative rain and more than 3,600 mm/h are refused.")
    return times, values, unit


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise BadInput(f"{where}: {text.strip()!r} is not a number.", "A missing value must be filled, not left empty.")
    return value


def _moment(text: str, where: str) -> float:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise BadInput(f"{where}: {text.strip()!r} is not an ISO 8601 time.", "For example 2026-05-20T08:00:00+08:00.") from error
    if moment.tzinfo is None:
        raise BadInput(f"{where}: {text.strip()!r} states no time zone.", "Add it: +08:00 for China Standard Time.")
    return moment.timestamp()


def moment(text: str) -> float | None:
    """The run's start as given (ISO 8601 with a zone) in POSIX seconds; None when it is left empty."""
    return _moment(text, "start") if text.strip() else None


def common_start(texts: list[str], start: str) -> float | None:
    """The moment from which all series count: the run's start, or the first row that all clock-time series share.

    Raises:
        BadInput: series by the clock that begin at different moments, and no start is given.
    """
    given = moment(start)
    if given is not None:
        return given
    firsts = set()
    for text in texts:
        rows = [row for row in csv.reader(io.StringIO(text.strip())) if row and any(cell.strip() for cell in row)]
        if len(rows) > 1 and rows[0][0].strip().lower() == "time":
            firsts.add(_moment(rows[1][0], "first row"))
    if len(firsts) > 1:
        raise BadInput("The series begin at different moments, and the run's start is not given.", "Give start (ISO 8601 with zone), e.g. 2026-05-20T08:00:00+08:00.")
    return firsts.pop() if firsts else None


def linear(text: str, quantity: str, origin: float | None = None, name: str = "") -> Series:
    """A flow or level series."""
    times, values, _ = parse(text, quantity, origin, name)
    return Series(times, values)


@dataclass(frozen=True)
class Rain:
    """Cumulative rain: depth fallen until a time, linear between `times`.

    Attributes:
        times: (N,) s; depths: (N,) m cumulative.
    """

    times: NDArray[np.float64]
    depths: NDArray[np.float64]

    def between(self, start: float, end: float) -> float:
        """Depth that falls in [start, end], m."""
        a, b = np.interp([start, end], self.times, self.depths)
        return float(b - a)


def uniform(rate_mm_h: float, hours: float) -> Rain:
    """Constant rain."""
    return Rain(np.array([0.0, hours * 3600]), np.array([0.0, rate_mm_h * hours / 1000]))


def measured(text: str, origin: float | None = None, name: str = "") -> Rain:
    """Rain from CSV: `rain_mm_h` holds from its row's time until the next row's; `rain_mm` fell since the row before."""
    times, values, unit = parse(text, "rain", origin, name)
    if unit == "mm":
        return Rain(times, np.concatenate([[0.0], np.cumsum(values[1:])]))
    last = times[-1] + (times[-1] - times[-2])
    times = np.append(times, last)
    return Rain(times, np.concatenate([[0.0], np.cumsum(values * np.diff(times))]))


def chicago(a: float, c: float, b: float, n: float, period: float, hours: float, peak: float) -> Rain:
    """The Chicago storm (Keifer & Chu 1957) of the intensity formula q = A(1 + C·lg P)/(t + b)^n, t in minutes, q in L/(s·ha) (GB 50014).

    The depth that falls in t minutes at mean intensity is D(t) = k·t/(t + b)^n (1 L/(s·ha) = 0.006 mm/min); before the peak at r·T a share r
    of it, after it a share 1 − r, so that the whole storm brings D(T) and its peak is steepest at r·T.
    """
    k = a * (1 + c * np.log10(period)) * 0.006e-3
    whole = hours * 60.0

    def depth(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(k * t / (t + b) ** n)

    minutes = np.linspace(0, whole, max(int(whole) * 4, 40) + 1)
    top = peak * whole
    before, after = np.clip(top - minutes, 0, None) / peak, np.clip(minutes - top, 0, None) / (1 - peak)
    total = float(depth(np.array([whole]))[0])
    fallen = np.where(minutes <= top, peak * (total - depth(before)), peak * total + (1 - peak) * depth(after))
    return Rain(minutes * 60, fallen)
