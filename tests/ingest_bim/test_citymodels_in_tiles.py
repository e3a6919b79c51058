"""From real city models to tiles and back: objects, semantic surfaces, attributes and places, against the files read here by other means."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyproj
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tiling"))
from tiling_helpers import decoded

from ingest_bim.citymodels import citygml, cityjson
from tiling.check import check_tileset
from tiling.meshes import tiler
from twin.lake import Lake
from twin.model import Report
from twin.parts import write_version
from twin.registry import TileJob

GML = "{http://www.opengis.net/gml}"


def tiled(path: Path, module: Any, folder: Path, lake: Lake, **options: Any) -> tuple[dict[str, dict[str, Any]], dict[str, Any], Report]:
    """(rows of the drawn features by id, their (T, 3, 3) ECEF triangles by id, the reader's report), from a checked tileset."""
    report = Report(source=path.name)
    version = write_version(lake, "m", "mesh", module.read(path, module.Options(**options), report), report, provenance={})
    tiler.tile(version, TileJob(lake, folder / "m.3tz", tiler.Options()))
    assert check_tileset(folder / "m.3tz").ok
    rows: dict[str, dict[str, Any]] = {}
    shapes: dict[str, list[Any]] = {}
    for feature, triangles, _, row in decoded(folder / "m.3tz"):
        rows[feature] = row
        shapes.setdefault(feature, []).append(triangles)
    return rows, {name: np.concatenate(many) for name, many in shapes.items()}, report


def assert_placed(triangles: Any, source: Any, transformer: pyproj.Transformer) -> None:
    """Every drawn corner is one of the file's, in plan to 3 mm; heights differ by one number (the geoid's), to 5 cm over a model."""
    back = pyproj.Transformer.from_crs(4978, 4979, always_xy=True).transform(*triangles.reshape(-1, 3).T)
    drawn = np.column_stack(back)
    lon, lat = transformer.transform(source[:, 0], source[:, 1])
    metre = np.array([np.cos(np.radians(lat.mean())) * 111_320, 110_574])
    plan = np.column_stack([lon, lat]) * metre
    away = drawn[:, :2] * metre
    shift = []
    for point, height in zip(away, drawn[:, 2], strict=True):
        near = np.flatnonzero(np.abs(plan - point).max(axis=1) < 3e-3)
        assert len(near), "a corner that the file does not have"
        shift.append(height - source[near, 2])
    assert any(all(np.abs(heights - guess).min() < 0.05 for heights in shift) for guess in shift[0])


def test_den_haag(shared_data: Path, tmp_path: Path, lake: Lake) -> None:
    """CityJSON 1.0 with surfaces: each drawn surface has its own type and its object as parent; objects keep their attributes."""
    path = shared_data / "citymodel/DenHaag_01.city.json"
    raw = json.loads(path.read_text())
    rows, shapes, report = tiled(path, cityjson, tmp_path, lake)
    expected: dict[str, tuple[str, str]] = {}
    for name, thing in raw["CityObjects"].items():
        for geometry in thing.get("geometry", []):
            for i, surface in enumerate((geometry.get("semantics") or {}).get("surfaces") or []):
                expected[f"{name}#{i}"] = (surface["type"], name)
    surfaces = {name: row for name, row in rows.items() if "#" in name}
    assert len(surfaces) > 3000 and set(surfaces) <= set(expected)
    assert {(name, row["class"], row["parent"]) for name, row in surfaces.items()} == {(name, *expected[name]) for name in surfaces}
    undrawn = set(expected) - set(surfaces)
    noted = {n.feature for n in report.notes}
    used = {f"{name}#{v}" for name, thing in raw["CityObjects"].items() for g in thing.get("geometry", []) for shell in [g.get("semantics", {}).get("values") or []]
            for v in np.ravel([x for part in shell for x in (part if isinstance(part, list) else [part])]).tolist() if v is not None}  # fmt: skip
    assert {name for name in undrawn if name in used and name.rpartition("#")[0] not in noted} == set()
    numbers = np.array(raw["vertices"]) * raw["transform"]["scale"] + raw["transform"]["translate"]
    chosen = next(name for name, thing in raw["CityObjects"].items() if thing["type"] == "BuildingPart")
    indices = {i for g in raw["CityObjects"][chosen]["geometry"] for shell in g["boundaries"] for face in shell for ring in face for i in ring}
    drawn = np.concatenate([shape for name, shape in shapes.items() if name.startswith(f"{chosen}#")])
    assert_placed(drawn, numbers[sorted(indices)], pyproj.Transformer.from_crs(28992, 4326, always_xy=True))


def test_delft(shared_data: Path, tmp_path: Path, lake: Lake) -> None:
    """All themes of a city: every object with its class, and every attribute value of every object."""
    path = shared_data / "citymodel/delft.city.json"
    raw = json.loads(path.read_text())
    rows, _, _ = tiled(path, cityjson, tmp_path, lake)
    assert set(rows) == set(raw["CityObjects"])
    compared = 0
    for name, thing in raw["CityObjects"].items():
        assert rows[name]["class"] == thing["type"]
        for key, value in (thing.get("attributes") or {}).items():
            column = re.sub("[^A-Za-z0-9]", "_", key)  # names in tiles are identifiers (3D Metadata, 2.4)
            found = rows[name].get(f"attribute_{column}", rows[name].get(column))
            if value is not None and not isinstance(value, dict | list):
                assert found == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value), (name, key)
                compared += 1
    assert compared > 500


