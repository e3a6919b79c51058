"""Taking a layer out of the city: its tiles unpacked or as an archive, or its data as a file of the field."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from deflate import deflate_compress

from twin import cloud_file, feature_files, formats, registry, scratch
from twin.archive import INDEX, LEVEL, LOCAL_SIZE, Archive, ArchiveWriter, Packed, index_offsets, name_hash
from twin.archive import pack as pack_bytes
from twin.archive_set import ArchiveSet, merge
from twin.catalog import Derivation
from twin.city import City
from twin.errors import BadOption, BadTileset, Conflict, NotFound, StorageError
from twin.model import LayerVersion

FORMS = ("3dtiles-1.1", "3dtiles-1.0")


Listener = Callable[[str, float, str], None]


def export(city: City, layer: str, path: Path, listener: Listener | None = None, form: str = "3dtiles-1.1") -> dict[str, Any]:
    """Write the published version of a layer to `path`; what is written follows from the suffix (none: a folder of tiles).

    Everything is written beside its place first and moved there when it is whole: an error leaves nothing behind.

    Args:
        form: of a folder of tiles: ``3dtiles-1.1`` (as they are), or ``3dtiles-1.0`` for old clients (b3dm, pnts).

    Raises:
        BadOption: the layer cannot be written in that format.
        Conflict: the target exists and is not empty.
        StorageError: it cannot be written.
    """
    _, version, derivation = city.published(layer)
    suffix = "" if path.suffix[1:].isdecimal() else path.suffix.lower()  # tiles-1.1 is a folder
    if form not in FORMS or (form != FORMS[0] and suffix):
        raise BadOption(f"{path.name} cannot be written as {form}.", f"--format is one of {', '.join(FORMS)}; all but the first are folders.")
    _free(path, city.settings.home)
    with _whole(path) as place:
        if suffix in ("", ".3tz"):
            if derivation is None:
                raise BadOption(f"Layer {layer!r} ({version.kind}) has no tileset.", _formats(version))
            return {"path": str(path), "what": _tiles(city, derivation, place, suffix, listener, form)}
        if formats.takes(version, suffix):
            return {"path": str(path), "what": formats.export(city, version, place)}
        if suffix in feature_files.DRIVERS:
            count = feature_files.write(city.lake, version, place)
            if not count:
                raise BadOption(f"Layer {layer!r} holds no features.", _formats(version))
            return {"path": str(path), "what": f"{count:,} features"}
        rasters = [str(part.properties.get("file", "")) for part in version.parts if part.role == "raster"]
        if suffix in (".tif", ".tiff") and len(rasters) > 1:
            raise BadOption(f"Layer {layer!r} is a mosaic of {len(rasters)} rasters ({', '.join(rasters[:4])}); a .tif holds one.", "Export its tiles: --to FOLDER, or .3tz.")
        if version.kind == "points" and suffix in cloud_file.SUFFIXES:
            return {"path": str(path), "what": cloud_file.export(city.lake, version, place)}
        for part in version.parts:
            if part.role == "raster" and suffix in (".tif", ".tiff"):
                shutil.copyfile(city.lake.path(part.key), place)
                return {"path": str(path), "what": f"{part.count:,} cells"}
        raise BadOption(f"Layer {layer!r} ({version.kind}) cannot be written as {suffix}.", _formats(version))


def _free(path: Path, home: Path | None = None) -> None:
    """Whether there is room for what is written.

    Raises:
        Conflict: there is something, or it is where the city keeps its own, or the folder that the user is in. StorageError: nothing can have that name.
    """
    try:
        real = path.resolve()
        above = next(folder for folder in real.parents if folder.exists())
        taken = path.exists() and (not path.is_dir() or any(path.iterdir()))
    except (OSError, RuntimeError) as error:  # a name that is too long, links in a circle
        raise StorageError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}.", "Choose another place.") from error
    if taken:
        raise Conflict(f"{path} already exists.", "Choose another place; nothing is overwritten.")
    if not above.is_dir():
        raise StorageError(f"{path} cannot be written: {above} is no folder.", "Choose another place.")
    if home is not None and any(real.is_relative_to(home.resolve() / own) for own in ("lake", "cache", "runs")):
        raise Conflict(f"{path} lies where the city keeps its own files.", "Choose another place: what is not the city's there goes with the next twin gc.")
    if real == Path.cwd():
        raise Conflict(f"{path} is the folder that you are in.", "Name a new one in it; it is put in place as a whole.")


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to; it becomes `path` at the end, and goes away after an error."""
    place = path.with_name(f".{path.stem}-{scratch.name()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.sweep(path.parent, f".{path.stem}-")  # of this command, if it was killed
        yield place
        if path.is_dir():
            path.rmdir()  # it is empty
        scratch.publish(place, path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}.", "Nothing was written. Check the disk's space and the folder's permissions.") from error
    finally:
        with suppress(OSError):  # where no folder can be there is none; why, was said
            scratch.remove(place)


def _tiles(city: City, derivation: Derivation, place: Path, suffix: str, listener: Listener | None, form: str) -> str:
    """Write a tileset as one archive or as a folder; returns what was written."""
    if suffix and len(derivation.archives) == 1:
        shutil.copyfile(city.lake.path(derivation.archive), place)
        return f"archive of {derivation.info.get('tiles')} tiles"
    with ExitStack() as stack:
        tiles = ArchiveSet([stack.enter_context(Archive(city.lake.path(key))) for key in derivation.archives])
        if suffix:
            merge(tiles.archives, place)
            return f"archive of {derivation.info.get('tiles')} tiles"
        if form == FORMS[0]:
            return f"{unpack(tiles, place, listener)} files"
        told = (lambda fraction, doing: listener("converting", fraction, doing)) if listener else (lambda fraction, doing: None)
        return f"{registry.converter().convert(tiles, place, told)} files"


def _formats(version: LayerVersion) -> str:
    can = {"raster": ".tif, .nc, .zarr", "terrain": "a folder, .3tz, .tif, .nc, .zarr", "table": ".csv", "points": "a folder, .3tz, " + ", ".join(cloud_file.SUFFIXES)}
    return f"It can be written as: {can.get(version.kind, 'a folder, .3tz, .csv, ' + ', '.join(feature_files.DRIVERS))}."


def unpack(tiles: ArchiveSet, folder: Path, listener: Listener | None = None) -> int:
    """Every entry of a tileset's archives as a file, and of a single archive its index, so that `pack` can restore it byte by byte.

    Raises:
        BadTileset: a name that climbs out of the folder.
    """
    names = tiles.names()
    for done, name in enumerate(names):
        if listener:
            listener("unpacking", done / len(names), name)
        if ".." in name.split("/") or name.startswith("/") or ":" in name:
            raise BadTileset(f"{tiles.name} holds {name!r}, which is no place inside a folder.", "Tile the layer again.")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(tiles.read(name))
    if len(tiles.archives) == 1:
        (folder / INDEX).write_bytes(tiles.archives[0].index())
    return len(names)


def pack(folder: Path, path: Path) -> int:
    """A folder with a tileset → one archive; the archive it was unpacked from, byte by byte, where nothing was changed.

    The index that `unpack` left in the folder tells the order of the files and which were stored as they are. Without it they are
    sorted by name, with tileset.json last. Returns how many files there are.

    Raises:
        NotFound: there is no tileset.json (nor layer.json) in the folder.
        Conflict: `path` exists. StorageError: it cannot be written.
    """
    entries = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    if not {"tileset.json", "layer.json"} & entries.keys():
        raise NotFound(f"There is no tileset.json in {folder}.", "Give a folder that twin export wrote.")
    _free(path)
    if path.exists():
        raise Conflict(f"{path} already exists.", "Choose another place; nothing is overwritten.")
    index = entries.pop(INDEX, None)
    places = index_offsets(index.read_bytes()) if index is not None else {}
    order = sorted(entries, key=lambda name: (places.get(name_hash(name), 1 << 62), name == "tileset.json", name))
    ends = [(name, places.get(name_hash(name)), places.get(name_hash(after))) for name, after in pairwise(order)]
    room = {name: end - at - LOCAL_SIZE - len(name.encode()) for name, at, end in ends if at is not None and end is not None}
    levels: dict[str, int] = {}  # by suffix: each tiler has its own
    with _whole(path) as place, ArchiveWriter(place, path.name) as writer:
        for name in order:
            packed, levels[Path(name).suffix] = _as_it_was(entries[name].read_bytes(), room.get(name), levels.get(Path(name).suffix, LEVEL))
            writer.add_packed(name, packed)
    return len(order)


def _as_it_was(data: bytes, room: int | None, level: int) -> tuple[Packed, int]:
    """A file packed as it was in the archive, and by which level: where its bytes took `room` there, by the first that takes as much (`level` if none does)."""
    if room == len(data):
        return pack_bytes(data, deflate=False), level
    found = pack_bytes(data, level=level)
    for other in range(1, 13) if room not in (None, len(found.body)) else ():
        body = bytes(deflate_compress(data, other))
        if len(body) == room:
            return replace(found, body=body, deflated=True), other
    return found, level
