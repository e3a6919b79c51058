"""Volumes of closed solids, and which solids are closed: real city models against trimesh, generated ones against closed forms."""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import mapbox_earcut
import numpy as np
import pyproj
import pytest
import trimesh

from ingest_bim.citymodels import citygml, cityjson
from ingest_bim.citymodels.solids import solid_volumes
from twin.model import Mesh, Report

GML = "{http://www.opengis.net/gml}"
HREF = "{http://www.w3.org/1999/xlink}href"


def stated(module: Any, path: Path, **options: Any) -> tuple[dict[str, float | None], Report]:
    """(solid_volume by object, the report); surfaces have none."""
    report = Report(source=path.name)
    found: dict[str, float | None] = {}
    for batch in module.read(path, module.Options(surfaces=False, **options), report):
        assert batch.attributes.schema.field("solid_volume").metadata == {b"unit": "m³".encode()}
        found |= dict(zip(batch.ids.to_pylist(), batch.attributes.column("solid_volume").to_pylist(), strict=True))
    return found, report


def meshed(points: Any, triangles: Any) -> trimesh.Trimesh:
    """Triangles of numbers of points, near the origin."""
    used, local = np.unique(triangles, return_inverse=True)
    return trimesh.Trimesh(points[used] - points[used[0]], local.reshape(-1, 3), process=False)


def enclosed(points: Any, shells: list[list[list[list[int]]]]) -> tuple[bool, float, float]:
    """trimesh's verdict on a solid of shells of faces of rings of numbers of (N, 3) points: closed, the volume in m³, and how far another cut is from it.

    The volume is of faces cut to triangles; as that leaves corners out which lie on a straight edge, closed is judged on fans of the rings. It is what
    is watertight, or touches itself along an edge (four faces of it, as many each way), which trimesh calls not watertight.
    """
    closed, volumes, others = True, [], []
    for shell in shells:
        triangles: list[Any] = []
        fans: list[list[int]] = []
        for face in shell:
            rings = [list(dict.fromkeys(ring)) for ring in face]
            fans += [[ring[0], *edge] for ring in rings for edge in pairwise(ring[1:])]
            flat = points[list(chain.from_iterable(rings))] - points[rings[0][0]]
            normal = np.cross(flat[: len(rings[0])], np.roll(flat[: len(rings[0])], -1, axis=0)).sum(axis=0)
            axes = [(1, 2), (2, 0), (0, 1)][np.abs(normal).argmax()]
            cut = mapbox_earcut.triangulate_float64(np.ascontiguousarray(flat[:, axes]), np.cumsum([len(r) for r in rings]).astype(np.uint32)).reshape(-1, 3)
            p = flat[cut]
            away = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]) @ normal < 0
            cut[away] = cut[away][:, ::-1]
            triangles.append(np.array(list(chain.from_iterable(rings)))[cut])
        there = collections.Counter(map(tuple, (fan := meshed(points, fans)).edges.tolist()))
        closed &= bool(fan.is_watertight and fan.is_winding_consistent) or all(there[b, a] == n for (a, b), n in there.items())
        volumes.append(abs(float(meshed(points, np.concatenate(triangles)).volume)))
        others.append(abs(float(fan.volume)))
    return closed, volumes[0] - sum(volumes[1:]), sum(abs(a - b) for a, b in zip(volumes, others, strict=True))


def json_solids(path: Path) -> Iterator[tuple[str, Callable[[], tuple[bool, float, float]]]]:
    """(object, what says what trimesh makes of it) of every Solid of the highest LoD, read with json alone."""
    head, *lines = map(json.loads, path.read_text().splitlines()) if path.suffix == ".jsonl" else (json.loads(path.read_text()),)
    for document in lines or [head]:
        at, same = np.unique(np.array(document["vertices"]), axis=0, return_inverse=True)
        at = at * head["transform"]["scale"]
        for name, thing in document["CityObjects"].items():
            for geometry in thing.get("geometry", []):
                if geometry["type"] == "Solid" and geometry["lod"] == max(g["lod"] for g in thing["geometry"]):
                    shells = [[[same[ring].tolist() for ring in face] for face in shell] for shell in geometry["boundaries"]]
                    yield name, partial(enclosed, at, shells)


