"""The nouns of the city: references, batches, layers, versions, reports. Small, frozen, no I/O.

A *Batch* is columns, never one object per element. Five kinds carry everything a source can hold
(`Features`, `Mesh`, `Points`, `Grid`, `Table`) and `Asset` is a file that is already in its lake format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from twin.errors import brief

LayerKind = Literal["blocks", "mesh", "points", "tileset", "vector", "raster", "terrain", "table"]
Group = Literal["时空基础", "资源调查", "规划管控", "工程建设项目", "公共专题", "物联感知"]
"""The six data groups of CJJ/T 315-2022."""

LABELS = ("open", "internal", "restricted")
"""Security labels, lowest first; a result inherits the highest of its inputs."""

ABOVE_GROUND = "above ground"
ELLIPSOID = "EPSG:4979"


@dataclass(frozen=True, slots=True)
class Reference:
    """In what coordinates a batch is written.

    Attributes:
        horizontal: CRS as `EPSG:n` or WKT; axis order is always x = easting/longitude, y = northing/latitude.
        vertical: vertical datum: `EPSG:5737` (1985 国家高程基准), `EPSG:5773` (EGM96), `EPSG:4979` (ellipsoid),
            `above ground` (relative), or "" where the source has no heights.
        vertical_unit: metres per unit of the heights (1.0; 0.3048 for feet).
        vertical_offset: metres to add to the datum's zero to reach its geoid model's zero, as stated by the user.
    """

    horizontal: str
    vertical: str = ""
    vertical_unit: float = 1.0
    vertical_offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """An axis-parallel box in the units of its reference; z is NaN where there are no heights."""

    minx: float
    miny: float
    maxx: float
    maxy: float
    minz: float = float("nan")
    maxz: float = float("nan")

    @staticmethod
    def of(xyz: NDArray[np.float64]) -> Bounds:
        """Bounds of an (N, 2) or (N, 3) coordinate array, N ≥ 1."""
        low, high = np.min(xyz, axis=0), np.max(xyz, axis=0)
        z = (float(low[2]), float(high[2])) if xyz.shape[1] > 2 else (float("nan"), float("nan"))
        return Bounds(float(low[0]), float(low[1]), float(high[0]), float(high[1]), *z)

    @staticmethod
    def union(many: Iterable[Bounds]) -> Bounds:
        """The smallest box around all boxes (at least one); NaN heights are left out."""
        rows = np.array([(b.minx, b.miny, b.maxx, b.maxy, b.minz, b.maxz) for b in many], dtype=np.float64)
        low, high = np.fmin.reduce(rows, axis=0), np.fmax.reduce(rows, axis=0)
        return Bounds(*(float(v) for v in (low[0], low[1], high[2], high[3], low[4], high[5])))


@dataclass(frozen=True, slots=True)
class Column:
    """One attribute of a layer: `name` as stored, Arrow `type`, SI `unit` ("" if none), titles for people.

    `inherited`: in tiles a feature that states none has that of the feature it belongs to (`tiling.meshes.inherited`).
    """

    name: str
    type: str
    unit: str = ""
    title: dict[str, str] = field(default_factory=dict)
    inherited: bool = False


Wrap = Literal["repeat", "mirror", "clamp"]


@dataclass(frozen=True, slots=True)
class Texture:
    """An image drawn over surfaces.

    Attributes:
        image: SHA-256 (hex) of the image file's bytes, its key in `Mesh.images`.
        size: (width, height) in pixels.
        wrap: what lies outside of 0–1, along u and along v.
    """

    image: str
    size: tuple[int, int]
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")


@dataclass(frozen=True, slots=True)
class Material:
    """Surface colour: linear-free sRGB `color` (r, g, b, a in 0–1); drawn from both sides if `double_sided`.

    Where there is a `texture`, it is drawn multiplied by the colour, at the corners that have UVs.
    """

    name: str = ""
    color: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 1.0)
    double_sided: bool = False
    texture: Texture | None = None


@dataclass(frozen=True)
class Features:
    """Vector features in columns.

    Attributes:
        reference: CRS and vertical datum of `geometry`.
        ids: (N,) unique stable texts.
        geometry: (N,) object array of shapely geometries (None where a feature has none).
        attributes: Arrow table of N rows.
        parents: (N,) text or None: the id of the feature this one belongs to.
    """

    reference: Reference
    ids: pa.Array
    geometry: NDArray[np.object_]
    attributes: pa.Table
    parents: pa.Array | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Mesh:
    """Triangle meshes with features: prototypes (shapes) placed by instances.

    Prototype p owns vertices `vertex_start[p]:vertex_start[p+1]` and triangles `triangle_start[p]:triangle_start[p+1]`.
    Triangle corners are indices *local to their prototype*. An instance places one prototype for one feature.

    Attributes:
        reference: CRS and vertical datum of the placed coordinates (`transforms` @ positions).
        ids: (F,) unique stable feature texts (IFC GlobalId, …).
        attributes: Arrow table of F rows (class, name, storey, …).
        positions: (V, 3) float64, prototype-local metres.
        triangles: (T, 3) int32, counter-clockwise seen from outside.
        triangle_material: (T,) int32 into `materials`.
        vertex_start, triangle_start: (P + 1,) int64.
        instance_prototype: (I,) int32; instance_feature: (I,) int32 row of `ids`.
        transforms: (I, 4, 4) float64, row-major, prototype-local → reference coordinates.
        parents: (F,) text or None.
        uv: (T, 3, 2) float32 of each triangle's corners: u to the right, v down from the image's upper left corner, both
            0–1; NaN at triangles without texture. None where nothing is textured.
        colors: (T, 3, 4) uint8 sRGB and opacity of the corners, multiplied with the material's colour, or None.
        images: the image files (PNG, JPEG, WebP, …) by `Texture.image`.
        outlines: (F,) shapely geometry of features that are points or lines and so have no triangles (None elsewhere), or None.
    """

    reference: Reference
    ids: pa.Array
    attributes: pa.Table
    positions: NDArray[np.float64]
    triangles: NDArray[np.int32]
    triangle_material: NDArray[np.int32]
    vertex_start: NDArray[np.int64]
    triangle_start: NDArray[np.int64]
    instance_prototype: NDArray[np.int32]
    instance_feature: NDArray[np.int32]
    transforms: NDArray[np.float64]
    materials: tuple[Material, ...] = (Material(),)
    parents: pa.Array | None = None
    uv: NDArray[np.float32] | None = None
    colors: NDArray[np.uint8] | None = None
    images: Mapping[str, bytes] = field(default_factory=dict)
    outlines: NDArray[np.object_] | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Points:
    """A chunk of a point cloud: xyz (N, 3) float64 in `reference`; other columns by name, each (N,) or (N, k)."""

    reference: Reference
    xyz: NDArray[np.float64]
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.xyz)


@dataclass(frozen=True)
class Grid:
    """A georeferenced raster held in memory.

    Attributes:
        data: (bands, rows, columns), row 0 is the north edge.
        transform: affine (a, b, c, d, e, f): x = a·col + b·row + c, y = d·col + e·row + f of pixel corners.
        nodata: value of cells without data, or None.
        bands: one Column (name, type, unit) a band.
        legend: colour ramp or classes as in `Layer.style["legend"]`, if the producer knows it.
        properties: kept with the part. Of a field over time, each moment is a Grid: `time` (s after the start), `start` (ISO 8601 or "");
            `scale`: what the stored numbers are multiplied by (1 if absent).
    """

    reference: Reference
    data: NDArray[Any]
    transform: tuple[float, float, float, float, float, float]
    nodata: float | None
    bands: tuple[Column, ...]
    legend: dict[str, Any] | None = None
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Rows without geometry: relations, property sets in long form, hydrographs, ledgers."""

    name: str
    rows: pa.Table


