"""Building footprints with heights → Features for block models (CIM2, 白模).

The height of each building comes from a height column, else from floors × floor height, else from a default; where it
came from is kept beside it (`height_from`). A building with none of these, or with an absurd one, is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from ingest_gis import columns, ids, packed
from ingest_gis.chunks import Chunk, read_chunks
from ingest_gis.rows import Source, VectorOptions, reference_of
from ingest_gis.vector_source import open_source
from twin.errors import BadOption, MissingReference, TwinError
from twin.model import Features, Reference, Report
from twin.spool import PackedFeatures

HEIGHTS = (
    "height", "building:height", "building_height", "measuredheight", "measured_height", "roof_height_above_ground", "hoehe", "höhe",
    "hauteur", "altura", "hgt", "bldg_height", "bldgheight", "height_m", "高度", "建筑高度", "房屋高度", "楼高", "jzgd",
)  # fmt: skip
"""Height columns by name, in order of preference (compared in lower case)."""
FLOORS = (
    "building:levels", "building_levels", "levels", "num_floors", "floors", "storeys", "stories", "storeysaboveground", "floor_count",
    "etages", "层数", "楼层", "楼层数", "地上层数", "建筑层数",
)  # fmt: skip
HIGHEST = 1000.0
"""Metres; no building is taller (the tallest stands at 828 m)."""
_NUMBER = re.compile(r"^\s*([-+]?\d+(?:[.,]\d+)?(?:e[-+]?\d+)?)\s*(m|meters?|metres?|米|公尺|ft|feet|foot|')?\s*$", re.IGNORECASE)
_FEET = {"ft", "feet", "foot", "'"}


class Options(VectorOptions):
    """Options of the footprint reader."""

    height: str | None = Field(None, description="Column with the height above ground; found by its name if left out.")
    height_unit: float = Field(1.0, gt=0, le=10, description="Metres per unit of the height column (0.3048 for feet).")
    floors: str | None = Field(None, description="Column with the number of floors, used where the height is missing.")
    floor_height: float = Field(3.0, ge=1, le=20, description="Metres per floor.")
    default_height: float | None = Field(None, gt=0, le=HIGHEST, description="Height in metres of buildings that state none.")
    min_height: float = Field(0.5, ge=0, le=HIGHEST, description="Heights below this many metres count as missing.")
    base: str | None = Field(None, description="Column with the absolute height of the building's foot, in the vertical datum.")


def detect(source: Path, options: object) -> bool:
    """Polygons, and a height or floors column known by name or option (or a default height)."""
    if source.suffix.lower() == ".zip" and not packed.holds_vectors(source, getattr(options, "member", None)):
        return False
    try:
        shared = {name: getattr(options, name, None) for name in ("table", "encoding", "member")}
        opened = open_source(source, VectorOptions.model_validate(shared))
    except TwinError:
        return False
    if opened.polygonal is False:
        return False
    if any(getattr(options, name, None) for name in ("height", "floors", "default_height")):
        return True
    known = {name.lower() for name in opened.names} & {*HEIGHTS, *FLOORS}
    return bool(known) and (opened.polygonal is True or _first_is_polygon(opened))


def _first_is_polygon(source: Source) -> bool:
    for rows in source.chunks():
        given = [value for value in rows.wkb[:100] if value is not None]
        return bool(given) and all((int.from_bytes(v[1:5], "little" if v[0] == 1 else "big") & 0xFF) % 1000 in (3, 6, 10, 12) for v in given)
    return False


def read(source: Path, options: Options, report: Report) -> Iterator[Features]:
    """Read footprints in chunks of at most 65,536.

    Yields:
        Features with flat polygons, the attributes of the source, `height` (float64, m above ground) and `height_from`.

    Raises:
        UnreadableSource, MissingReference, BadReference, BadOption.
    """
    opened = open_source(source, options, report)
    reference = reference_of(opened, options, report)
    rule = ids.choose(opened, options.id, report)
    resolver = Resolver(opened, options, reference, report)
    plan = columns.plan(opened.schema, report, drop=rule.column, taken=resolver.taken, replaced=resolver.replaced)
    report.facts["style"] = {"height": "height", **resolver.style(plan)}
    flattened = False
    for chunk in read_chunks(opened, rule, report, outlines=True):
        height, origin, keep = resolver.resolve(chunk)
        if not keep.any():
            continue
        if chunk.outlines is None:
            raise ValueError("footprints are read as outlines")
        outlines = chunk.outlines.filter(keep)
        if not flattened and outlines.raised:
            flattened = True
            report.note("assumed", "", "heights of the outlines' vertices are not used: blocks stand on the terrain or on the column base")
        mask = pa.array(keep)
        attributes = plan.apply(chunk.attributes.filter(mask))
        attributes = attributes.append_column(pa.field("height", pa.float64(), metadata=resolver.metadata), pa.array(height[keep]))
        attributes = attributes.append_column("height_from", pa.array(origin[keep], pa.string()))
        report.kept += int(keep.sum())
        yield PackedFeatures(reference, chunk.ids.filter(mask), outlines.wkb, outlines.boxes, attributes)


class Resolver:
    """Decides every building's height.

    `taken`: attribute names that it writes itself. `replaced`: the height column where it is already called `height` and
    holds metres, so that it need not be kept a second time (what was replaced in it is in the report).
    """

    metadata: ClassVar[dict[bytes, bytes]] = {b"unit": b"m", b"title_zh": "高度".encode(), b"title_en": b"Height above ground"}

    def __init__(self, source: Source, options: Options, reference: Reference, report: Report) -> None:
        self.options, self.report = options, report
        self.height = _column(source, "height", options.height, HEIGHTS)
        self.floors = _column(source, "floors", options.floors, FLOORS)
        self.base = _column(source, "base", options.base, ())
        if self.base and not reference.vertical:
            raise MissingReference(f"{source.name}: the column {self.base} holds absolute heights, but no vertical datum is stated.",
                                   "Name it with --vertical, for example EPSG:5737 (1985 heights).")  # fmt: skip
        if not (self.height or self.floors or options.default_height):
            raise BadOption(f"{source.name}: no column of heights or floors was recognised among {', '.join(source.names) or 'none'}.",
                            "Name it with --option height=COLUMN (or floors=COLUMN), or give --option default_height=METRES.")  # fmt: skip
        self.taken = ("height", "height_from")
        clean = self.height == "height" and options.height_unit == 1.0 and _is_number(source.schema.field("height").type)
        self.replaced = "height" if clean else ""
        report.facts.update({"height_column": self.height, "floors_column": self.floors, "floor_height_m": options.floor_height,
                             "default_height_m": options.default_height})  # fmt: skip

    def style(self, plan: columns.Plan) -> dict[str, Any]:
        """What the block tiler wants to know beside the height column."""
        style: dict[str, Any] = {"default_height": self.options.default_height}
        for key, column in (("base", self.base), ("floors", self.floors)):
            stored = plan.stored(column) if column else None
            if stored:
                style[key] = stored
        return {key: value for key, value in style.items() if value is not None}

    def resolve(self, chunk: Chunk) -> tuple[NDArray[np.float64], NDArray[np.object_], NDArray[np.bool_]]:
        """((N,) heights in m, (N,) "height" | "floors" | "default", (N,) kept); each refusal and repair is noted."""
        count = len(chunk.ids)
        height, problem = np.full(count, np.nan), np.full(count, "states no height", dtype=object)
        if self.height:
            raw = chunk.attributes.column(self.height)
            height, unreadable = numbers(raw)
            height = height * self.options.height_unit
            problem = _problems(height, unreadable, raw, self.options.min_height)
        origin = np.where(problem == "", "height", "").astype(object)
        if self.floors:
            floors, _ = numbers(chunk.attributes.column(self.floors))
            usable = (origin == "") & (floors > 0) & (floors * self.options.floor_height <= HIGHEST)
            height[usable], origin[usable] = floors[usable] * self.options.floor_height, "floors"
        if self.options.default_height is not None:
            missing = origin == ""
            height[missing], origin[missing] = self.options.default_height, "default"
        self._write_down(chunk.ids, problem, height, origin)
        return height, origin, origin != ""

    def _write_down(self, names: pa.Array, problem: NDArray[np.object_], height: NDArray[np.float64], origin: NDArray[np.object_]) -> None:
        for row in np.flatnonzero(problem != ""):
            name, reason = str(names[row].as_py()), problem[row]
            if origin[row] == "":
                self.report.note("refused", name, f"{reason}; give floors or --option default_height=METRES")
            else:
                action = "assumed" if reason == "states no height" else "repaired"
                self.report.note(action, name, f"{reason}; {height[row]:g} m taken from {origin[row]}")  # type: ignore[arg-type]


def _column(source: Source, what: str, wanted: str | None, likely: tuple[str, ...]) -> str:
    if wanted is not None:
        if wanted not in source.names:
            raise BadOption(f"{source.name} has no column {wanted!r} for {what}.", f"Columns: {', '.join(source.names) or 'none'}.")
        return wanted
    lower = {name.lower(): name for name in reversed(source.names)}
    return next((lower[name] for name in likely if name in lower), "")


def _problems(height: NDArray[np.float64], unreadable: NDArray[np.bool_], raw: pa.ChunkedArray, lowest: float) -> NDArray[np.object_]:
    """(N,) what is wrong with each height, "" where nothing is."""
    problem = np.full(len(height), "", dtype=object)
    with np.errstate(invalid="ignore"):
        problem[np.isnan(height)] = "states no height"
        problem[height < lowest] = "low"
        problem[(height > HIGHEST) | np.isinf(height)] = "absurd"
    problem[unreadable] = "text"
    for row in np.flatnonzero((problem != "") & (problem != "states no height")):
        value, what = raw[row].as_py(), problem[row]
        if what == "text":
            problem[row] = f"height {value!r} is no number"
        elif what == "absurd":
            problem[row] = f"height {value} is absurd (more than {HIGHEST:g} m)"
        else:
            problem[row] = f"height {value} is {'negative' if height[row] < 0 else f'below {lowest:g} m'}"
    return problem


def numbers(values: pa.ChunkedArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(N,) float64 of a column of numbers or of texts like `12`, `12,5 m`, `40 ft` (feet become metres).

    NaN where there is none; the second result is (N,) whether a text could not be read.
    """
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return _parse_texts(values)
    if not _is_number(values.type):
        return np.full(len(values), np.nan), np.ones(len(values), dtype=bool)
    return np.array(pc.fill_null(values.cast(pa.float64()), np.nan), dtype=np.float64), np.zeros(len(values), dtype=bool)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _parse_texts(values: pa.ChunkedArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    result, unreadable = np.full(len(values), np.nan), np.zeros(len(values), dtype=bool)
    for row, text in enumerate(values.to_pylist()):
        if text is None or not text.strip():
            continue
        match = _NUMBER.match(text)
        if match is None:
            unreadable[row] = True
        else:
            factor = 0.3048 if (match[2] or "").lower() in _FEET else 1.0
            result[row] = float(match[1].replace(",", ".")) * factor
    return result, unreadable