@pytest.mark.parametrize(("name", "objects", "solids", "options"), [
    ("DenHaag_01.city.json", 2498, 1990, {}), ("delft.city.json", 570, 160, {}), ("vienna.city.jsonl", 592, 490, {"crs": "EPSG:31256", "vertical": "EPSG:5778"}),
])  # fmt: skip
def test_cityjson_volumes_are_those_of_trimesh(shared_data: Path, name: str, objects: int, solids: int, options: dict[str, str]) -> None:
    path = shared_data / "citymodel" / name
    found, report = stated(cityjson, path, **options)
    all_solids = dict(json_solids(path))
    assert (len(found), len(all_solids)) == (objects, solids)
    assert {note.feature for note in report.notes if "no volume is stated" in note.reason} == {key for key in all_solids if found[key] is None}
    some = list(all_solids)[:: max(1, solids // 450)]
    expected = {key: all_solids[key]() for key in some}
    assert {key for key in some if found[key] is None} == {key for key, (closed, *_) in expected.items() if not closed}
    closed = {key: (found[key], volume, bent) for key, (tight, volume, bent) in expected.items() if tight}
    assert all(value == pytest.approx(volume, abs=1e-6 * volume + 1.001 * bent) for value, volume, bent in closed.values())  # faces that are not flat enclose
    assert sum(value == pytest.approx(volume, rel=1e-3) for value, volume, _ in closed.values()) >= 0.97 * len(closed)  # what their triangles make of it


def gml_rings(tree: ET.Element, root: ET.Element, turn: Callable[[Any], Any]) -> list[list[Any]]:
    """(N, 3) rings of the faces below an element, references followed, read with ElementTree alone."""
    named = {e.get(f"{GML}id"): e for e in root.iter() if e.get(f"{GML}id")}
    found, stack = [], [tree]
    while stack:
        element = stack.pop()
        if HREF in element.attrib:
            stack.append(named[element.attrib[HREF][1:]])
        elif element.tag in (f"{GML}Polygon", f"{GML}Triangle"):
            found.append([turn(np.array(e.text.split(), float).reshape(-1, 3))[:-1] for e in element.iter(f"{GML}posList") if e.text])
        else:
            stack.extend(element)
    return found


@pytest.mark.parametrize(("name", "crs", "solids"), [
    ("plateau_yokosuka/udx/bldg/52397519_bldg_6697_op.gml", 6668, 14), ("plateau_ubld/51324378_ubld_6697.gml", 6668, 4),
    ("ingolstadt_lod3/4018193.gml", 32632, 3), ("ingolstadt_lod3/4018211.gml", 32632, 3), ("plateau_unf/sewer_53403039_unf_6697.gml", 6668, 6),
])  # fmt: skip
def test_citygml_volumes_are_those_of_trimesh(shared_data: Path, name: str, crs: int, solids: int) -> None:
    """In metres around each object by pyproj; Ingolstadt and the sewers have no solids, but surfaces that are closed."""
    path = shared_data / "citymodel" / name
    found, report = stated(citygml, path, **({"vertical": "EPSG:5783"} if crs == 32632 else {}))
    root = ET.parse(path).getroot()
    volumes = {}
    for thing in (e for e in root.iter() if e.get(f"{GML}id") in found):
        below = {e for child in thing.iter() if child is not thing and child.get(f"{GML}id") in found for e in child.iter()}
        own = [e for e in thing.iter() if e not in below]
        lods = {m[1] for e in own if (m := re.search(r"}lod(\d)(Solid|MultiSurface|Geometry)$", e.tag))}
        best = [e for e in own if lods and re.search(rf"}}lod{max(lods)}(Solid|MultiSurface|Geometry)$", e.tag)]
        best = [e for e in best if e.tag.endswith("Solid")] or best
        local = metric(crs, *map(float, str(next(root.iter(f"{GML}lowerCorner")).text).split()[:2]))
        rings = [face for e in best for face in gml_rings(e, root, local)]
        if rings:
            at, number = np.unique(np.round(np.concatenate([r for face in rings for r in face]), 7), axis=0, return_inverse=True)
            ends = iter(np.split(number.ravel(), np.cumsum([len(r) for face in rings for r in face])))
            closed, volume, _ = enclosed(at, [[[next(ends).tolist() for _ in face] for face in rings]])
            volumes[thing.get(f"{GML}id")] = volume if closed else None
    assert set(volumes) <= set(found)
    known = {key: value for key, value in found.items() if value is not None}
    assert known == {key: pytest.approx(value, rel=2e-4) for key, value in volumes.items() if value is not None} and len(known) == solids
    assert report.facts["geometry"]["closed solids"] == solids


def metric(crs: int, first: float, second: float) -> Callable[[Any], Any]:
    """File coordinates → metres: as they are, or of latitude and longitude by a projection whose scale is 1 at a place."""
    if crs == 32632:
        return lambda points: points
    local = pyproj.Proj(f"+proj=tmerc +ellps=GRS80 +lat_0={first} +lon_0={second} +k=1")
    return lambda points: np.column_stack([*local(points[:, 1], points[:, 0]), points[:, 2]])


CUBE = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], float)
SIDES = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]


