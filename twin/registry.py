"""The one table of readers, tilers and scenarios. A new format or scenario is one file and one line here.

Third parties add theirs by entry points in the groups ``wuyi_twin.readers``, ``wuyi_twin.tilers`` and
``wuyi_twin.scenarios`` (each naming an `Entry`). Modules are imported only when used, so that the command starts fast
and so that nothing but this table ties the city to its pipelines.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twin.errors import BadOption, NotFound
from twin.ground import Ground
from twin.lake import Lake
from twin.model import Layer, LayerKind


class Options(BaseModel):
    """Base of all option models: unknown names are errors, and names and titles come from the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ReaderOptions(Options):
    """What every reader understands."""

    crs: str | None = Field(None, description="Horizontal CRS, e.g. EPSG:4547, or compound EPSG:4547+5737; overrides the file's.")
    vertical: str | None = Field(None, description="Vertical datum: EPSG:5737 (1985), EGM96, ellipsoid, 'above ground'.")
    vertical_offset: float = Field(0.0, description="Metres from the geoid model's zero up to the datum's zero.")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table.

    A reader's module has ``Options`` (a `ReaderOptions`) and ``read(source: Path, options, report) -> Iterator[Batch]``;
    where suffixes are shared it also has ``detect(source, options) -> bool``.
    A tiler's module has ``Options``, ``CODE_VERSION: str`` and ``tile(version, job) -> dict`` (see `tiling`).
    A scenario's module has what `scenarios.contract` says.
    """

    name: str
    module: str
    kind: LayerKind | Literal["scenario"]
    suffixes: tuple[str, ...] = ()
    several: bool = False
    """Whether a reader's `read` also takes a folder or a list of files as `source`."""
    ahead: str = ""
    """What a tiler likes to have called while its layer is being read ("module:function", `twin.ahead`)."""

    def load(self) -> Any:
        """Import the module."""
        return import_module(self.module)


M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Previous:
    """What an earlier build of a layer left: its archive (or archives), and the keys of its `sidecars` in the lake by name."""

    archives: tuple[Path, ...]
    sidecars: dict[str, str]


@dataclass(frozen=True)
class TileJob:
    """What a tiler is given besides the version.

    Attributes:
        lake: where the version's parts are read from.
        out: the archive to write (`twin.archive.ArchiveWriter`); nothing else is kept.
        options: the tiler's own `Options`.
        ground: the city's published terrain, or None.
        previous: an earlier build of the same layer by the same tiler; the bytes written must not depend on it.
        workers: processes it may use; the bytes written must not depend on it.
        progress: called with (done fraction 0–1, what is being done); raises Cancelled when the job was dismissed.
        about: what the layer is (CIM group and grade, titles), for the tileset's metadata.
    """

    lake: Lake
    out: Path
    options: Any
    ground: Ground | None = None
    workers: int = 1
    progress: Callable[[float, str], None] = lambda fraction, doing: None
    previous: Previous | None = None
    about: Layer | None = None


_VECTOR = (".gpkg", ".geojson", ".json", ".shp", ".parquet", ".geoparquet", ".fgb")

READERS: tuple[Entry, ...] = (
    Entry("cityjson", "ingest_bim.cityjson", "mesh", (".json", ".jsonl", ".zip"), several=True),
    Entry("citygml", "ingest_bim.citygml", "mesh", (".gml", ".citygml", ".xml", ".zip"), several=True),
    Entry("tileset", "ingest_bim.adopted", "tileset", (".json", ".3tz")),
    Entry("footprints", "ingest_gis.footprints", "blocks", _VECTOR),
    Entry("vector", "ingest_gis.vector", "vector", _VECTOR),
    Entry("terrain", "ingest_gis.terrain", "terrain", (".tif", ".tiff", ".asc", ".hgt", ".zip"), several=True),
    Entry("raster", "ingest_gis.raster", "raster", (".tif", ".tiff", ".png", ".jpg", ".jp2", ".asc")),
    Entry("netcdf", "ingest_gis.netcdf", "raster", (".nc", ".nc4", ".cdf")),
    Entry("points", "ingest_gis.points", "points", (".las", ".laz", ".e57"), several=True),
    Entry("meshfile", "ingest_bim.meshfile", "mesh", (".obj", ".gltf", ".glb", ".ply", ".stl", ".zip")),
    Entry("ifc", "ingest_bim.ifc", "mesh", (".ifc", ".ifczip", ".ifcxml")),
)

