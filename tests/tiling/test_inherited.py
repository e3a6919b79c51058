"""Attributes of what is drawn through its surfaces and parts: in tiles they have what their object states; the layer's own rows stay as they were read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent))
from tiling_helpers import decoded

from ingest_bim.citymodels import cityjson
from tiling.check import check_tileset
from tiling.meshes import inherited, tiler
from twin.archive import Archive
from twin.lake import Lake
from twin.model import Report
from twin.parts import write_version
from twin.registry import TileJob

KINDS = ["GroundSurface", "RoofSurface", "WallSurface", "WallSurface", "WallSurface", "WallSurface"]
FACES = [[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]]


def town(path: Path, count: int = 1) -> Path:
    """Schools of a part each, whose faces are surfaces; one part states floors of its own, one roof a use; a tree belongs to nothing."""
    things: dict[str, Any] = {}
    vertices: list[list[int]] = []
    for n in range(count):
        first = len(vertices)
        vertices += [[20 * n + x, y, z] for z in (0, 9) for x, y in ((0, 0), (8, 0), (8, 8), (0, 8))]
        surfaces = [{"type": kind, **({"use": "garden"} if kind == "RoofSurface" else {})} for kind in KINDS]
        things[f"school{n}"] = {"type": "Building", "children": [f"part{n}"], "attributes": {"use": "school", "floors": 3 + n, "tags": ["a", f"b{n}"], "open": n % 2 == 0, "none": None}}
        things[f"part{n}"] = {"type": "BuildingPart", "parents": [f"school{n}"], "attributes": {"floors": 9} if n == 1 else {}, "geometry": [
            {"type": "MultiSurface", "lod": "2", "boundaries": [[[first + i for i in face]] for face in FACES], "semantics": {"surfaces": surfaces, "values": list(range(6))}}]}  # fmt: skip
    first = len(vertices)
    vertices += [[-20, 0, 0], [-12, 0, 0], [-12, 8, 0]]
    things["tree"] = {"type": "SolitaryVegetationObject", "attributes": {"floors": 1}, "geometry": [{"type": "MultiSurface", "lod": "1", "boundaries": [[[first, first + 1, first + 2]]]}]}
    path.write_text(json.dumps({"type": "CityJSON", "version": "2.0", "transform": {"scale": [1, 1, 1], "translate": [400_000, 2_500_000, 10]},
                                "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/4547"}, "CityObjects": things, "vertices": vertices}))  # fmt: skip
    return path


def tiled(path: Path, lake: Lake, folder: Path, **options: Any) -> tuple[dict[str, dict[str, Any]], dict[str, Any], Any]:
    version = write_version(lake, "m", "mesh", cityjson.read(path, cityjson.Options(vertical="EPSG:5737"), Report()), Report(), provenance={})
    out = folder / "m.3tz"
    tiler.tile(version, TileJob(lake, out, tiler.Options(**options)))
    assert check_tileset(out).ok
    return {feature: row for feature, _, _, row in decoded(out)}, json.loads(Archive(out).read("tileset.json")), version


def test_surfaces_and_parts_show_what_their_object_states(tmp_path: Path, lake: Lake) -> None:
    rows, document, version = tiled(town(tmp_path / "t.json", 2), lake, tmp_path)
    roofs = [row for row in rows.values() if row["class"] == "RoofSurface"]
    walls = [row for row in rows.values() if row["class"] == "WallSurface"]
    assert len(roofs) == 2 and len(walls) == 8
    assert {row["use"] for row in roofs} == {"garden"} and {row["use"] for row in walls} == {"school"}
    assert {(row["parent"], row["floors"]) for row in walls} == {("part0", 3), ("part1", 9)}, "the nearest counts"
    assert {(row["parent"], tuple(row["tags"]), row["open"]) for row in walls} == {("part0", ("a", "b0"), "true"), ("part1", ("a", "b1"), "false")}
    assert rows["tree"]["floors"] == 1 and rows["tree"].get("use") is None
    properties = document["schema"]["classes"]["m"]["properties"]
    assert "where it states none" in properties["floors"]["description"]
    assert "where it states none" not in properties["class"].get("description", "")
    source = pa.concat_tables([pq.read_table(lake.path(part.key)) for part in version.parts if part.role == "features"], promote_options="default").to_pylist()
    assert {row["use"] for row in source if row["class"] == "WallSurface"} == {None}, "the layer's rows stay as they were read"


def test_rows_on_disk_and_in_memory_are_the_same(tmp_path: Path, lake: Lake, monkeypatch: Any) -> None:
    """Many objects, whose rows do not fit; hashes that are sorted by the way."""
    path = town(tmp_path / "t.json", 300)
    whole, *_ = tiled(path, lake, tmp_path, budget=3000)
    monkeypatch.setattr(inherited, "HELD", 7)
    some, *_ = tiled(path, lake, tmp_path, budget=3000, in_memory=1000)
    assert whole == some and len(whole) == 1801
    assert {(row["parent"], row["floors"]) for row in whole.values() if row["class"] == "WallSurface"} == {(f"part{n}", 9 if n == 1 else 3 + n) for n in range(300)}


def test_circles_and_absent_parents_end(tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b", "c", "d"], "v": pa.array([None, None, None, 4], pa.int64()), "parent": ["b", "a", "gone", None]})
    pq.write_table(table, tmp_path / "p.parquet")
    above = inherited.Inherited.of([tmp_path / "p.parquet"], ["v"], table.schema, tmp_path / "above.arrow", 1 << 20)
    assert above is not None
    assert above.fill(table).column("v").to_pylist() == [None, None, None, 4]
    assert above.fill(table.slice(0, 0)).num_rows == 0
    assert np.all(np.diff(above.hashes.astype(object)) > 0)
