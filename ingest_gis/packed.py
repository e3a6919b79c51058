"""Vector data delivered in a ZIP: one data set is unpacked into a folder of its own and read from there.

A Shapefile comes with its members of the same name, a file geodatabase as the folder that it is. GDAL is given the files, never the
archive, and nothing is written but under the names of that data set, so no name can climb out of the folder.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
import zipfile
from pathlib import Path, PurePosixPath

from twin import scratch, sources, zips
from twin.errors import BadOption, UnreadableSource

SUFFIXES = (".shp", ".gpkg", ".geojson", ".geojsonl", ".geojsons", ".parquet", ".geoparquet", ".fgb", ".gdb")
"""Data sets that are looked for; `.json` is not, since it says nothing of what it holds."""
OTHERS = (".tif", ".tiff", ".asc", ".hgt", ".obj", ".gltf", ".glb", ".ply", ".stl")
"""What other readers take from a ZIP. Outlines that lie beside a terrain or a mesh do not make vectors of the delivery."""
BESIDE = (".shp", ".shx", ".dbf", ".prj", ".cpg")

Entries = dict[str, list[tuple[str, zipfile.ZipInfo]]]


class Unpacked:
    """A data set on disk at `path`, called `name`; the folder is gone with this object."""

    def __init__(self, source: Path, member: str | None) -> None:
        """Unpack the data set `member` (the only one, if None).

        Raises:
            UnreadableSource: damaged, encrypted, or without such data. BadOption: several and no choice, or no such member.
            BadInput: it is larger than `zips.MAX_UNPACKED`. StorageError: the disk is full.
        """
        found = data_sets(source)
        member = _choose(source.name, list(found), member)
        self.name = f"{source.name}/{PurePosixPath(member).name}"
        folder = Path(tempfile.gettempdir(), scratch.TWIN + scratch.name("unzip"))
        folder.mkdir(mode=0o700)
        remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = folder / PurePosixPath(member).name
        place = self.path if member.lower().endswith(".gdb") else folder
        place.mkdir(exist_ok=True)
        try:
            with zipfile.ZipFile(source) as archive:
                for name, info in found[member]:
                    zips.extract(archive, info, place / PurePosixPath(name).name, source.name)
        except BaseException as error:
            remove()  # whoever holds the error holds this object, too
            if not isinstance(error, zips.UNREADABLE):
                raise
            damaged = UnreadableSource(f"{source.name}: {member} cannot be unpacked ({error}).", "Download it again, or unpack it and give the file itself.")
            raise zips.failure(error, damaged) from error


def holds_vectors(source: Path, member: str | None) -> bool:
    """Whether a ZIP is a delivery of vector data: it holds some, and nothing that another reader takes from a ZIP; `member` decides alone."""
    if member is not None:
        return member.lower().endswith(SUFFIXES)
    try:
        with zipfile.ZipFile(source) as archive:
            others = any(name.lower().endswith(OTHERS) for name, _ in zips.names_of(archive))
    except zips.UNREADABLE:
        return False
    return not others and bool(data_sets(source))


def data_sets(source: Path) -> Entries:
    """The vector data sets of a ZIP by name, each with the entries that it consists of.

    Raises:
        UnreadableSource: no whole ZIP.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            entries = [(name, info) for name, info in zips.names_of(archive) if not info.is_dir()]
    except zips.UNREADABLE as error:
        raise UnreadableSource(f"{source.name} is not a whole ZIP file ({error}).", "Download it again.") from error
    found: Entries = {}
    beside: Entries = {}
    for name, info in entries:
        path = PurePosixPath(name)
        if sources.SIDE_FOLDERS & {part.lower() for part in path.parts[:-1]}:
            continue
        database = next((str(parent) for parent in path.parents if parent.suffix.lower() == ".gdb"), None)
        if database is not None:
            found.setdefault(database, []).append((name, info))
        elif name.lower().endswith(SUFFIXES):
            found[name] = [(name, info)]
        if name.lower().endswith(BESIDE):
            beside.setdefault(_stem(name), []).append((name, info))
    return {name: beside[_stem(name)] if name.lower().endswith(".shp") else entries for name, entries in found.items()}


def _stem(name: str) -> str:
    """Members of a Shapefile differ in their suffix, and in capitals from some programs."""
    return str(PurePosixPath(name).with_suffix("")).lower()


def _choose(source: str, names: list[str], member: str | None) -> str:
    told = ", ".join(sorted(names)[:8])
    if member is not None:
        if member not in names:
            raise BadOption(f"{source} holds no vector data {member!r}.", f"It holds: {told or 'none'}.")
        return member
    if not names:
        raise UnreadableSource(f"{source} holds no vector data ({' '.join(SUFFIXES)}).", "Unpack it and give the file itself.")
    if len(names) > 1:
        raise BadOption(f"{source} holds {len(names)} data sets: {told}.", f"Choose one with --option member={min(names)}.")
    return names[0]
