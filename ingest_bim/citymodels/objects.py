"""What CityJSON and CityGML have in common: city objects with faces, their columns, their reference and their grade.

Both readers turn a file into `CityObject`s one at a time, twice: once to learn the columns (every batch of a source
must have the same ones), once to build meshes (`ingest_bim.citymodels.mesh`).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from twin import crs as crs_module
from twin.errors import BadReference, MissingReference
from twin.model import Material, Reference, Report
from twin.registry import ReaderOptions

F64 = NDArray[np.float64]

MERCATOR = re.compile(r"(?:popular visualisation pseudo )?mercator\b", re.IGNORECASE)
"""Names of methods that keep no lengths but at the equator; Transverse Mercator begins otherwise."""
STRIP = 100.0
"""Units of the northing for which Mercator's scale is one (1.6 parts in 100,000 at most)."""
#: Columns that every city model has; a source attribute of the same name is renamed.
FIXED = ("class", "lod", "cim_grade", "solid_volume", "address", "groups", "other_attributes")
MEASURED = {"solid_volume": "m³"}
"""The numbers among them, with their units: the volume that the closed solids of an object enclose (`ingest_bim.citymodels.solids`)."""
RESERVED = {"id", "parent", "geometry", "bbox", *FIXED}
#: Wider tables are of no use to anybody; what is beyond goes into `other_attributes` as JSON.
MAX_COLUMNS = 1000


class CityOptions(ReaderOptions):
    """How to read a city model."""

    lod: str | None = Field(None, pattern=r"^(<=)?\d(\.\d+)?$", description="Level of detail to draw (2, 1.3, or <=2: the highest up to it); the highest of each object if not given.")
    axis_order: Literal["auto", "xy", "yx"] = Field("auto", description="Order of coordinates: xy east first, yx north first; auto by the format, the CRS and its area.")
    surfaces: bool = Field(True, description="Semantic surfaces (roof, wall, ground, …) are features of their own.")
    member: str | None = Field(None, max_length=500, description="Of a ZIP with several models, the one to read.")
    textures: bool = Field(True, description="Read the textures that lie beside the model.")
    theme: str | None = Field(None, max_length=200, description="Appearance to draw where a model has several; the file's default, or the one with most surfaces.")


@dataclass(slots=True)
class Face:
    """A polygon in space: `rings` of indices into its shape's vertices, the outer one first, not closed."""

    rings: list[list[int]]
    surface: int = -1
    material: Material | None = None
    uv: list[F64] | None = None
    """(N, 2) for each ring, u to the right and v down (as in `Mesh.uv`), where the material has a texture."""


Shell = list[list[list[int]]]
"""The faces of a closed surface as rings of vertices (the outer ring first), in the source's own orientation."""


@dataclass
class Shape:
    """Faces over (N, 3) float64 vertices in coordinates of the reference (or, of a template, metres).

    `solids`: what the source calls solids, each as its shells, the outer one first; their faces are among `faces` or among those of another shape.
    """

    vertices: F64
    faces: list[Face]
    solids: list[list[Shell]] = field(default_factory=list)


@dataclass
class Surface:
    """A semantic surface: its type, attributes and the number of the surface it belongs to (a window's wall)."""

    kind: str
    attributes: dict[str, Any] = field(default_factory=dict)
    parent: int | None = None


@dataclass
class CityObject:
    """One object as delivered. `instances`: (key of the template, its shape, 4×4 matrix template → reference)."""

    id: str
    kind: str
    parent: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    address: Any = None
    groups: list[str] = field(default_factory=list)
    lod: str = ""
    lods: list[str] = field(default_factory=list)
    """All it has, lowest first; `lod` is drawn."""
    shapes: list[Shape] = field(default_factory=list)
    surfaces: list[Surface] = field(default_factory=list)
    instances: list[tuple[str, Shape, F64]] = field(default_factory=list)
    lines: list[F64] = field(default_factory=list)
    """(N, 3) in coordinates of the reference: points (N = 1) and lines, which are kept with the feature but not drawn."""


def lod_rank(lod: str) -> float:
    """Order of LoDs: "2.2" above "2" above "1.3"; a missing one is the lowest."""
    match = re.match(r"\d+(\.\d+)?", lod)
    return float(match[0]) if match else -1.0


