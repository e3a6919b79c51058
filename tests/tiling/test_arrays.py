"""Array attributes from files to tiles and answers: GeoParquet, GeoJSON and CityJSON; read back by a decoder of this file, which knows only the specification."""

from __future__ import annotations

import json
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import CRS

from ingest_bim.citymodels import cityjson
from ingest_gis import vector
from tiling.blocks import tiler as blocks
from tiling.check import check_tileset
from tiling.meshes import tiler as mesh
from twin import cql2, parts
from twin.lake import Lake
from twin.model import LayerVersion, Report
from twin.registry import TileJob
from twin.statistics import summarise

Rows = dict[str, dict[str, Any]]


def tables(glb: bytes) -> list[tuple[dict[str, Any], dict[str, Any], Any]]:
    """(class, table, function of a buffer view's bytes) of each property table of a glb."""
    length = int.from_bytes(glb[12:16], "little")
    document, body = json.loads(glb[20 : 20 + length]), glb[28 + length :]
    meta = document["extensions"]["EXT_structural_metadata"]

    def view(number: int) -> bytes:
        at = document["bufferViews"][number]
        return body[at.get("byteOffset", 0) :][: at["byteLength"]]

    return [(meta["schema"]["classes"][t["class"]] | {"enums": meta["schema"].get("enums", {})}, t, view) for t in meta["propertyTables"]]


