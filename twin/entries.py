"""The one table of readers, tilers and scenarios. A new format or scenario is one file and one line here.

Modules are imported only when used, so that the command starts fast and so that nothing but this table ties the city to its
pipelines. The table itself loads nothing, so that it can be asked first of all what to begin with (`twin.ahead`).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from twin.model import LayerKind


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
    """A "module:function", called in good time (`twin.ahead`): a tiler's without arguments while its layer is being read; a reader's with the source, the
    options that are given (texts by name) and the cache's folder before anything large is loaded, and once before that, without the folder, where
    no more is known than what the command line looks like. A reader's may return an event: set as soon as what it began leaves a core to others."""

    def load(self) -> Any:
        """Import the module."""
        return import_module(self.module)


_VECTOR = (".gpkg", ".geojson", ".geojsonl", ".geojsons", ".json", ".jsonl", ".shp", ".parquet", ".geoparquet", ".fgb", ".gdb", ".zip")

READERS: tuple[Entry, ...] = (
    Entry("cityjson", "ingest_bim.citymodels.cityjson", "mesh", (".json", ".jsonl", ".zip", ".json.gz", ".jsonl.gz"), several=True),
    Entry("citygml", "ingest_bim.citymodels.citygml", "mesh", (".gml", ".citygml", ".xml", ".zip", ".gml.gz", ".citygml.gz", ".xml.gz"), several=True),
    Entry("tileset", "ingest_bim.tilesets.reader", "tileset", (".json", ".3tz", ".zip")),
    Entry("footprints", "ingest_gis.footprints", "blocks", _VECTOR),
    Entry("vector", "ingest_gis.vector", "vector", _VECTOR),
    Entry("terrain", "ingest_gis.terrain", "terrain", (".tif", ".tiff", ".asc", ".hgt", ".zip"), several=True),
    Entry("raster", "ingest_gis.raster", "raster", (".tif", ".tiff", ".png", ".jpg", ".jp2", ".asc", ".zip")),
    Entry("netcdf", "ingest_gis.netcdf", "raster", (".nc", ".nc4", ".cdf")),
    Entry("points", "ingest_gis.points", "points", (".las", ".laz", ".e57"), several=True),
    Entry("meshfile", "ingest_bim.meshfiles.reader", "mesh", (".obj", ".gltf", ".glb", ".ply", ".stl", ".zip")),
    Entry("ifc", "ingest_bim.ifc.reader", "mesh", (".ifc", ".ifczip", ".ifcxml"), ahead="ingest_bim.ifc.early:begin"),
)

TILERS: tuple[Entry, ...] = (
    Entry("blocks", "tiling.blocks.tiler", "blocks"),
    Entry("mesh", "tiling.meshes.tiler", "mesh"),
    Entry("tileset", "tiling.adopted", "tileset"),
    Entry("points", "tiling.points.tiler", "points"),
    Entry("terrain", "tiling.terrain.tiler", "terrain", ahead="tiling.terrain.warm:warm"),
)

#: The module that verifies tiles: ``check_tileset(path)`` and ``check_layer(version, lake, archive, …)``.
CHECKER = "tiling.check"

#: The module that writes finished tiles for old clients: ``convert(archive, folder, listen) -> number of files``.
CONVERTER = "tiling.legacy.converter"

#: The codec of EXT_meshopt_compression.
MESHOPT = "tiling.encoding.meshopt"

SCENARIOS: tuple[Entry, ...] = (
    Entry("inundation", "scenarios.inundation", "scenario"),
    Entry("flood", "scenarios.flood", "scenario"),
)