def test_vienna(shared_data: Path, tmp_path: Path, lake: Lake) -> None:
    path = shared_data / "citymodel/vienna.city.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    rows, shapes, _ = tiled(path, cityjson, tmp_path, lake, crs="EPSG:31256", vertical="EPSG:5778")
    things = {name: (thing, line) for line in lines[1:] for name, thing in line["CityObjects"].items()}
    assert {row.get("parent") or name for name, row in rows.items()} <= set(things)
    assert {name.partition("#")[0] for name in rows} == {name for name, (thing, _) in things.items() if thing.get("geometry")}
    name = next(name for name, (thing, _) in things.items() if thing.get("geometry"))
    _, line = things[name]
    numbers = np.array(line["vertices"]) * lines[0]["transform"]["scale"] + lines[0]["transform"]["translate"]
    drawn = np.concatenate([shape for key, shape in shapes.items() if key.partition("#")[0] == name])
    assert_placed(drawn, numbers, pyproj.Transformer.from_crs(31256, 4326, always_xy=True))


@pytest.mark.parametrize("name", ["ingolstadt_lod3/4018193.gml", "plateau_yokosuka/udx/bldg/52397519_bldg_6697_op.gml"])
def test_citygml(shared_data: Path, tmp_path: Path, lake: Lake, name: str) -> None:
    """Ids of surfaces are found again by their gml:id with their types; all corners stand where the file says."""
    path = shared_data / "citymodel" / name
    ingolstadt = "ingolstadt" in name
    rows, shapes, _ = tiled(path, citygml, tmp_path, lake, **({"vertical": "EPSG:5783"} if ingolstadt else {}))
    tree = ET.parse(path).getroot()
    kinds = {e.get(f"{GML}id"): e.tag.rpartition("}")[2] for e in tree.iter() if e.get(f"{GML}id")}
    known = [row for row in rows.values() if row.get("gml_id")]
    assert known and all(kinds[row["gml_id"]] == row["class"] for row in known)
    assert {row.get("cim_grade") for row in rows.values()} == ({"CIM4"} if ingolstadt else {"CIM2", "CIM3"})
    numbers = np.concatenate([np.array(e.text.split(), float).reshape(-1, 3) for e in tree.iter(f"{GML}posList") if e.text and len(e.text.split()) % 3 == 0])
    if not ingolstadt:
        numbers = numbers[:, [1, 0, 2]]
    numbers = np.unique(numbers, axis=0)
    chosen = next(iter(shapes))
    assert_placed(shapes[chosen], numbers, pyproj.Transformer.from_crs(32632 if ingolstadt else 6668, 4326, always_xy=True))
    if not ingolstadt:  # attributes of the national extension, by their own names
        ids = {e.text for e in tree.iter("{https://www.geospatial.jp/iur/uro/2.0}buildingID")}
        column = next(key for key in next(iter(rows.values())) if key.endswith("uro_buildingID"))
        assert {row[column] for row in rows.values() if row[column]} <= ids and any(row[column] for row in rows.values())
