r"""Checking tilesets against 3D Tiles 1.0 and 1.1 and the glTF extensions for metadata, by our own code.

The checker shares nothing with the code that writes tiles: a mistake made there is not repeated here.

    report = check_tileset("city/tileset.json")
    print(report.summary(), *report.errors, sep="\n")

A layer of a city is also held against its source, feature by feature:

    report = check_layer(version, lake, archive, ground=ground, info=facts)

It follows external tilesets, implicit tiling and nested archives, decodes every vertex and requires it
inside its tile's bounding volume, and decodes every property table.
"""

from __future__ import annotations

import zipfile
from contextlib import closing
from pathlib import Path, PurePosixPath

import numpy as np

from twin.zips import UNREADABLE

from .archive import open_archive
from .diff import diff_tilesets
from .glb import Model, decode_glb, load_model
from .issues import Finding, Report, Where
from .jsonfile import parse_json
from .layer import check_layer, check_positions
from .positions import Task
from .reached import Watched
from .scene import FeatureIds, Primitive
from .source import CallableSource, FolderSource, Source, fetch
from .statistics_kept import Kept, is_own
from .tables import PropertyTable, property_table_rows
from .terrain import check_terrain
from .walk import Walker

__all__ = [
    "CallableSource",
    "FeatureIds",
    "Finding",
    "FolderSource",
    "Model",
    "Primitive",
    "PropertyTable",
    "Report",
    "Source",
    "Task",
    "Where",
    "check_layer",
    "check_positions",
    "check_source",
    "check_terrain",
    "check_tileset",
    "decode_glb",
    "diff_tilesets",
    "load_model",
    "property_table_rows",
]


def check_tileset(source: str | Path, *, limit_contents: int | None = None, laws: bool = True) -> Report:
    """Check a tileset: a tileset.json or a layer.json, a folder with one, or a .3tz archive (of tiles, or of terrain with layer.json).

    ``limit_contents``: decode at most so many contents (the rest counts as not decoded in the report).
    ``laws``: report as errors also what breaks a law of this project where the standard only advises (a
    child's volume outside of its parent's, an external tileset with a greater geometric error, a content that
    is drawn twice or never, an implicit leaf without content, availableLevels without tiles); False for tilesets that others made.
    A source that does not exist or cannot be read is a finding, not an exception.
    """
    report, path = Report(), Path(source)
    where = Where(report, path.name)
    if path.name == "layer.json" and path.is_file():
        return check_terrain(path.parent, report=report, limit_contents=limit_contents)
    if path.is_dir() and (path / "layer.json").is_file():
        check_terrain(path, report=report, limit_contents=limit_contents)
        if not (path / "tileset.json").is_file():
            return report
    if path.is_dir():
        return check_source(FolderSource(path), report=report, limit_contents=limit_contents, laws=laws)
    if not path.is_file():
        where.error("RESOURCE_MISSING", f"there is no file {path}")
        return report
    if path.suffix.lower() == ".3tz":
        meshes, models = _entries(path)
        if meshes:
            check_terrain(path, report=report, limit_contents=limit_contents)
        if meshes and not models:
            return report
        archive = open_archive(path, where)
        if archive is not None:
            with closing(archive):
                check_source(archive, report=report, limit_contents=limit_contents, laws=laws)
        return report
    folder = FolderSource(path.parent)
    return check_source(folder, path.name, report=report, limit_contents=limit_contents, laws=laws)


def _entries(path: Path) -> tuple[bool, bool]:
    """Whether an archive holds terrain (layer.json), and whether 3D Tiles (tileset.json)."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            return "layer.json" in names, "tileset.json" in names
    except UNREADABLE:
        return False, True  # `open_archive` says what is wrong


def check_source(
    source: Source,
    entry: str = "tileset.json",
    *,
    report: Report | None = None,
    limit_contents: int | None = None,
    laws: bool = True,
) -> Report:
    """Check the tileset at ``entry`` of any source of bytes (see ``CallableSource``)."""
    report = report if report is not None else Report()
    found = fetch(source, "", entry, Where(report, entry))
    if found is not None:
        with np.errstate(all="ignore"):  # absurd numbers become infinities, which no volume contains
            watched, kept = Watched(source), Kept()
            walker = Walker(report, limit_contents, laws)
            document = parse_json(found[1], Where(Report(), ""))  # the walk says what is wrong with it
            if laws and is_own(document) and PurePosixPath(entry).name == "tileset.json":  # a part of one, named otherwise, has no statistics
                walker.observe = lambda model, transform, where, standing: kept.see(model)
            walker.tileset(found[1], entry, watched, "", None)
            kept.finish(document, Where(report, entry))
            if laws and not walker.enough():
                watched.report_unread(Where(report, entry))
    return report