def shell(first: int = 0, *, inside_out: bool = False) -> list[list[list[int]]]:
    """The faces of a cube whose corners start at a number."""
    return [[[first + i for i in (side[::-1] if inside_out else side)]] for side in SIDES]


def test_shells_and_solids() -> None:
    """A cavity is taken off whichever way it looks, a solid stated twice counts once, and what is open says where."""
    corners = np.concatenate([CUBE * 4, CUBE + 1]) + np.array([405_000.0, 2_498_000.0, 10.0])
    for turned in (False, True):
        assert solid_volumes(corners, [[shell(), shell(8, inside_out=turned)]]) == [pytest.approx(63)]
    assert solid_volumes(corners, [[shell()], [shell(8)], [shell(8)]]) == [pytest.approx(64), pytest.approx(1)]
    assert solid_volumes(corners, [[shell()[1:]]]) == ["its outer shell has 4 of 12 edges without a second face"]
    assert solid_volumes(corners, [[shell(), shell(8)[1:]]]) == ["its inner shell 1 has 4 of 12 edges without a second face"]
    assert solid_volumes(corners, [[[[SIDES[0][::-1]], *shell()[1:]]]]) == ["its outer shell has faces that are turned over against their neighbours"]
    assert solid_volumes(corners, [[shell(8), shell()]]) == ["its inner shells enclose more than its outer one"]
    assert solid_volumes(corners, [[[]], [[[[0, 2, 3]], [[0, 3, 2]]]]]) == ["its outer shell has no faces", "its outer shell encloses nothing"]


