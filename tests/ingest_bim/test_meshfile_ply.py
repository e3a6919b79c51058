"""PLY with polygons: what is drawn is compared with shapely's areas of the rings that were written."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image

from tests.ingest_bim.test_meshfile import PLACE, load
from twin.errors import UnreadableSource

ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
ELL = [(0, 0), (10, 0), (10, 2), (2, 2), (2, 10), (0, 10)]
SQUARE, DART, CROWN = [(0, 0), (3, 0), (3, 3), (0, 3)], [(4, 1), (8, 0), (4, 6), (0, 0)], [(0, 0), (4, 0), (4, 4), (2, 1), (0, 4)]
FIVE = [(0, 0), (2, 0), (3, 1), (1, 3), (0, 2)]


def ply(path: Path, layout: str, rings: list[list[tuple[int, int]]], texture: str = "") -> Path:
    """Rings beside each other, red and blue by turns; with a texture, each corner has its place in a unit square."""
    order, corners = ORDERS[layout], [(x + 20.0 * i, float(y), 0.0) for i, ring in enumerate(rings) for x, y in ring]
    lines = ["ply", f"format {layout} 1.0", *([f"comment TextureFile {texture}"] if texture else []), f"element vertex {len(corners)}"]
    lines += [f"property double {axis}" for axis in "xyz"] + [f"element face {len(rings)}", "property list uchar int vertex_indices"]
    lines += ["property list uchar float texcoord"] if texture else [f"property uchar {name}" for name in ("red", "green", "blue")]
    rows: list[tuple[str, tuple[float, ...]]] = [("3d", corner) for corner in corners]
    first = 0
    for i, ring in enumerate(rings):
        rows.append((f"B{len(ring)}i", (len(ring), *range(first, first + len(ring)))))
        rows.append((f"B{2 * len(ring)}f", (2 * len(ring), *(v / 10 for x, y in ring for v in (x, y)))) if texture else ("3B", (255, 0, 0) if i % 2 == 0 else (0, 0, 255)))
        first += len(ring)
    data = b"".join(struct.pack(order + kind, *values) if order else (" ".join(map(str, values)) + "\n").encode() for kind, values in rows)
    path.write_bytes("\n".join([*lines, "end_header\n"]).encode() + data)
    return path


@pytest.mark.parametrize("layout", ORDERS)
@pytest.mark.parametrize("rings", [[ELL], [ELL, SQUARE, CROWN, DART], [FIVE, FIVE], [SQUARE, SQUARE], [DART, DART]], ids=["one", "mixed", "fives", "squares", "darts"])
def test_polygons_cover_what_they_enclose(tmp_path: Path, layout: str, rings: list[list[tuple[int, int]]]) -> None:
    (mesh,), _ = load(ply(tmp_path / "a.ply", layout, rings), **PLACE)
    a, b, c = (mesh.positions[mesh.triangles[:, i]] for i in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    assert areas.sum() == pytest.approx(sum(shapely.Polygon(ring).area for ring in rings))
    red = np.array([mesh.materials[m].color[0] == 1 for m in mesh.triangle_material])
    assert areas[red].sum() == pytest.approx(sum(shapely.Polygon(ring).area for ring in rings[::2]))


@pytest.mark.parametrize("layout", ORDERS)
def test_texture_coordinates_of_corners_go_with_them(tmp_path: Path, layout: str) -> None:
    Image.new("RGB", (8, 8), (9, 99, 200)).save(tmp_path / "a.png")
    (mesh,), _ = load(ply(tmp_path / "a.ply", layout, [ELL, SQUARE], "a.png"), **PLACE)
    assert mesh.uv is not None
    places = mesh.positions[mesh.triangles] + mesh.transforms[0][:3, 3] - [407000, 2496000, 12]
    assert np.allclose(mesh.uv, np.stack([places[..., 0] % 20 / 10, 1 - places[..., 1] / 10], axis=-1), atol=1e-6)


def test_a_binary_file_of_polygons_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = ply(tmp_path / "a.ply", "binary_little_endian", [ELL, SQUARE])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UnreadableSource):
        load(path, **PLACE)


@pytest.mark.parametrize("layout", ORDERS)
def test_faces_without_corners_are_passed_over_and_said(tmp_path: Path, layout: str) -> None:
    (mesh,), report = load(ply(tmp_path / "a.ply", layout, [ELL, [], SQUARE, [(0, 0), (1, 1)]]), **PLACE)
    assert len(mesh.triangles) == 4 + 2
    assert "2 of 4 faces have fewer than three corners." in [note.reason for note in report.notes]


@pytest.mark.parametrize("layout", ORDERS)
def test_a_face_that_crosses_itself_is_said(tmp_path: Path, layout: str) -> None:
    _, report = load(ply(tmp_path / "a.ply", layout, [SQUARE, [(0, 0), (4, 4), (4, 0), (0, 5)]]), **PLACE)
    assert any(note.reason.startswith("1 faces cross themselves") for note in report.notes)


def test_text_rows_that_are_not_as_the_header_says_are_refused(tmp_path: Path) -> None:
    """A list of colours behind each face that the header does not name: read on, every face after the first would be another."""
    path = ply(tmp_path / "a.ply", "ascii", [SQUARE, SQUARE])
    text = path.read_text().splitlines()
    path.write_text("\n".join([*text[:-2], f"{text[-2]} 3 1 1 1", f"{text[-1]} 3 1 1 1", ""]))
    with pytest.raises(UnreadableSource, match="its rows hold 48 numbers, and by its header there are 40"):
        load(path, **PLACE)
