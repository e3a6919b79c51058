"""Run one file of the 3D Tiles corpora through the checker, by the kind of thing the file is.

Subtrees, schemas, property tables and buffers are fragments: the corpus checks each of them against one
fixed implicit tiling or schema, which lie beside them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiling.check import FolderSource, Report, Where, check_source, load_model
from tiling.check.archive import open_archive
from tiling.check.buffers import check_buffers
from tiling.check.content import identify, positions
from tiling.check.jsonfile import parse_json
from tiling.check.schema import check_schema
from tiling.check.source import fetch
from tiling.check.subtrees import Implicit, check_subtree
from tiling.check.tables import TABLES, check_table

SPECS = "3d-tiles-validator-specs/specs/data"
SAMPLES = "3d-tiles-samples"
#: Folders whose every file needs an expectation.
COVERED = (
    *(f"{SPECS}/{name}" for name in ("tilesets", "subtrees", "schemas", "propertyTables", "buffers", "Samples")),
    *(f"{SPECS}/gltfExtensions/{name}" for name in ("", "meshFeatures", "structuralMetadata")),
    SAMPLES,
)


def corpus_files(root: Path) -> list[str]:
    """Every file of the covered folders that is checked by itself, relative to ``root``."""
    found: set[Path] = set()
    for folder in COVERED:
        pattern = "*" if folder.endswith("/") else "**/*"
        found.update(p for p in (root / folder).glob(pattern) if p.is_file())
    return sorted(p.relative_to(root).as_posix() for p in found if not _is_part(p))


def _is_part(path: Path) -> bool:
    """Buffers, documentation and inputs: only ever read as a part of another file."""
    return path.suffix in {".bin", ".md", ".txt", ".input"} or path.name == "MetadataSchema.json"


def run(root: Path, name: str) -> Report:
    """Check one corpus file."""
    report, path, data = Report(), root / name, (root / name).read_bytes()
    where = Where(report, path.name)
    if f"{SPECS}/subtrees/" in name:
        _subtree(root, path, data, where)
    elif f"{SPECS}/schemas/" in name:
        value = parse_json(data, where)
        if value is not None:
            check_schema(value, where)
    elif f"{SPECS}/propertyTables/" in name:
        _property_table(root, data, where)
    elif f"{SPECS}/buffers/" in name:
        check_buffers(json.loads(data), where, embedded=False)
    elif "/subtrees/" in name or path.suffix in {".subtree"}:
        pass  # a subtree of a sample: its tileset says how many levels it has, and is checked
    elif path.suffix == ".json":
        # The corpus refers to ../schemas: its root is the data folder, not the tileset's.
        base = root / (SPECS if name.startswith(SPECS) else SAMPLES)
        source = FolderSource(base)
        check_source(source, path.relative_to(base).as_posix(), report=report, laws=False)
    elif path.suffix == ".3tz":
        archive = open_archive(data, where)
        if archive is not None:
            check_source(archive, report=report, laws=False)
    else:
        _content(path, data, where)
    return report


def _content(path: Path, data: bytes, where: Where) -> None:
    source = FolderSource(path.parent)

    def read(uri: str, at: Where) -> bytes | None:
        found = fetch(source, path.name, uri, at)
        return None if found is None else found[1]

    if path.suffix == ".gltf":
        load_model(data, read, where)
        return
    content = identify(data, path.name, where)
    for chunk in positions(data, content, read, where, "Y"):
        where.report.vertices += len(chunk)


def _subtree(root: Path, path: Path, data: bytes, where: Where) -> None:
    tiling: dict[str, Any] = json.loads((root / SPECS / "subtrees/validSubtreeImplicitTiling.json.input").read_text())
    schema = check_schema(json.loads((root / SPECS / "schemas/validSchema.json").read_text()), Where(Report(), "schema"))
    source = FolderSource(path.parent)

    def read(uri: str, at: Where) -> bytes | None:
        found = fetch(source, path.name, uri, at)
        return None if found is None else found[1]

    branching = 4 if tiling["subdivisionScheme"] == "QUADTREE" else 8
    implicit = Implicit(branching, tiling["subtreeLevels"], tiling["availableLevels"], 1)
    check_subtree(data, implicit, schema, read, where)


def _property_table(root: Path, data: bytes, where: Where) -> None:
    schema = check_schema(json.loads((root / SPECS / "schemas/FullMetadataSchema.json").read_text()), Where(Report(), "s"))
    value = json.loads(data)
    if TABLES.check(value["propertyTables"], where / "propertyTables") and schema is not None:
        views = [b"\0" * view["byteLength"] for view in value["bufferViews"]]
        starts = [view["byteOffset"] for view in value["bufferViews"]]
        for i, table in enumerate(value["propertyTables"]):
            check_table(table, schema, views, starts, where / "propertyTables" / i)
