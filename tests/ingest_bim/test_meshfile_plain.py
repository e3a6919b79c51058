"""PLY and STL as programs write them that trimesh does not follow: strips, colours, coordinates of maps, places in comments."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.ingest_bim.test_meshfile import PLACE, area, load, placed
from twin.errors import MissingReference, UnreadableSource
from twin.model import Mesh

MAP = {"crs": "EPSG:4547", "vertical": "EPSG:5737"}
AXES = "property float x\nproperty float y\nproperty float z\n"
CORNERS = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 2, 0.0)])
FACES = "element face 1\nproperty list uchar int vertex_indices\nend_header\n"


def ply(folder: Path, head: str, body: str | bytes, layout: str = "ascii") -> Path:
    path = folder / "a.ply"
    path.write_bytes(f"ply\nformat {layout} 1.0\n{head}".encode() + (body if isinstance(body, bytes) else body.encode()))
    return path


def text(points: np.ndarray) -> str:
    return "".join(" ".join(map(repr, map(float, point))) + "\n" for point in points)


def test_strips_of_triangles(tmp_path: Path) -> None:
    """Stanford's files: every other triangle is turned, -1 ends a strip, a corner that comes twice leads on. All look upward here."""
    head = f"element vertex 5\n{AXES}element tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    for layout, body in (("ascii", text(CORNERS) + "9 0 1 2 3 -1 2 2 3 4\n"),
                         ("binary_big_endian", CORNERS.astype(">f4").tobytes() + struct.pack(">10i", 9, 0, 1, 2, 3, -1, 2, 2, 3, 4))):  # fmt: skip
        (mesh,), _ = load(ply(tmp_path, head, body, layout), **MAP)
        assert len(mesh.triangles) == 3 and area(mesh) == pytest.approx(1.5)
        corners = mesh.positions[mesh.triangles]
        up = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2]
        assert (up[:2] > 0).all()


def test_a_text_keeps_all_digits_of_its_coordinates(tmp_path: Path) -> None:
    """`float` of a text is its writer's word for a number; 32 bits of a northing are a quarter of a metre."""
    points = CORNERS[:3] * 0.1 + (800000.317, 2500000.713, 10.009)
    (mesh,), report = load(ply(tmp_path, f"element vertex 3\n{AXES}{FACES}", text(points) + "3 0 1 2\n"), **MAP)
    assert np.abs(np.sort(placed(mesh), axis=0) - np.sort(points, axis=0)).max() < 1e-8
    assert not [note for note in report.notes if note.action == "warned"]


def test_coordinates_that_were_lost_before_are_said(tmp_path: Path) -> None:
    points = (CORNERS[:3] * 40 + (800000.317, 2500000.713, 10.009)).astype("<f4")
    _, report = load(ply(tmp_path, f"element vertex 3\n{AXES}{FACES}", points.tobytes() + struct.pack("<B3i", 3, 0, 1, 2), "binary_little_endian"), **MAP)
    assert [("0.25 apart" in note.reason) for note in report.notes if note.action == "warned"] == [True]
    (tmp_path / "a.stl").write_bytes(stl(points[None]))
    _, report = load(tmp_path / "a.stl", **MAP)
    assert any("0.25 apart" in note.reason for note in report.notes)
    (tmp_path / "b.stl").write_bytes(stl((CORNERS[:3] * 100.3)[None]))
    _, report = load(tmp_path / "b.stl", **MAP)
    assert not any("apart" in note.reason for note in report.notes)


@pytest.mark.parametrize(("kind", "names", "value"), [("ushort", "{}", 32768), ("uchar", "diffuse_{}", 128), ("ushort", "diffuse_{}", 32768)])
def test_colours_of_16_bits_and_older_names(tmp_path: Path, kind: str, names: str, value: int) -> None:
    columns = "".join(f"property {kind} {names.format(color)}\n" for color in ("red", "green", "blue"))
    rows = "".join(f"{x} {y} {z} {65535 if kind == 'ushort' else 255} {value} 0\n" for x, y, z in CORNERS[:3])
    (mesh,), _ = load(ply(tmp_path, f"element vertex 3\n{AXES}{columns}{FACES}", rows + "3 0 1 2\n"), **MAP)
    assert mesh.colors is not None and np.unique(mesh.colors.reshape(-1, 4), axis=0).tolist() == [[255, 128, 0, 255]]


def test_what_a_header_says_of_a_place_and_rows_of_other_kinds(tmp_path: Path) -> None:
    head = f"comment made by X\ncomment Global shift: 800000 2500000 0\nobj_info crs EPSG:4547\nelement vertex 3\n{AXES}element edge 1\nproperty int vertex1\nproperty int vertex2\n{FACES}"
    _, report = load(ply(tmp_path, head, text(CORNERS[:3]) + "0 1\n3 0 1 2\n"), **MAP)
    said = [(note.action, note.reason) for note in report.notes if note.action != "assumed"]
    assert [action for action, _ in said] == ["skipped", "warned"] and "1 rows of 'edge'" in said[0][1]
    assert "'Global shift: 800000 2500000 0; crs EPSG:4547'" in said[1][1]


def test_no_traceback_where_a_texture_is_absent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """trimesh logs one, which a command showed."""
    _, report = load(ply(tmp_path, f"comment TextureFile none.png\nelement vertex 3\n{AXES}{FACES}", text(CORNERS[:3]) + "3 0 1 2\n"), **MAP)
    assert any("none.png" in note.reason for note in report.notes) and not caplog.records