@dataclass(frozen=True)
class Asset:
    """A file already in its lake format (COG, LAS/LAZ/COPC, a tileset's archive), taken over as it is.

    `path` is copied into the lake; `bounds` are in `reference`; `count` is points, pixels or tile contents;
    `properties` is what a tiler needs without opening the file (bands, nodata, legend, point format, …).
    """

    reference: Reference
    path: Path
    format: Literal["cog", "las", "laz", "copc", "3tz"]
    bounds: Bounds
    count: int
    properties: dict[str, Any] = field(default_factory=dict)


Batch = Features | Mesh | Points | Grid | Table | Asset


@dataclass(frozen=True, slots=True)
class Note:
    """One line of a report. `feature` is the id (or row, or file position) it speaks of, "" for the whole file."""

    action: Literal["repaired", "refused", "skipped", "warned", "assumed"]
    feature: str
    reason: str


@dataclass
class Report:
    """What became of a source: nothing is dropped in silence. Collected while reading, kept with the version.

    `notes` keeps the first `LIMIT` notes of each (action, reason kind); `counts` is always complete.
    """

    LIMIT = 1000
    source: str = ""
    read: int = 0
    kept: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def note(self, action: Literal["repaired", "refused", "skipped", "warned", "assumed"], feature: str, reason: str) -> None:
        """Write down what happened to a feature and why."""
        self.counts[action] = self.counts.get(action, 0) + 1
        if self.counts[action] <= self.LIMIT:
            self.notes.append(Note(action, brief(feature, 200), reason))

    def include(self, other: Report, name: str = "") -> None:
        """Take over the notes of a part of the source (one of its files), under its name if it has one; numbers and facts are left to the caller."""
        for each in other.notes:
            self.note(each.action, each.feature, f"{name}: {each.reason}" if name else each.reason)
        for action, count in other.counts.items():  # notes beyond the limit are counted, as here
            self.counts[action] += count - sum(each.action == action for each in other.notes)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "source": self.source, "read": self.read, "kept": self.kept, "counts": self.counts, "facts": self.facts,
            "notes": [{"action": n.action, "feature": n.feature, "reason": n.reason} for n in self.notes],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """One immutable, content-addressed file of a version.

    `role` is what it holds: features, mesh:prototypes, mesh:instances, mesh:images, table:<name>, raster, cloud, tileset.
    `key` is its name in the lake (sha256 + suffix); `count` rows/points/pixels; `bounds` in the version's reference.
    `hidden`: ids of this part's features that a later part of the version replaces.
    """

    role: str
    key: str
    size: int
    count: int
    bounds: Bounds | None = None
    properties: dict[str, Any] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerVersion:
    """A manifest: which parts make up one state of a layer, and where they came from.

    `extent` is WGS 84 longitude/latitude degrees (minx…maxy); `reference` is that of the parts.
    `tombstones`: ids that earlier parts hold and this version no longer shows.
    """

    layer: str
    kind: LayerKind
    reference: Reference
    parts: tuple[Part, ...]
    columns: tuple[Column, ...]
    count: int
    extent: Bounds | None
    report: dict[str, Any]
    provenance: dict[str, Any]
    style: dict[str, Any] = field(default_factory=dict)
    tombstones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """What a layer is, apart from its data. `label` is its security label (open < internal < restricted)."""

    name: str
    kind: LayerKind
    title: dict[str, str]
    group: Group = "时空基础"
    grade: str = ""
    licence: str = ""
    label: Literal["open", "internal", "restricted"] = "open"
    description: str = ""
