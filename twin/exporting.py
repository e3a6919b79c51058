"""Taking a layer out of the city: its tiles unpacked or as an archive, or its data as a file of the field."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import pyarrow as pa

from twin import parts
from twin.archive import Archive
from twin.city import City
from twin.crs import crs_of
from twin.errors import BadOption, Conflict, StorageError
from twin.model import LayerVersion

DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".parquet": "Parquet"}


Listener = Callable[[str, float, str], None]


def export(city: City, layer: str, path: Path, listener: Listener | None = None) -> dict[str, Any]:
    """Write the published version of a layer to `path`; what is written follows from the suffix (none: a folder of tiles).

    Raises:
        BadOption: the layer cannot be written in that format.
        Conflict: the target exists and is not empty.
        StorageError: it cannot be written.
    """
    _, version, derivation = city.published(layer)
    suffix = path.suffix.lower()
    if path.exists() and (path.is_file() or any(path.iterdir())):
        raise Conflict(f"{path} already exists.", "Choose another place; nothing is overwritten.")
    try:
        if suffix in ("", ".3tz"):
            if derivation is None:
                raise BadOption(f"Layer {layer!r} ({version.kind}) has no tileset.", _formats(version))
            archive = city.lake.path(derivation.archive)
            if suffix == ".3tz":
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(archive, path)
                return {"path": str(path), "what": f"archive of {derivation.info.get('tiles')} tiles"}
            return {"path": str(path), "what": f"{_unpack(archive, path, listener)} files"}
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix in DRIVERS:
            return {"path": str(path), "what": f"{_features(city, version, path):,} features"}
        for part in version.parts:
            if (part.role == "raster" and suffix in (".tif", ".tiff")) or (part.role == "cloud" and suffix == Path(part.key).suffix):
                shutil.copyfile(city.lake.path(part.key), path)
                return {"path": str(path), "what": f"{part.count:,} {'cells' if part.role == 'raster' else 'points'}"}
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}.") from error
    raise BadOption(f"Layer {layer!r} ({version.kind}) cannot be written as {suffix}.", _formats(version))


def _formats(version: LayerVersion) -> str:
    can = {"raster": ".tif", "terrain": "a folder, .3tz or .tif", "points": "a folder, .3tz or " + " ".join(Path(p.key).suffix for p in version.parts)}
    return f"It can be written as: {can.get(version.kind, 'a folder, .3tz, ' + ', '.join(DRIVERS))}."


def _unpack(archive: Path, folder: Path, listener: Listener | None) -> int:
    """Every entry as a file; names that climb out of the folder are refused by the archive reader."""
    with Archive(archive) as tiles:
        names = [name for name in tiles.names() if not name.startswith("@")]
        for done, name in enumerate(names):
            if listener:
                listener("unpacking", done / len(names), name)
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(tiles.read(name))
    return len(names)


def _features(city: City, version: LayerVersion, path: Path) -> int:
    """All features with their ids, in the layer's own CRS (GeoJSON: WGS 84, as RFC 7946 wants)."""
    chunks = list(parts.read_features(city.lake, version))
    if not chunks:
        raise BadOption(f"Layer {version.layer!r} holds no features.", _formats(version))
    table = pa.concat_tables([chunk.attributes for chunk in chunks])
    for index, column in enumerate(table.schema):
        if pa.types.is_nested(column.type) and path.suffix.lower() != ".parquet":
            texts = [json.dumps(value, ensure_ascii=False) if value is not None else None for value in table.column(index).to_pylist()]
            table = table.set_column(index, column.name, pa.array(texts, pa.string()))
    frame = table.to_pandas()
    frame.insert(0, "id", [text for chunk in chunks for text in chunk.ids.to_pylist()])
    geometry = [shape for chunk in chunks for shape in chunk.geometry]
    data = geopandas.GeoDataFrame(frame, geometry=geometry, crs=crs_of(version.reference.horizontal))
    match path.suffix.lower():
        case ".parquet":
            data.to_parquet(path)
        case ".geojson":
            data.to_crs(4326).to_file(path, driver="GeoJSON")
        case _:
            data.to_file(path, driver="GPKG", layer=version.layer)
    return len(data)
