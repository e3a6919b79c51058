"""Rasters over time: each moment is a part of its own, with `time` (s after the start) and `start` (ISO 8601 or "") in its properties."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from twin import parts
from twin.errors import BadOption
from twin.model import LayerVersion, Part


def moments(version: LayerVersion) -> list[Part]:
    """The parts of a raster over time in their order; none of a raster that shows one state."""
    timed = [part for part in version.parts if part.role == "raster" and "time" in part.properties]
    return sorted(timed, key=lambda part: float(part.properties["time"]))


def describe(version: LayerVersion) -> dict[str, Any]:
    """`times`: s after the start, ascending, and `start`: its moment by the clock (RFC 3339) or None; nothing where there is but one state."""
    timed = moments(version)
    return {"times": [float(part.properties["time"]) for part in timed], "start": timed[0].properties.get("start") or None} if timed else {}


def part_at(version: LayerVersion, time: float | None) -> Part:
    """The raster in force at `time` (s after the start): the last one that is not later; the last of all for None."""
    timed = moments(version)
    if not timed:
        return parts.raster_part(version)
    if time is None:
        return timed[-1]
    past = [part for part in timed if float(part.properties["time"]) <= time + 1e-6]
    return past[-1] if past else timed[0]


def seconds(version: LayerVersion, text: str) -> float:
    """A moment as seconds after the start: a number of seconds, or RFC 3339 where the layer knows its start.

    Raises:
        BadOption: not a moment, outside of the layer's time, or the layer shows one state only.
    """
    known = describe(version)
    if not known:
        raise BadOption(f"Layer {version.layer!r} does not change with time.", "Leave time out.")
    value = float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else _clock(text, known["start"], version.layer)
    first, last = known["times"][0], known["times"][-1]
    if not first - 1e-6 <= value <= last + 1e-6:
        raise BadOption(f"time {text!r} lies outside of {first:g} … {last:g} s, the time of layer {version.layer!r}.", "The layer's tilejson.json lists its times.")
    return value


def _clock(text: str, start: str | None, layer: str) -> float:
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # a + that was not percent-encoded arrives as a space
    except ValueError:
        raise BadOption(f"time {text!r} is neither seconds nor an RFC 3339 moment.", "For example time=600 or time=2026-06-01T08:10:00Z") from None
    if start is None:
        raise BadOption(f"Layer {layer!r} counts its time in seconds; it knows no date.", "For example time=600")
    begin = datetime.fromisoformat(start)
    return (_zoned(moment) - _zoned(begin)).total_seconds()


def _zoned(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