TILERS: tuple[Entry, ...] = (
    Entry("blocks", "tiling.blocks", "blocks"),
    Entry("mesh", "tiling.mesh", "mesh"),
    Entry("tileset", "tiling.adopted", "tileset"),
    Entry("points", "tiling.points", "points"),
    Entry("terrain", "tiling.terrain", "terrain", ahead="tiling.terrain_warm:warm"),
)

#: The module that verifies tiles: ``check_tileset(path)`` and ``check_layer(version, lake, archive, …)``.
CHECKER = "tiling.check"

#: The module that writes finished tiles for old clients: ``convert(archive, folder, listen) -> number of files``.
CONVERTER = "tiling.legacy"

SCENARIOS: tuple[Entry, ...] = (
    Entry("inundation", "scenarios.inundation", "scenario"),
    Entry("flood", "scenarios.flood", "scenario"),
)


@cache
def _table(group: str) -> dict[str, Entry]:
    builtin = {"readers": READERS, "tilers": TILERS, "scenarios": SCENARIOS}[group]
    table = {entry.name: entry for entry in builtin}
    for point in entry_points(group=f"wuyi_twin.{group}"):
        entry: Entry = point.load()
        table[entry.name] = entry
    return table


def readers() -> dict[str, Entry]:
    """All readers by name."""
    return _table("readers")


def tilers() -> dict[str, Entry]:
    """All tilers by name."""
    return _table("tilers")


def scenarios() -> dict[str, Entry]:
    """All scenarios by name."""
    return _table("scenarios")


def checker() -> Any:
    """The module that verifies tiles."""
    return import_module(CHECKER)


def converter() -> Any:
    """The module that writes 3D Tiles 1.0."""
    return import_module(CONVERTER)


def find(table: dict[str, Entry], name: str, what: str) -> Entry:
    """An entry by name, or NotFound with the names there are."""
    if name not in table:
        raise NotFound(f"There is no {what} {name!r}.", f"Known: {', '.join(sorted(table))}.")
    return table[name]


def parse_options(model: type[M], values: dict[str, Any], where: str) -> M:
    """Values from the command line or a request → the option model.

    Raises:
        BadOption: an unknown name or a value that does not fit, each named.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"]) or "options"
            problems.append(f"{name}: {'unknown option' if problem['type'] == 'extra_forbidden' else problem['msg']}")
        known = ", ".join(model.model_fields)
        raise BadOption(f"{where}: {'; '.join(problems)}.", f"Options: {known}.") from error


def from_text(model: type[BaseModel], texts: dict[str, str]) -> dict[str, Any]:
    """Command-line texts → values for a model: lists are split at commas or read as JSON, an empty text of an optional list is None.

    Names that the model does not know are passed on as they are, for the model to refuse.
    """
    values: dict[str, Any] = {}
    for name, text in texts.items():
        info = model.model_fields.get(name)
        kinds = {get_origin(k) for k in (info.annotation, *get_args(info.annotation))} if info else set()
        if kinds & {tuple, list} and text.lstrip().startswith(("[", "{")):  # rows or GeoJSON, as a request would send them
            try:
                values[name] = json.loads(text)
            except ValueError as error:
                raise BadOption(f"{name}: not JSON ({error}).", "Check brackets and commas.") from error
        elif kinds & {tuple, list}:
            values[name] = [part.strip() for part in text.split(",")] if text.strip() else None
        else:
            values[name] = text
    return values
