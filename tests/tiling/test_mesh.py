"""tiling.meshes.tiler and tiling.meshes.normals: against trimesh and pyproj."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyproj
import pytest
import trimesh
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from tiling.check import check_tileset, decode_glb
from tiling.meshes import tiler
from tiling.meshes.components import components
from tiling.meshes.normals import smooth
from twin.archive import Archive
from twin.errors import BadFeature
from twin.lake import Lake
from twin.model import Material, Mesh, Reference, Report
from twin.parts import write_version
from twin.registry import TileJob

sys.path.insert(0, str(Path(__file__).parent))
from tiling_helpers import assert_valid, decoded

REFERENCE = Reference("EPSG:4547", "EPSG:4979")
AT = np.array([405_000.0, 2_498_000.0, 12.5])
RED, GLASS = Material("red", (0.8, 0.1, 0.1, 1.0)), Material("glass", (0.6, 0.8, 0.9, 0.4), True)


def place(x: float = 0, y: float = 0, z: float = 0, turn: float = 0, mirror: bool = False) -> np.ndarray:
    t = trimesh.transformations.rotation_matrix(turn, [0, 0, 1])
    t[:3, 3] = AT + np.array([x, y, z])
    return t @ np.diag([-1.0 if mirror else 1.0, 1, 1, 1])


def model(shapes: list[trimesh.Trimesh], placed: list[tuple[int, int, np.ndarray]], ids: list[str], **columns: Any) -> Mesh:
    """Prototypes, and (prototype, feature, transform) of every instance; every second prototype is of glass."""
    return Mesh(
        REFERENCE, pa.array(ids), pa.table({"class": ["IfcWall"] * len(ids), **columns}),
        np.concatenate([s.vertices for s in shapes]), np.concatenate([s.faces for s in shapes]).astype(np.int32),
        np.concatenate([np.full(len(s.faces), k % 2) for k, s in enumerate(shapes)]).astype(np.int32),
        np.cumsum([0, *(len(s.vertices) for s in shapes)]), np.cumsum([0, *(len(s.faces) for s in shapes)]),
        np.array([p for p, _, _ in placed], np.int32), np.array([f for _, f, _ in placed], np.int32), np.array([t for _, _, t in placed]),
        (RED, GLASS), pa.array([None] + [ids[0]] * (len(ids) - 1), pa.string()),
    )  # fmt: skip


def run(lake: Lake, *meshes: Mesh, name: str = "out.3tz", workers: int = 1, **options: Any) -> dict[str, Any]:
    version = write_version(lake, "bim", "mesh", meshes, Report("test"), provenance={})
    return tiler.tile(version, TileJob(lake, lake.root / name, tiler.Options(**options), None, workers))


def closed(triangles: np.ndarray) -> trimesh.Trimesh:
    corners = triangles.reshape(-1, 3)
    result = trimesh.Trimesh(corners - corners[0], np.arange(len(corners)).reshape(-1, 3), process=False)
    result.merge_vertices(digits_vertex=3)
    return result


BOX, PIPE, BALL = trimesh.creation.box((4, 0.3, 2.8)), trimesh.creation.cylinder(0.2, 3, sections=24), trimesh.creation.icosphere(3, 1.0)


def test_elements_arrive_closed_turned_mirrored_and_shared(lake: Lake) -> None:
    lopsided = trimesh.util.concatenate([BOX, trimesh.creation.box((1, 1, 1), trimesh.transformations.translation_matrix([7, 0, 0]))])
    placed = [(0, 0, place()), (0, 1, place(10, turn=1.0)), (1, 2, place(3, 3)), (1, 2, place(3, 5)), (2, 3, place(20, mirror=True))]
    facts = run(lake, model([BOX, PIPE, lopsided], placed, ["w1", "w2", "管", "镜"]))
    found = {id_: triangles for id_, triangles, _, _ in decoded(lake.root / "out.3tz")}
    volumes = {"w1": BOX.volume, "w2": BOX.volume, "管": 2 * PIPE.volume, "镜": lopsided.volume}
    # grid metres are not metres: a horizontal scale of k means volumes larger by 1/k² on the ground
    scale = pyproj.Proj("EPSG:4547").get_factors(113.08, 22.58).areal_scale
    assert set(found) == set(volumes)
    for id_, volume in volumes.items():
        assert closed(found[id_]).is_watertight
        assert closed(found[id_]).volume == pytest.approx(volume / scale, rel=4e-3)
    assert facts["stats"]["features"] == 4
    assert facts["tiles"] == 1


def test_a_layer_of_up_to_two_budgets_is_one_tile(lake: Lake) -> None:
    """Twelve triangles a box, two vertices estimated for each: 20 boxes weigh 480, so that a budget of 240 still makes one tile and 230 makes a tree."""
    boxes = model([BOX], [(0, k, place(10 * k)) for k in range(20)], [f"w{k}" for k in range(20)])
    alone, tree = run(lake, boxes, budget=240), run(lake, boxes, name="tree.3tz", budget=230)
    assert (alone["tiles"], alone["stats"]["coarse_tiles"]) == (1, 0)
    assert tree["tiles"] > 2
    assert tree["stats"]["coarse_tiles"] >= 1
    whole, parts = ({id_: np.sort(found.reshape(-1, 9), axis=0) for id_, found, _, _ in decoded(lake.root / name)} for name in ("out.3tz", "tree.3tz"))
    assert set(whole) == set(parts) == {f"w{k}" for k in range(20)}
    assert all(np.allclose(whole[k], parts[k], rtol=0, atol=0.002) for k in whole)
    ball = run(lake, model([BALL], [(0, 0, place())], ["b"]), name="ball.3tz", budget=len(BALL.faces))  # one feature is not cut either
    assert (ball["tiles"], ball["stats"]["triangles"]) == (1, len(BALL.faces))


def test_every_vertex_against_pyproj(lake: Lake) -> None:
    """1 mm against PROJ's own projection of every vertex, 300 m from the model's origin too."""
    placed = [(0, 0, place()), (0, 1, place(300, 150, 40, 0.7))]
    run(lake, model([BALL], placed, ["a", "b"]))
    to_ecef = pyproj.Transformer.from_pipeline(
        "+proj=pipeline +step +inv +proj=tmerc +lat_0=0 +lon_0=114 +k=1 +x_0=500000 +y_0=0 +ellps=GRS80 +step +proj=cart +ellps=WGS84")  # fmt: skip
    found = {id_: triangles.reshape(-1, 3) for id_, triangles, _, _ in decoded(lake.root / "out.3tz")}
    for id_, (_, _, t) in zip("ab", placed, strict=True):
        world = BALL.vertices @ t[:3, :3].T + t[:3, 3]
        expected = np.column_stack(to_ecef.transform(*world.T))
        got = np.unique(found[id_], axis=0)
        distance = np.linalg.norm(got[:, None] - expected[None], axis=2)
        assert distance.min(axis=1).max() < 0.001
        assert distance.min(axis=0).max() < 0.001


def test_attributes_materials_and_both_judges(lake: Lake) -> None:
    columns = {"名称": ["墙", None, "窗"], "FireRating": ["60", "60", None], "LoadBearing": [True, None, False], "Area": [1.5, None, 2.0]}
    run(lake, model([BOX, PIPE], [(0, 0, place()), (0, 1, place(9)), (1, 2, place(4, 4))], ["x", "y", "z"], **columns))
    rows = {id_: row for id_, _, _, row in decoded(lake.root / "out.3tz")}
    assert rows["x"]["u540du79f0"] == "墙"
    assert rows["y"]["u540du79f0"] is None
    assert rows["y"]["parent"] == "x"
    assert rows["x"]["class"] == "IfcWall"
    with zipfile.ZipFile(lake.root / "out.3tz") as file:
        contents = [file.read(n) for n in file.namelist() if n.endswith(".glb")]
    assert_valid(*contents)
    document = json.loads(contents[0][20 : 20 + int.from_bytes(contents[0][12:16], "little")])
    blend = [m for m in document["materials"] if m.get("alphaMode") == "BLEND"]
    assert len(document["materials"]) == 2
    assert len(blend) == 1
    assert blend[0]["doubleSided"]
    assert blend[0]["pbrMetallicRoughness"]["baseColorFactor"][3] == 0.4
    assert check_tileset(lake.root / "out.3tz").ok


def test_large_model_is_split_and_each_element_drawn_once(lake: Lake) -> None:
    rng = np.random.default_rng(2)
    ids = [f"e{i}" for i in range(600)]
    placed = [(int(rng.integers(0, 3)), i, place(*rng.uniform(-80, 80, 2), float(rng.uniform(0, 30)))) for i in range(600)]
    shapes = [BOX, PIPE, BALL]
    halves = [model(shapes, placed[:300], ids[:300]),
              model(shapes, [(p, f - 300, t) for p, f, t in placed[300:]], ids[300:])]  # fmt: skip
    facts = run(lake, *halves, budget=20_000)
    assert facts["tiles"] > 8
    assert sorted(row[0] for row in decoded(lake.root / "out.3tz")) == sorted(ids)
    report = check_tileset(lake.root / "out.3tz")
    assert report.ok, report.errors[:5]


def test_same_bytes_whatever_the_workers(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiler, "ALONE", 0)
    whole = model([BALL], [(0, i, place(i * 3.0)) for i in range(60)], [f"b{i}" for i in range(60)])
    one, two = run(lake, whole, name="a.3tz", budget=5000), run(lake, whole, name="b.3tz", workers=2, budget=5000)
    assert (lake.root / "a.3tz").read_bytes() == (lake.root / "b.3tz").read_bytes()
    assert one == two


def test_bad_triangles_are_reported(lake: Lake) -> None:
    needle = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0]], [[0, 1, 1], [0, 1, 3]], process=False)
    nothing = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]], process=False)
    facts = run(lake, model([BOX, needle, nothing], [(0, 0, place()), (1, 1, place(5)), (2, 2, place(9))], ["good", "part", "none"]))
    said = {n["feature"]: n["action"] for n in facts["report"]["notes"]}
    assert said == {"part": "repaired", "none": "refused"}
    assert facts["report"]["kept"] == 2
    with pytest.raises(BadFeature, match="no element"):
        run(lake, model([nothing], [(0, 0, place())], ["none"]))


def test_normals_smooth_on_curves_sharp_on_edges() -> None:
    triangles = BALL.faces.astype(np.int64)
    ball = smooth(BALL.vertices, triangles, np.zeros(len(triangles), np.int64))
    assert len(ball.positions) == len(BALL.vertices)
    assert (ball.normals * ball.positions).sum(1).min() > 0.999, "a sphere's normals point along its radius"
    faces = BOX.faces.astype(np.int64)
    box = smooth(BOX.vertices, faces, np.zeros(12, np.int64))
    assert len(box.positions) == 24
    assert np.abs(np.abs(box.normals).max(axis=1) - 1).max() < 1e-12
    pipe = smooth(PIPE.vertices, PIPE.faces.astype(np.int64), np.zeros(len(PIPE.faces), np.int64))
    sides = np.abs(pipe.normals[:, 2]) < 0.5
    assert sides.sum() == 2 * 24
    radial = pipe.positions[sides, :2] / np.linalg.norm(pipe.positions[sides, :2], axis=1, keepdims=True)
    assert (pipe.normals[sides, :2] * radial).sum(1).min() > 0.999


def test_faces_back_to_back_have_normals_of_their_own() -> None:
    for at in np.random.default_rng(1).uniform(-3, 3, (50, 3, 3)):
        shaded = smooth(at, np.array([[0, 1, 2], [2, 1, 0]]), np.zeros(2, int), 180.0)
        corners = shaded.positions[shaded.triangles]
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        assert (np.einsum("ij,ikj->ik", across, shaded.normals[shaded.triangles]) > 0).all()


def test_slivers_close_the_surface_but_do_not_bend_its_normals() -> None:
    """A square cut into two triangles and a needle of no width along their diagonal: still connected, normals all up."""
    positions = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 1e-6]], float)
    triangles = np.array([[0, 1, 2], [0, 4, 3], [4, 2, 3], [0, 2, 4]])
    shaded = smooth(positions, triangles, np.zeros(4, np.int64))
    assert shaded.sliver.tolist() == [False, False, False, True]
    assert (shaded.normals[shaded.triangles[:3]][..., 2] > 0.999).all()


@pytest.mark.parametrize(("count", "edges"), [(1, 0), (50, 20), (400, 390), (3000, 2400)])
def test_components_are_those_of_scipy(count: int, edges: int) -> None:
    rng = np.random.default_rng(count)
    a, b = rng.integers(0, count, edges), rng.integers(0, count, edges)
    theirs = connected_components(coo_matrix((np.ones(edges), (a, b)), shape=(count, count)), directed=False)[1]
    ours = components(count, a, b)
    assert len(np.unique(np.column_stack([ours, theirs]), axis=0)) == len(np.unique(ours)) == len(np.unique(theirs))
    chain = components(5000, np.arange(4999), np.arange(1, 5000))
    assert (chain == 0).all()


def test_normals_do_not_leak_between_groups() -> None:
    """Two coplanar squares of two features that share an edge: no shared vertex."""
    positions = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0], [2, 1, 0]], float)
    triangles = np.array([[0, 1, 2], [0, 2, 3], [1, 4, 5], [1, 5, 2]])
    shaded = smooth(positions, triangles, np.array([0, 0, 1, 1]))
    assert len(shaded.positions) == 8
    assert not set(shaded.triangles[:2].ravel()) & set(shaded.triangles[2:].ravel())


def test_decode_is_in_the_archive(lake: Lake) -> None:
    run(lake, model([BOX], [(0, 0, place())], ["a"]))
    with Archive(lake.root / "out.3tz") as archive:
        (content,) = [n for n in archive.names() if n.endswith(".glb")]
        assert len(decode_glb(archive.read(content))) == 1


def test_large_models_are_packed_and_equal_their_plain_twin(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = [(i, i, place(3.0 * i, 2.0 * (i % 5))) for i in range(40)]
    bulky = model([BALL.copy().apply_scale(1 + i / 100) for i in range(40)], placed, [f"b{i}" for i in range(40)])
    run(lake, bulky, name="small.3tz")
    monkeypatch.setattr(tiler, "PACKED", 10_000)
    run(lake, bulky, name="packed.3tz")
    run(lake, bulky, name="plain.3tz", compression="none")
    assert (lake.root / "small.3tz").read_bytes() == (lake.root / "plain.3tz").read_bytes()
    with Archive(lake.root / "packed.3tz") as archive:
        files = [archive.read(name) for name in archive.names() if name.endswith(".glb")]
    assert any(b"EXT_meshopt_compression" in data for data in files)
    assert_valid(*files)
    packed, plain = ({id_: triangles for id_, triangles, _, _ in decoded(lake.root / name)} for name in ("packed.3tz", "plain.3tz"))
    assert packed.keys() == plain.keys()
    for id_, triangles in plain.items():
        turns = triangles[:, [[0, 1, 2], [1, 2, 0], [2, 0, 1]]]
        assert (packed[id_][:, None] == turns).all(axis=(2, 3)).any(axis=1).all()