def choose_lod(found: list[str], wanted: str | None) -> str | None:
    """The LoD to draw of those an object has: the wanted one (2 also takes the best 2.x), of `<=2` the highest up to it, else the highest; or None."""
    if wanted is not None and wanted.startswith("<="):
        found = [lod for lod in found if math.floor(lod_rank(lod)) <= lod_rank(wanted[2:]) or lod_rank(lod) <= lod_rank(wanted[2:])]
    elif wanted is not None:
        found = [lod for lod in found if lod == wanted or (wanted.isdigit() and math.floor(lod_rank(lod)) == int(wanted))]
    return max(found, key=lod_rank, default=None)


def draw_once(thing: CityObject) -> None:
    """Many exporters give an object's faces twice, as surfaces with semantics and as a solid: the later copies are left out."""
    if len(thing.shapes) < 2:
        return
    seen: dict[frozenset[tuple[float, ...]], Shape] = {}
    for shape in thing.shapes:
        corners = [tuple(point) for point in shape.vertices.tolist()]
        keys = [frozenset(corners[i] for i in face.rings[0]) if face.rings else frozenset() for face in shape.faces]
        if any(key in seen for key in keys):
            shape.faces = [face for face, key in zip(shape.faces, keys, strict=True) if key not in seen]
        for key in keys:
            seen.setdefault(key, shape)
    thing.shapes = [shape for shape in thing.shapes if shape.faces or shape.solids]


# --- columns -----------------------------------------------------------------------------------------------------


