"""The 3D Tiles corpora, file by file, against what is expected of each (``expected_3dtiles.json``).

An expectation is "valid", or the exact codes of the errors and warnings; where it differs from what the
corpus' own name or validator says of the file, ``why`` says so. Every file must have one.

Subtrees, schemas, property tables and buffers are fragments: the corpus checks each of them against one
fixed implicit tiling or schema, which lie beside them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tiling.check import FolderSource, Report, Where, check_source, load_model
from tiling.check.archive import open_archive
from tiling.check.buffers import check_buffers
from tiling.check.content import identify, positions
from tiling.check.jsonfile import parse_json
from tiling.check.schema import check_schema
from tiling.check.source import fetch, gunzip
from tiling.check.subtrees import Implicit, check_subtree
from tiling.check.tables import TABLES, check_table

EXPECTED: dict[str, Any] = json.loads(Path(__file__).with_name("expected_3dtiles.json").read_text())

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
    """Buffers, documentation, inputs and samples' subtrees: only ever read as a part of another file."""
    if path.suffix in {".bin", ".md", ".txt", ".input"} or path.name == "MetadataSchema.json":
        return True
    return "subtrees" in path.parts and ("Samples" in path.parts or SAMPLES in path.parts)


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
    unpacked = gunzip(data, where)
    assert unpacked is not None, "no corpus file has a broken gzip stream"
    data = unpacked
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


@pytest.fixture(scope="module")
def corpora(shared_data: Path) -> Path:
    root = shared_data / "peer_suites"
    if not (root / SPECS).is_dir():
        pytest.skip("the 3D Tiles corpora are absent: ../shared/data/peer_suites")
    return root


def test_every_file_has_an_expectation(corpora: Path) -> None:
    assert corpus_files(corpora) == sorted(EXPECTED)


def test_only_vendor_extensions_are_left_out(corpora: Path) -> None:
    """Folders without expectations are those of extensions that no tile of ours uses; every other file is checked, or read as a part."""
    checked = set(EXPECTED)
    left = [p.relative_to(corpora).as_posix() for top in (SPECS, SAMPLES) for p in (corpora / top).rglob("*") if p.is_file() and not _is_part(p)]
    outside = {"/".join(name.removeprefix(f"{SPECS}/").split("/")[:2]) for name in left if name not in checked}
    vendor = {name for name in outside if name.startswith(("extensions/", "gltfExtensions/gpmLocal", "gltfExtensions/khrLightsPunctual"))}
    assert outside == vendor


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_file(corpora: Path, name: str) -> None:
    expected = EXPECTED[name] if EXPECTED[name] != "valid" else {}
    report = run(corpora, name)
    listed = "\n".join(map(str, report.findings))
    assert report.codes("error") == set(expected.get("errors", ())), listed
    assert report.codes("warning") == set(expected.get("warnings", ())), listed


def test_samples_are_really_decoded(corpora: Path) -> None:
    """The tilesets that pass have their tiles found and their vertices read: numbers from the samples' notes."""
    octree = run(corpora, f"{SAMPLES}/1.1/SparseImplicitOctree/tileset.json")
    assert (octree.tiles, octree.contents, octree.vertices) == (58, 31, 31 * 24)
    instances = run(corpora, f"{SAMPLES}/glTF/GpuInstancesMetadata/tileset.json")
    assert instances.vertices == 10 * 24