def test_one_of_several_solids_that_is_inside_out_is_turned(tmp_path: Path) -> None:
    """Two cubes apart and two that share a face, the second of each inside out; beside them the same as they should be. All triangles look outwards."""
    points = np.concatenate([CUBE + np.array([x, 0, 0]) for x in (0, 100, 101)])
    vertices = (1000 * np.unique(points, axis=0)).astype(int).tolist()

    def faces(x: int, *, inward: bool) -> list[list[list[int]]]:
        at = [vertices.index((1000 * (p + np.array([x, 0, 0]))).astype(int).tolist()) for p in CUBE]
        return [[[at[i] for i in (side[::-1] if inward else side)]] for side in SIDES]

    for turned in (False, True):
        for kind, second in (("MultiSolid", 0), ("CompositeSolid", 101)):
            geometry = {"type": kind, "lod": "2", "boundaries": [[faces(100, inward=False)], [faces(second, inward=turned)]]}
            document = {
                "type": "CityJSON", "version": "2.0", "transform": {"scale": [0.001] * 3, "translate": [405_000, 2_498_000, 10]}, "vertices": vertices,
                "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/4547"}, "CityObjects": {"b": {"type": "Building", "geometry": [geometry]}},
            }  # fmt: skip
            (tmp_path / "m.city.json").write_text(json.dumps(document))
            report = Report()
            (mesh,) = cityjson.read(tmp_path / "m.city.json", cityjson.Options(vertical="EPSG:5737"), report)
            assert isinstance(mesh, Mesh)
            corners = mesh.positions[mesh.triangles]
            low = mesh.positions.min(axis=0)
            centres = np.array([[x - min(100, second) + 0.5, 0.5, 0.5] for x in (100, second)]) + low
            middles = corners.mean(axis=1)
            apart = np.linalg.norm(middles[:, None] - centres, axis=2)
            between = np.isclose(apart[:, 0], apart[:, 1])  # the common face
            normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            assert (np.einsum("ij,ij->i", normal, middles - centres[apart.argmin(axis=1)])[~between] > 0).all() and (~between).sum() >= 20
            assert any("inside out" in note.reason for note in report.notes) == turned


def test_a_tower_through_a_block_has_its_holes_either_way() -> None:
    """A shaft through a block: two faces with holes, which sources write in either direction."""
    corners = np.concatenate([CUBE * 4, (CUBE * [2, 2, 4]) + [1, 1, 0]])
    shaft = shell(8, inside_out=True)[2:]
    for step in (1, -1):
        faces = [[[0, 2, 3, 1], [8, 9, 11, 10][::step]], [[4, 5, 7, 6], [12, 14, 15, 13][::step]], *shell()[2:], *shaft]
        assert solid_volumes(corners, [[faces]]) == [pytest.approx(64 - 16)]


@pytest.mark.parametrize("lod", ["2", None])
def test_volumes_of_templates_grow_with_their_matrix(tmp_path: Path, lod: str | None) -> None:
    """CityJSON: a template solid, set up twice as wide, is 8 m³; a MultiSolid is the sum of its solids; a surface has none."""
    boundary = [[[[*ring] for ring in face] for face in shell()]]
    document = {
        "type": "CityJSON", "version": "2.0", "transform": {"scale": [0.001] * 3, "translate": [405_000, 2_498_000, 5]},
        "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/4547"},
        "vertices": [[*(1000 * (p + np.array([10 * i, 0, 0]))).astype(int).tolist()] for i in range(2) for p in CUBE],
        "geometry-templates": {"vertices-templates": CUBE.tolist(), "templates": [{"type": "Solid", "lod": "2", "boundaries": boundary}]},
        "CityObjects": {
            "tree": {"type": "SolitaryVegetationObject", "geometry": [{"type": "GeometryInstance", "template": 0, "boundaries": [0],
                                                                       "transformationMatrix": [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1]}]},
            "two": {"type": "PlantCover", "geometry": [{"type": "MultiSolid", "lod": "2", "boundaries": [[shell()], [shell(8)]]}]},
            "roof": {"type": "Building", "geometry": [{"type": "MultiSurface", "lod": "2", "boundaries": [[SIDES[1]]]}]},
        },
    }  # fmt: skip
    path = tmp_path / "m.city.json"
    path.write_text(json.dumps(document))
    found, report = stated(cityjson, path, vertical="EPSG:5737", **({"lod": lod} if lod else {}))
    assert found == {"tree": pytest.approx(8), "two": pytest.approx(2), "roof": None}
    assert report.facts["geometry"]["closed solids"] == 3 and report.facts["geometry"]["open solids"] == 0