def stl(triangles: np.ndarray, head: bytes = b"solid by chance", said: int = 0) -> bytes:
    """A binary STL with the same two bytes behind each triangle."""
    return head.ljust(80) + struct.pack("<I", len(triangles)) + b"".join(struct.pack("<12fH", 0, 0, 1, *np.ravel(triangle), said) for triangle in triangles)


@pytest.mark.parametrize(("head", "said", "color"), [
    (b"any", 0x8000 | 31 << 10 | 16 << 5, (255, 132, 0, 255)), (b"COLOR=\x00\x00\xff\xff", 31 | 16 << 5, (255, 132, 0, 255)), (b"COLOR=\x00\x80\xff\xff", 0x8000, (0, 128, 255, 255)),
    (b"COLOR=\x00\x80\xff\xff", 0, (0, 128, 255, 255)), (b"any", 0, (204, 204, 204, 255)), (b"any", 77, (204, 204, 204, 255)),
])  # fmt: skip
def test_colours_of_stl(tmp_path: Path, head: bytes, said: int, color: tuple[int, ...]) -> None:
    path = tmp_path / "a.stl"
    path.write_bytes(stl(CORNERS[[[0, 1, 2], [1, 3, 2]]], head, said))
    (mesh,), report = load(path, **MAP)
    assert colour_of(mesh) == pytest.approx(np.array(color) / 255, abs=0.006) and area(mesh) == pytest.approx(1)
    assert [note.reason for note in report.notes if note.action == "warned"] == (["The bytes behind its triangles are no colours that are known here and are not read."] if said == 77 else [])


def colour_of(mesh: Mesh) -> tuple[float, ...]:
    (found,) = {mesh.materials[i].color for i in mesh.triangle_material}
    return found


def test_what_lies_beside_a_mesh_says_where_it_stands(tmp_path: Path) -> None:
    """ContextCapture writes where its models stand into a file beside their folder."""
    folder = tmp_path / "Data"
    folder.mkdir()
    path = ply(folder, f"element vertex 3\n{AXES}{FACES}", text(CORNERS[:3]) + "3 0 1 2\n")
    (tmp_path / "metadata.xml").write_text("<ModelMetadata><SRS>EPSG:4547</SRS><SRSOrigin>500000,2500000,12</SRSOrigin></ModelMetadata>")
    with pytest.raises(MissingReference, match="says 'EPSG:4547' with the origin 500000,2500000,12"):
        load(path)
    assert load(path, **PLACE)[0]


STL = "solid a\nfacet normal 0 0 1\nouter loop\nvertex 0.5 0.25 0\nvertex 1.5 0 0\nvertex 0 1.5 0\nendloop\nendfacet\nendsolid a\n"
PLY = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n0.5 0 0\n1.5 0 0\n0 1.5 0\n3 0 1 2\n"


@pytest.mark.parametrize(("name", "text", "said"), [
    ("a.stl", STL.replace("0.5 0.25", "0,5 0,25"), "'vertex 0,5 0,25 0' in line 4 should hold 3 numbers with a decimal point"),
    ("a.stl", STL.replace("0.25 0", "0.25"), "'vertex 0.5 0.25' in line 4 should hold 3 numbers"),
    ("a.stl", STL.replace("vertex 0 1.5 0\n", ""), "the triangle that begins in line 2 has 2 corners"),
    ("a.ply", PLY.replace("0.5", "0,5"), "'0,5 0 0' in line 10 should hold numbers with a decimal point"),
    *(("a.ply", text, "there are fewer numbers than its header states") for text in (PLY[:-2], PLY[:-8], PLY[:-16], PLY.replace("face 1", "face 2"))),
    ("a.ply", PLY.replace("float x", "float east"), "its vertices have no x; they have east, y, z"),
    ("a.ply", PLY[:60], "its header does not end"), ("a.ply", STL, "it does not begin with 'ply'"),
    ("a.ply", PLY.replace("float x", "real x"), "its header names an element or a property that is not known"),
])  # fmt: skip
def test_what_is_wrong_in_a_text_is_told_by_its_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UnreadableSource, match=re.escape(said)):
        load(tmp_path / name, **PLACE)


def test_lines_that_a_carriage_return_ends(tmp_path: Path) -> None:
    """Old Macintosh programs write them; of a binary PLY in the head alone, whose rows may hold any bytes."""
    for name, text in (("a.stl", STL), ("a.ply", PLY)):
        for end in ("\n", "\r\n", "\r"):
            (tmp_path / name).write_bytes(text.replace("\n", end).encode())
            (mesh,), _ = load(tmp_path / name, **PLACE)
            assert len(mesh.triangles) == 1 and (mesh.positions + mesh.transforms[0][:3, 3] - [407000, 2496000, 12]).max() == pytest.approx(1.5)
    head = PLY[: PLY.index("0.5")].replace("ascii", "binary_little_endian").replace("\n", "\r")
    rows = np.array([[0, 0, 0], [13, 0, 0], [0, 13, 0]], "<f4").tobytes() + b"\x03" + np.array([0, 1, 2], "<i4").tobytes()
    (tmp_path / "a.ply").write_bytes(head.encode() + rows.replace(np.float32(13).tobytes(), b"\r\r\rA"))
    (mesh,), _ = load(tmp_path / "a.ply", **PLACE)
    assert np.ptp(mesh.positions, axis=0).max() == pytest.approx(np.frombuffer(b"\r\r\rA", "<f4")[0])
