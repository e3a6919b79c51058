"""City models with geometry that is wrong: each is drawn as far as it can be, or refused, with a reason; nothing crashes, nothing is misplaced."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest_bim.citymodels import citygml, cityjson
from ingest_bim.meshfiles import reader as meshfile
from tests.ingest_bim.test_citygml import building, hull, save
from tests.ingest_bim.test_meshfile import PLACE
from tests.ingest_bim.test_textures import document
from tiling.check import check_tileset
from tiling.meshes import tiler
from twin.errors import TwinError, UnreadableSource
from twin.lake import Lake
from twin.model import Mesh, Report
from twin.parts import write_version
from twin.registry import TileJob


def tiled(path: Path, module: Any, folder: Path, lake: Lake, **options: Any) -> Report:
    """Read, stored, tiled and checked; the reader's report."""
    report = Report(source=path.name)
    version = write_version(lake, "m", "mesh", module.read(path, module.Options(**options), report), report, provenance={})
    tiler.tile(version, TileJob(lake, folder / "m.3tz", tiler.Options()))
    assert check_tileset(folder / "m.3tz").ok
    return report


def model(folder: Path, vertices: list[Any], *faces: Any) -> Path:
    """Faces of a building beside a sound wall."""
    content = document(texture={})
    first = len(content["vertices"])
    content["vertices"] += vertices
    boundaries = [[[i + first for i in ring] for ring in face] for face in faces]
    content["CityObjects"]["bad"] = {"type": "Building", "geometry": [{"type": "MultiSurface", "lod": "2", "boundaries": boundaries}]}
    path = folder / "model.city.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(("vertices", "faces", "reason"), [
    ([[0, 0, 0], [10, 0, 0], [10, 10, 3], [0, 10, 0]], [[[0, 1, 2, 3]]], "not flat"),
    ([[0, 0, 0], [10, 10, 0], [10, 0, 0], [0, 12, 0], [5, 20, 0]], [[[0, 1, 2, 3, 4]]], "cross"),
    ([[0, 0, 0], [10, 0, 0], [20, 0, 0]], [[[0, 1, 2]]], "no area"),
    ([[0, 0, 0]], [[[0, 0, 0]]], "no area"),
    ([[0, 0, 0], [10, 0, 0], [10, 10, 0]], [[[0, 1]]], "no area"),
    ([[0, 0, 0], [10, 0, 0], [10, 10, 0]], [[[0, 1, 99]]], "vertex"),
    ([[0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0], [30, 30, 0], [40, 30, 0], [40, 40, 0]], [[[0, 1, 2, 3], [4, 5, 6]]], "cross"),
])  # fmt: skip
def test_faces(tmp_path: Path, lake: Lake, vertices: list[Any], faces: list[Any], reason: str) -> None:
    """Bent, crossing themselves, without area, with wrong indices, with a hole outside: named, and the rest is tiled."""
    report = tiled(model(tmp_path, vertices, *faces), cityjson, tmp_path, lake)
    assert any(n.feature == "bad" and reason in n.reason for n in report.notes), report.notes


@pytest.mark.parametrize("far", [1e7, 1e12, 1e150, -1e300])
def test_huge_coordinates(tmp_path: Path, lake: Lake, far: float) -> None:
    """A model that cannot be where it says is refused with its reason, in each format; it is never put somewhere."""
    content = copy.deepcopy(document(texture={}))
    content["vertices"][0] = [far, far, 0]
    (tmp_path / "a.city.json").write_text(json.dumps(content))
    (tmp_path / "a.obj").write_text(f"v 0 0 0\nv 1 0 0\nv {far} {far} 0\nf 1 2 3\n")
    gml = save(tmp_path, building(hull().replace("691000.0000", repr(far), 3)))
    for path, module, options in ((tmp_path / "a.city.json", cityjson, {}), (tmp_path / "a.obj", meshfile, PLACE), (gml, citygml, {})):
        with pytest.raises(TwinError) as refused:
            tiled(path, module, tmp_path, lake, **options)
        assert len(str(refused.value)) > 30, path


def test_self_intersecting_solid(tmp_path: Path, lake: Lake) -> None:
    """Two boxes through each other as one solid: closed, drawn whole, volume by trimesh's own sum of both."""
    import trimesh

    one, two = trimesh.creation.box((10, 10, 10)), trimesh.creation.box((6, 6, 30))
    both = trimesh.util.concatenate([one, two])
    content = document(texture={})
    content["vertices"] = both.vertices.tolist()
    shell = [[face] for face in both.faces.tolist()]
    content["CityObjects"] = {"s": {"type": "Building", "geometry": [{"type": "Solid", "lod": "2", "boundaries": [shell]}]}}
    path = tmp_path / "s.city.json"
    path.write_text(json.dumps(content))
    report = tiled(path, cityjson, tmp_path, lake)
    assert report.facts["geometry"]["closed solids"] == 1 and report.facts["geometry"]["triangles"] == 24
    (mesh,) = [b for b in cityjson.read(path, cityjson.Options(), Report()) if isinstance(b, Mesh)]
    drawn = trimesh.Trimesh(mesh.positions, mesh.triangles, process=False)
    assert drawn.volume == pytest.approx(one.volume + two.volume) and np.isfinite(mesh.positions).all()


@pytest.mark.parametrize("doctype", [
    '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>',
    '<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x.dtd">%p;]>',
])  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities(tmp_path: Path, doctype: str, encoding: str) -> None:
    """Billion laughs and external files, in any encoding: refused at the declaration, before anything is expanded."""
    path = save(tmp_path, building(hull()), doctype=doctype)
    text = path.read_text().replace('encoding="UTF-8"', f'encoding="{encoding}"')
    path.write_bytes(text.encode(encoding))
    with pytest.raises(UnreadableSource, match="document type"):
        list(citygml.read(path, citygml.Options(), Report()))


def test_levels_of_detail_up_to(tmp_path: Path) -> None:
    """`<=2` draws the highest up to 2; what an object has beyond is counted in the report."""
    content = document(texture={})
    wall = content["CityObjects"]["b"]["geometry"][0]
    content["CityObjects"]["b"]["geometry"] = [wall | {"lod": lod, "boundaries": wall["boundaries"] * count} for lod, count in (("1.2", 1), ("2.2", 1), ("3.1", 1))]
    path = tmp_path / "l.city.json"
    path.write_text(json.dumps(content))
    for wanted, drawn in ((None, "3.1"), ("<=2", "2.2"), ("<=1", "1.2"), ("2.2", "2.2"), ("1", "1.2")):
        report = Report()
        (mesh,) = [b for b in cityjson.read(path, cityjson.Options(lod=wanted), report) if isinstance(b, Mesh)]
        assert mesh.attributes["lod"][0].as_py() == drawn and drawn not in report.facts["lods_not_drawn"] and len(report.facts["lods_not_drawn"]) == 2