def column(about: dict[str, Any], enums: dict[str, Any], given: dict[str, Any] | None, rows: int, view: Any) -> list[Any]:
    """A property's values, noData and absent columns as None or the default (3D Metadata Specification 1.0, binary table format)."""
    if given is None:
        return [about.get("default")] * rows
    offsets = {k: np.frombuffer(view(given[k]), given.get(f"{k[:-1]}Type", "UINT32").lower()).tolist() for k in ("arrayOffsets", "stringOffsets") if k in given}
    ends = offsets.get("arrayOffsets") or list(range(0, rows * about.get("count", 1) + 1, about.get("count", 1)))
    data = view(given["values"])
    if about["type"] == "STRING":
        flat: list[Any] = [data[a:b].decode() for a, b in pairwise(offsets["stringOffsets"])]
    elif about["type"] == "BOOLEAN":
        flat = [bool(data[i // 8] >> (i % 8) & 1) for i in range(ends[-1])]
    else:
        enum = enums.get(about.get("enumType", ""), {})
        flat = np.frombuffer(data, (enum.get("valueType") or about["componentType"]).lower()).tolist()
        if enum:
            names = {value["value"]: value["name"] for value in enum["values"]}
            flat = [names[v] for v in flat]
    values = [flat[a:b] if about.get("array") else flat[a] for a, b in pairwise(ends)]
    return [about.get("default") if value == about.get("noData") else value for value in values]


def decode(path: Path) -> tuple[Rows, dict[str, Any]]:
    """(rows by feature id, the last tile's properties by column name) of every glb of an archive."""
    rows: Rows = {}
    with zipfile.ZipFile(path) as archive:
        found = [t for name in archive.namelist() if name.endswith(".glb") for t in tables(archive.read(name))]
    found = [t for t in found if any(about.get("semantic") == "ID" for about in t[0]["properties"].values())]  # far masses have none
    for kind, table, view in found:
        values = {about["name"]: column(about, kind["enums"], table["properties"].get(key), table["count"], view) for key, about in kind["properties"].items()}
        for name in [n for n in values if n.endswith(" known")]:
            told = values.pop(name)
            values[name[:-6]] = [v if known else None for v, known in zip(values[name[:-6]], told, strict=True)]
        rows |= {values["id"][i]: {name: column[i] for name, column in values.items()} for i in range(table["count"])}
    return rows, {about["name"]: about for about in found[-1][0]["properties"].values()}


def random_lists(rng: np.random.Generator, count: int, member: Any) -> list[Any]:
    return [None if k == 0 else [member() for _ in range(k - 1)] for k in rng.integers(0, 5, count)]


def geoparquet(path: Path, count: int = 60) -> pa.Table:
    """Footprints with a list of every kind; without `geometry` what was written."""
    rng = np.random.default_rng(5)
    fixed = [None if i % 5 == 0 else [i * 1.0, -0.5, 1e300] for i in range(count)]
    table = pa.table({
        "id": [f"楼{i}" for i in range(count)], "height": np.linspace(3, 60, count),
        "short": pa.array(random_lists(rng, count, lambda: int(rng.integers(-9, 9))), pa.list_(pa.int16())),
        "wide": pa.array(random_lists(rng, count, lambda: int(rng.integers(-(1 << 62), 1 << 62))), pa.large_list(pa.int64())),
        "real": pa.array(random_lists(rng, count, rng.random), pa.list_(pa.float64())),
        "text": pa.array(random_lists(rng, count, lambda: ["住宅", "a;b", "\0"][rng.integers(3)]), pa.list_(pa.string())),
        "flag": pa.array(random_lists(rng, count, lambda: bool(rng.random() < 0.5)), pa.list_(pa.bool_())),
        "three": pa.array(fixed, pa.list_(pa.float64(), 3)), "pair": pa.array([None if i % 7 == 0 else [i % 2 == 0, True] for i in range(count)], pa.list_(pa.bool_(), 2)),
        "empty": pa.array([[]] * count, pa.list_(pa.int32())), "hole": pa.array([[1, None], None] * (count // 2), pa.list_(pa.int32())),
    })  # fmt: skip
    x, y = rng.random((2, count)) * 2000
    geometry = shapely.to_wkb(shapely.box(405_000 + x, 2_498_000 + y, 405_012 + x, 2_498_009 + y))
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": CRS("EPSG:4547").to_json_dict()}}}
    pq.write_table(table.append_column("geometry", pa.array(geometry)).replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return table


def test_geoparquet_lists_reach_tiles_filters_and_statistics(tmp_path: Path, lake: Lake) -> None:
    source = geoparquet(tmp_path / "a.parquet")
    report = Report("a.parquet")
    version = parts.write_version(lake, "arrays", "blocks", vector.read(tmp_path / "a.parquet", vector.Options(), report), report, provenance={}, style={"height": "height"})
    assert [n.reason for n in report.notes] == ["column hole: lists with members that are null; tiles hold them as JSON texts"]
    blocks.tile(version, TileJob(lake, tmp_path / "a.3tz", blocks.Options(ground=5.0, budget=500)))
    assert not check_tileset(tmp_path / "a.3tz").findings
    rows, about = decode(tmp_path / "a.3tz")
    for row in source.to_pylist():
        got = rows[row["id"]]
        row["hole"] = None if row["hole"] is None else "[1, null]"
        assert {name: got[name] for name in row} == row
    assert {name: about[name].get("count") for name in about if about[name].get("array")} == {
        "short": None, "wide": None, "real": None, "text": None, "flag": None, "three": 3, "pair": 2, "empty": None}  # fmt: skip
    columns = {name: parts_schema(lake, version).field(name).type for name in source.column_names}
    for text, rule in (("A_CONTAINS(text, ('住宅'))", lambda r: r["text"] is not None and "住宅" in r["text"]), ("A_OVERLAPS(pair, (false))", lambda r: r["pair"] is not None and False in r["pair"]),
                       ("short IS NULL", lambda r: r["short"] is None), ("A_CONTAINEDBY(empty, (1))", lambda r: r["empty"] == [])):  # fmt: skip
        assert cql2.parse(text, columns).mask(source).tolist() == [rule(r) for r in source.to_pylist()], text
    found = {s.name: s.to_json() for s in summarise(lake, version)[1]}
    assert {v["value"]: v["count"] for v in found["hole"]["values"]} == {"1": 30}
    expected = pc.value_counts(pc.list_flatten(source["text"])).to_pylist()
    assert {v["value"]: v["count"] for v in found["text"]["values"]} == {e["values"]: e["counts"] for e in expected}


def parts_schema(lake: Lake, version: LayerVersion) -> pa.Schema:
    return pq.read_schema(lake.path(next(part.key for part in version.parts if part.role == "features")))


@pytest.mark.parametrize("mixed", [False, True])
def test_geojson_and_cityjson_lists(tmp_path: Path, lake: Lake, mixed: bool) -> None:
    """One kind of members: lists; members or values of several kinds: JSON texts, and the report says so."""
    values = [{"n": [1, 2], "s": ["甲", "b"], "b": [True], "r": [0.5, 2]}, {"n": [], "s": None, "b": [False, True], "r": [1]}, {"n": [1, "x"] if mixed else [7]}]
    square = [[113.0, 22.0], [113.001, 22.0], [113.001, 22.001], [113.0, 22.0]]
    features = [{"type": "Feature", "id": i, "properties": v, "geometry": {"type": "Polygon", "coordinates": [square]}} for i, v in enumerate(values)]
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    report = Report("a.geojson")
    (chunk,) = vector.read(tmp_path / "a.geojson", vector.Options(), report)
    got = chunk.attributes.to_pylist()
    assert [json.loads(row["n"]) if mixed else row["n"] for row in got] == [v["n"] for v in values]
    assert [(row["s"], row["b"], row["r"]) for row in got] == [(v.get("s"), v.get("b"), v.get("r")) for v in values]
    assert any("column n: values of different kinds" in note.reason for note in report.notes) is mixed

    corners = [[x, y, z] for z in (0, 9) for x, y in ((0, 0), (10, 0), (10, 10), (0, 10))]
    faces = [[[0, 3, 2, 1]], [[4, 5, 6, 7]], [[0, 1, 5, 4]], [[1, 2, 6, 5]], [[2, 3, 7, 6]], [[3, 0, 4, 7]]]
    objects = {f"o{i}": {"type": "Building", "attributes": v, "geometry": [{"type": "Solid", "lod": "1", "boundaries": [faces]}]} for i, v in enumerate(values)}
    document = {"type": "CityJSON", "version": "2.0", "transform": {"scale": [1, 1, 1], "translate": [405_000, 2_498_000, 5]}, "vertices": corners, "CityObjects": objects,
                "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/4547"}}  # fmt: skip
    (tmp_path / "a.city.json").write_text(json.dumps(document))
    report = Report("a.city.json")
    version = parts.write_version(lake, "city", "mesh", cityjson.read(tmp_path / "a.city.json", cityjson.Options(vertical="EPSG:5737"), report), report, provenance={})
    mesh.tile(version, TileJob(lake, tmp_path / "c.3tz", mesh.Options()))
    assert not check_tileset(tmp_path / "c.3tz").findings
    rows, _ = decode(tmp_path / "c.3tz")
    for i, value in enumerate(values):
        assert {name: json.loads(rows[f"o{i}"][name]) if mixed and name == "n" else rows[f"o{i}"][name] for name in "nsbr"} == {name: value.get(name) for name in "nsbr"}