class Columns:
    """The columns of a source, learned from all its objects: bool, int, float, text, or lists of one of these; what differs becomes text (lists: JSON)."""

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}
        self.units: dict[str, set[str]] = {}
        self.dropped: Counter[str] = Counter()

    def see(self, attributes: dict[str, Any]) -> None:
        """Learn from one object's attributes."""
        kinds = self.kinds
        new = {name: value for name, value in attributes.items() if type(value) is not str or kinds.get(name) != "text"}  # nearly all are texts as before
        for name, value in flatten(new) if new else ():
            measured = isinstance(value, Measure)
            unit, kind = (value.unit, "float") if measured else ("", _kind(value))
            known = self.kinds.get(name)
            if known is None and len(self.kinds) >= MAX_COLUMNS:
                self.dropped[name] += 1
                continue
            self.kinds[name] = _either(known or "", kind)
            if unit:
                self.units.setdefault(name, set()).add(unit)

    def schema(self, report: Report) -> pa.Schema:
        """Arrow fields in order of appearance, with units where all values agree."""
        types = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "text": pa.string(), "": pa.string()}
        fields = [pa.field(name, pa.float64() if name in MEASURED else pa.string(), metadata=_about(MEASURED.get(name), inherited=name == "address")) for name in FIXED]
        for name, kind in self.kinds.items():
            units = self.units.get(name, set())
            if len(units) > 1:
                report.note("warned", "", f"Attribute {name!r} comes in several units ({', '.join(sorted(units))}): none is stated for the column.")
            arrow = pa.list_(types[kind[1:-1]]) if kind.startswith("[") else types[kind]
            fields.append(pa.field(name, arrow, metadata=_about(next(iter(units)) if len(units) == 1 else None, inherited=True)))
        if self.dropped:
            report.note("warned", "", f"{len(self.dropped)} attributes beyond the first {MAX_COLUMNS} are kept as JSON in 'other_attributes'.")
        return pa.schema(fields)

    def table(self, rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
        """Rows of flat values (fixed ones included) as columns; rows' dicts come from `row`."""
        values: dict[str, list[Any]] = {name: [] for name in schema.names}
        places: dict[str, list[int]] = {name: [] for name in schema.names}
        for number, row in enumerate(rows):
            for name, value in row.items():
                values[name].append(value)
                places[name].append(number)
        return pa.table([_spread(pa.array(values[f.name], f.type), places[f.name], len(rows)) for f in schema], schema=schema)

    def row(self, attributes: dict[str, Any], **fixed: Any) -> dict[str, Any]:
        """One object's values in the columns' types."""
        row: dict[str, Any] = {k: v if isinstance(v, str | float) else as_json(v) for k, v in fixed.items() if v not in (None, "", [])}
        beyond, others, kinds = {}, {}, self.kinds
        for name, value in attributes.items():  # in their order; nearly all are plain texts
            if type(value) is str and kinds.get(name) == "text":
                row[name] = value
            else:
                others[name] = value
        for name, value in flatten(others) if others else ():
            plain = value.value if isinstance(value, Measure) else value
            kind = self.kinds.get(name)
            if kind is None:
                beyond[name] = value
            elif plain is not None:
                row[name] = float(plain) if kind == "float" else as_text(plain) if kind == "text" else plain
        if beyond:
            row["other_attributes"] = as_json(beyond)
        return row


def _spread(values: pa.Array, places: list[int], count: int) -> pa.Array:
    """A column of `count` rows with values at some places, in order, and nulls elsewhere: of many columns most rows have no value."""
    if len(places) == count:
        return values
    at = np.zeros(count, np.int64)
    at[places] = np.arange(len(places))
    none = np.ones(count, bool)
    none[places] = False
    return values.take(pa.array(at, mask=none)) if len(places) else pa.nulls(count, values.type)


@dataclass(frozen=True)
class Measure:
    """A number with a unit of measure."""

    value: float
    unit: str


def flatten(attributes: dict[str, Any], prefix: str = "", depth: int = 0) -> list[tuple[str, Any]]:
    """Nested objects as `outer.inner`, lists of anything but plain values of one kind as JSON text; a name that is taken becomes `attribute.name`."""
    flat: list[tuple[str, Any]] = []
    for key, value in attributes.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value and depth < 4:
            flat.extend(flatten(value, f"{name}.", depth + 1))
        else:
            plain = as_json(value) if isinstance(value, dict) or (isinstance(value, list) and _kind(value) == "text") else value
            flat.append((f"attribute.{name}" if name in RESERVED or not name else name, plain))
    return flat


def _about(unit: str | None, *, inherited: bool) -> dict[bytes, bytes]:
    """A column's metadata; in tiles a surface or a part has the attributes of its object."""
    return ({} if unit is None else {b"unit": unit.encode()}) | ({b"inherited": b"yes"} if inherited else {})


def _kind(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        kinds = {_kind(member) if isinstance(member, bool | int | float | str) else "none" for member in value}
        if kinds == {"text"} and not all(isinstance(member, str) for member in value):  # a number beyond 64 bits
            return "text"
        one = "float" if kinds == {"int", "float"} else next(iter(kinds), "")
        return "text" if "none" in kinds or (len(kinds) > 1 and kinds != {"int", "float"}) else f"[{one}]"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -(2**63) <= value < 2**63 else "text"
    return "float" if isinstance(value, float) else "text"


def _either(known: str, kind: str) -> str:
    """The kind of a column that holds values of both kinds."""
    if known == kind or not kind or not known:
        return known or kind
    if known.startswith("[") and kind.startswith("["):
        inner = _either(known[1:-1], kind[1:-1])
        return "text" if inner == "text" and "[]" not in (known, kind) else f"[{inner}]"
    return "float" if {kind, known} == {"int", "float"} else "text"


def as_text(value: Any) -> str:
    """A value of a text column."""
    return value if isinstance(value, str) else as_json(value)


def _measure_json(value: Any) -> Any:
    if isinstance(value, Measure):
        return {"value": value.value, "uom": value.unit}
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def as_json(value: Any) -> str:
    """Compact JSON, text as written."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_measure_json)


# --- reference ---------------------------------------------------------------------------------------------------

#: German AdV names of reference systems (GeoInfoDok, annex on CRS) and their EPSG codes.
ADV = {
    "ETRS89_UTM32": 25832, "ETRS89_UTM33": 25833, "ETRS89_UTM31": 25831, "DE_DHDN_3GK2": 31466, "DE_DHDN_3GK3": 31467, "DE_DHDN_3GK4": 31468, "DE_DHDN_3GK5": 31469,
    "ETRS89_Lat-Lon": 4258, "ETRS89_Lat-Lon-h": 4937, "DE_DHHN92_NH": 5783, "DE_DHHN2016_NH": 7837, "DE_DHHN85_NH": 5784,
}  # fmt: skip


def crs_text(name: str) -> str:
    """`urn:ogc:def:crs:EPSG::7415`, `https://www.opengis.net/def/crs/EPSG/0/7415`, compounds and AdV names → `EPSG:7415`, `EPSG:a+b`."""
    text = name.strip()
    if text.lower().startswith("urn:adv:crs:"):
        parts = text.split(":")[-1].split("*")
        codes = [str(ADV[part]) for part in parts if part in ADV] if parts[0] in ADV else []  # heights alone are no place
    else:
        found = re.findall(r"EPSG(?::[\d.]*:|/[\d.]+/|:+|\.xml#|#)(\d{4,6})(?:\+(\d{4,6}))?", text, re.IGNORECASE)
        codes = [code for pair in found for code in pair if code]
    return f"EPSG:{'+'.join(codes)}" if codes else text


def city_reference(stated: str | None, options: ReaderOptions, report: Report, where: str) -> Reference:
    """The reference of a city model: the user's, else the file's.

    Raises:
        MissingReference: no CRS, or no vertical datum.
        BadReference: a CRS that is unknown.
    """
    text = crs_text(stated) if stated else None
    if text and text.startswith("#") and not options.crs:
        raise BadReference(f"{where}: its coordinates are in an engineering system of its own ({text[:60]!r}), of which nothing says where on earth it lies.",
                           "Bring the model into the city's system; if its numbers are coordinates of a known one all the same, name that with --crs.")  # fmt: skip
    if options.crs and text and crs_text(options.crs) != text:
        report.note("assumed", "", f"The CRS {options.crs} given by the user replaces the file's {stated!r}.")
    chosen = options.crs or text
    reference = crs_module.parse_reference(chosen, options.vertical, vertical_offset=options.vertical_offset, where=where)
    if not reference.vertical:
        raise MissingReference(f"{where}: the heights of a city model are absolute, but {chosen} names no vertical datum.",
                               "Name it with --vertical, for example EPSG:5737 (1985 heights), EGM96 or ellipsoid.")  # fmt: skip
    if options.vertical and text:
        with suppress(BadReference, MissingReference):
            own = crs_module.parse_reference(text, None, where=where)
            if own.vertical and own.vertical != reference.vertical:
                report.note("assumed", "", f"The heights {options.vertical!r} given by the user replace the file's, which are {own.vertical}.")
    report.facts["georeference"] = {"stated": stated or "", "crs": reference.horizontal, "vertical": reference.vertical,
                                    "source": "option" if options.crs else "file"}  # fmt: skip
    return reference


@lru_cache(maxsize=16)
def _metric(horizontal: str) -> tuple[float, float] | float:
    """Of degrees the ellipsoid: (semi-major axis in metres, eccentricity squared); else metres per unit, 0 where they depend on the latitude (Mercator)."""
    parsed = crs_module.crs_of(horizontal)
    if not parsed.is_geographic:
        method = parsed.coordinate_operation.method_name if parsed.coordinate_operation is not None else ""
        return 0.0 if MERCATOR.match(method) else float(parsed.axis_info[0].unit_conversion_factor)
    geod = parsed.get_geod()
    if geod is None:
        raise BadReference(f"{horizontal} has no ellipsoid.", "Name the coordinate reference system with --crs.")
    return float(geod.a), float(geod.es)


def metres_of(reference: Reference, y: float) -> F64:
    """(3,) metres per unit of x, y and z near a place: what flatness, areas and volumes are measured with.

    Of degrees, those of the ellipsoid (radii of curvature in the prime vertical and in the meridian); of Mercator's projections, which stretch a house in Delft by
    1.6, those of the degrees that they show; else grid metres.
    """
    metric = _metric(reference.horizontal)
    if isinstance(metric, float):
        east, north = (metric, metric) if metric else _of_mercator(reference.horizontal, round(y / STRIP) * STRIP)
        return np.array([east, north, reference.vertical_unit])
    if not abs(y) <= 90:
        raise BadReference(f"Latitude {y:g} cannot be in {crs_module.crs_of(reference.horizontal).name}.", "Check --crs and the axis order.")
    return np.array([*_of_degrees(*metric, y), reference.vertical_unit])


def _of_degrees(major: float, squared: float, latitude: float) -> tuple[float, float]:
    """Metres of a degree to the east and to the north on an ellipsoid."""
    bent, degree = 1 - squared * math.sin(math.radians(latitude)) ** 2, math.radians(major)
    return degree / math.sqrt(bent) * max(math.cos(math.radians(latitude)), 1e-6), degree * (1 - squared) / bent**1.5


@lru_cache(maxsize=4096)
def _of_mercator(horizontal: str, y: float) -> tuple[float, float]:
    """Metres of a unit to the east and to the north."""
    lon, lat = crs_module.to_lonlat(horizontal, np.array([0.0, STRIP, 0.0]), np.array([y, y, y + STRIP]))
    ellipsoid = _metric("EPSG:4326")
    assert not isinstance(ellipsoid, float)
    east, north = _of_degrees(*ellipsoid, float(lat[0]))
    return east * float(lon[1] - lon[0]) / STRIP, north * float(lat[2] - lat[0]) / STRIP
