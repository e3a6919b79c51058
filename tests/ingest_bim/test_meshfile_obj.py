"""OBJ: objects, materials and textures, and files as programs write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ingest_bim.meshfiles.scene import _begun_by
from tests.ingest_bim.test_meshfile import ARROW, PLACE, SQUARE, WALL, area, colours, load, wrote
from tests.ingest_bim.texture_helpers import QUARTERS, drawn_at, quarters
from twin.errors import UnreadableSource


def test_obj_objects_and_materials(tmp_path: Path) -> None:
    (tmp_path / "m.mtl").write_text("newmtl blue\nKd 0 0 1\n")
    (tmp_path / "two.obj").write_text("mtllib m.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 5 0 0\nv 6 0 0\nv 5 1 0\no first\nusemtl blue\nf 1 2 3\no second\nf 4 5 6\n")
    (mesh,), _ = load(tmp_path / "two.obj", **PLACE)
    assert len(mesh) == 2 and mesh.materials[mesh.triangle_material[0]].color[:3] == (0, 0, 1) and mesh.materials[0].double_sided


def test_obj_opacity_groups_and_what_is_left_out(tmp_path: Path) -> None:
    """`d` and `Tr` count, groups are objects where no line names any, a name with blanks stands behind options, lines and colours beside materials are said."""
    (tmp_path / "m.mtl").write_text("newmtl pane\nKd 0 0 1\nd 0.25\nnewmtl haze\nKd 1 0 0\nTr 0.25\nmap_Kd -s 2 2 1 -clamp on a b.png\n")
    quarters(tmp_path / "a b.png", 8, "PNG")
    text = "mtllib m.mtl\nv 0 0 0 1 0 0\nv 1 0 0 1 0 0\nv 0 1 0 1 0 0\nv 5 0 0 1 0 0\nl 1 2 3\ng south wall\nusemtl pane\nf 1 2 3\ng north\nusemtl haze\nf 2 4 3\ng south wall\nf 1 2 4\n"
    (mesh,), report = load(wrote(tmp_path, "g.obj", text), **PLACE)
    assert mesh.ids.to_pylist() == ["south wall", "north"] and sorted({m.color[3] for m in mesh.materials}) == [0.25, 0.75]
    said = " ".join(note.reason for note in report.notes)
    assert "1 lines and points" in said and "beside materials" in said and "absent" not in said


@pytest.mark.parametrize("options", ["", "-clamp on "])
@pytest.mark.parametrize("slash", ["/", "\\"])
def test_images_lie_where_their_mtl_does(tmp_path: Path, slash: str, options: str) -> None:
    """The names in a .mtl count from its own folder; what is found from the OBJ's alone is taken, too."""
    own = quarters(tmp_path / "looks/img/a.png", 64, "PNG")
    quarters(tmp_path / "b.png", 32, "PNG")
    (tmp_path / "looks/m.mtl").write_text(f"newmtl a\r\nKd 1 1 1\r\nmap_Kd {options}img{slash}a.png\r\nnewmtl b\r\nKd 1 1 1\r\nmap_Kd b.png\r\n")
    (mesh,), report = load(wrote(tmp_path, "wall.obj", f"mtllib looks{slash}m.mtl\n{WALL}"), **PLACE)
    assert np.array_equal(np.array(colours(mesh)), np.array(QUARTERS)) and list(mesh.images.values()) == [own.read_bytes()]
    assert not [note for note in report.notes if "absent" in note.reason]


@pytest.mark.parametrize(("origin", "said"), [("0,0,0", True), ("85000,447000,0", False)])
def test_a_model_far_from_its_anchor_is_said(tmp_path: Path, origin: str, said: bool) -> None:
    """3dfier and others write map coordinates: anchored by its point 0, 0, 0 such a model stands hundreds of kilometres away."""
    corners = "v 85001 447001 3\nv 85011 447001 3\nv 85001 447011 3\n"
    (mesh,), report = load(wrote(tmp_path, "m.obj", f"{corners}f 1 2 3\n"), **{**PLACE, "origin": origin})
    assert len(mesh) == 1 and any("447 km from its point" in note.reason for note in report.notes) == said


def test_several_libraries(tmp_path: Path) -> None:
    """In several lines, several in a line, with blanks in their names; "mtllib" in another name is none."""
    for name, value in (("red", "1 0 0"), ("the green", "0 1 0"), ("the blue", "0 0 1")):
        (tmp_path / f"{name}.mtl").write_text(f"newmtl {name}\nKd {value}\n")
    text = f"mtllib red.mtl\no mtllib of 3\n{SQUARE}v 9 9 9\nmtllib the green.mtl the blue.mtl\nusemtl red\nf 1 2 3\nusemtl the green\nf 1 3 4\nusemtl the blue\nf 1 4 5\n"
    (mesh,), report = load(wrote(tmp_path, "s.obj", text), **PLACE)
    assert sorted(m.color[:3] for m in mesh.materials) == [(0, 0, 1), (0, 1, 0), (1, 0, 0)]
    assert not [note for note in report.notes if note.action != "assumed"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_obj_texture(tmp_path: Path, kind: str) -> None:
    image = quarters(tmp_path / "img/a.png", 64, kind)
    (tmp_path / "m.mtl").write_text("newmtl a\nKd 1 1 1\nmap_Kd img\\a.png\n")
    (tmp_path / "wall.obj").write_text("mtllib m.mtl\n" + WALL)
    (mesh,), report = load(tmp_path / "wall.obj", **PLACE)
    found = np.array(colours(mesh))
    assert np.abs(found - np.array(QUARTERS)).max() <= (4 if kind == "JPEG" else 0)
    assert list(mesh.images.values()) == [image.read_bytes()] and report.facts["content"]["textured"] == 1


def test_a_texture_that_is_no_image_is_said(tmp_path: Path) -> None:
    """trimesh draws the object plain without a word."""
    (tmp_path / "a.png").write_text("<html>404 Not Found</html>")
    (tmp_path / "m.mtl").write_text("newmtl a\nKd 1 1 1\nmap_Kd a.png\n")
    (tmp_path / "wall.obj").write_text("mtllib m.mtl\n" + WALL)
    (mesh,), report = load(tmp_path / "wall.obj", **PLACE)
    assert not mesh.images and [n.reason for n in report.notes if n.action == "refused"] == ["The texture 'a.png' is no image of a kind that is read; its surfaces are drawn plain."]


def test_obj_of_many_materials(tmp_path: Path) -> None:
    """One object of three materials, two of them with images, and one that shares a material: objects and materials are both kept."""
    first, second = quarters(tmp_path / "a.png"), quarters(tmp_path / "b.png", 32)
    (tmp_path / "m.mtl").write_text("newmtl a_1\nKd 1 1 1\nmap_Kd a.png\nnewmtl b\nKd 1 1 1\nmap_Kd b.png\nnewmtl c\nKd 1 0 0\n")
    corners = "".join(f"v {x} {y} {z}\n" for x in (0, 10) for y in (0, 20) for z in (0, 10)) + "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
    faces = "o house\nusemtl a_1\nf 1/1 5/2 6/3 2/4\nusemtl b\nf 3/1 7/2 8/3 4/4\nusemtl c\nf 1 3 4\no house_a\nusemtl b\nf 5/1 7/2 8/3 6/4\n"
    (tmp_path / "x.obj").write_text(f"mtllib m.mtl\n{corners}{faces}")
    (mesh,), report = load(tmp_path / "x.obj", **PLACE)
    assert mesh.ids.to_pylist() == ["house", "house_a"] and (report.read, report.kept) == (2, 2)
    assert set(mesh.images.values()) == {first.read_bytes(), second.read_bytes()}
    at = {"south": (407002.5, 2496000, 14.5), "north": (407002.5, 2496020, 14.5), "west": (407000, 2496015, 15)}
    assert drawn_at(mesh, at["south"], 0) == QUARTERS[2] and drawn_at(mesh, at["north"], 0) == QUARTERS[2] and drawn_at(mesh, at["west"], 0) is None
    assert drawn_at(mesh, (407010, 2496005, 14.5), 1) == QUARTERS[2]
    (tmp_path / "y.obj").write_text(f"mtllib m.mtl\n{corners}" + faces.replace("o house\n", "").replace("o house_a\n", ""))
    (mesh,), _ = load(tmp_path / "y.obj", **PLACE)
    assert mesh.ids.to_pylist() == ["y"] and len(mesh.triangles) == 7


@pytest.mark.parametrize("numbers", ["1 2 3 4 5", "-5 -4 -3 -2 -1", "3//1 4//1 5//1 1//1 2//1"])
def test_faces_that_are_not_convex_cover_what_they_enclose(tmp_path: Path, numbers: str) -> None:
    """The polygon's area by the shoelace formula; a fan around its first corner covers 14."""
    x, y = np.array(ARROW).T
    enclosed = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    lines = "".join(f"v {a} {b} 7\n" for a, b in ARROW) + f"vn 0 0 1\nf {numbers}\nv 9 9 9\n"
    (mesh,), _ = load(wrote(tmp_path, "a.obj", lines), **PLACE)
    assert (area(mesh), len(mesh.triangles)) == (pytest.approx(enclosed), 3)
    (mesh,), _ = load(wrote(tmp_path, "b.obj", SQUARE + "f 1 2 3 4\n"), **PLACE)
    assert len(mesh.triangles) == 2


@pytest.mark.parametrize("text", [
    (SQUARE + "f 1 2 3\n").replace(" ", "\t"), (SQUARE + "f 1 2 3\n").replace("\n", "\r"), SQUARE + "f 1 2 \\\n3\n", "  " + SQUARE.replace("v", "  v") + "f 1 2 3\n",
    "# a # b\n" + SQUARE.replace("0 1 0", "0 1 0 # last") + "f 1 2 3 # one\n", "\ufeff" + SQUARE + "f 1 2 3\n",
])  # fmt: skip
def test_obj_as_it_is_written(tmp_path: Path, text: str) -> None:
    (mesh,), _ = load(wrote(tmp_path, "a.obj", text), **PLACE)
    assert area(mesh) == pytest.approx(0.5)


def test_materials_that_are_not_there_or_no_numbers_are_said(tmp_path: Path) -> None:
    """They were drawn grey, and nothing was said."""
    (tmp_path / "m.mtl").write_text("newmtl red wall\r\nKd 1 0 0 # brick\r\nnewmtl green\r\nKd 0,5 1 0\r\n")
    text = "mtllib m.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl red wall\nf 1 2 3\nusemtl green\nf 3 2 1\nusemtl blue\nf 1 3 2\n"
    (tmp_path / "a.obj").write_text(text)
    _, report = load(tmp_path / "a.obj", **PLACE)
    assert [note.reason for note in report.notes if note.action == "warned"] == [
        "1 of its 3 materials are in none of its .mtl files and are drawn grey: blue.", "Of a material, 'Kd 0,5 1 0' should hold numbers with a decimal point and is not read."]  # fmt: skip
    (tmp_path / "a.obj").write_text(text.replace("usemtl blue\nf 1 3 2\n", ""))
    (tmp_path / "m.mtl").write_text("newmtl red wall\nKd 1 0 0\nd 0.5\nnewmtl green\nKd spectral a.rfl\nTr 0\n")
    assert not [note for note in load(tmp_path / "a.obj", **PLACE)[1].notes if note.action == "warned"]


def test_obj_in_gbk_with_quoted_and_several_libraries(tmp_path: Path) -> None:
    for name, color in (("红", "1 0 0"), ("蓝", "0 0 1")):
        wrote(tmp_path, f"{name}.mtl", f"newmtl {name}\nKd {color}\n".encode("gbk"))
    wrote(tmp_path, "one kind.mtl", "newmtl green\nKd 0 1 0\n")
    text = f"mtllib 红.mtl 蓝.mtl\no 楼\n{SQUARE}usemtl 红\nf 1 2 3\nusemtl 蓝\nf 1 3 4\n"
    (mesh,), report = load(wrote(tmp_path, "a.obj", text.encode("gbk")), **PLACE)
    assert mesh.ids.to_pylist() == ["楼"]
    assert {m.color[:3] for m in mesh.materials} == {(1.0, 0.0, 0.0), (0.0, 0.0, 1.0)}
    assert any("GBK" in note.reason for note in report.notes)
    (mesh,), _ = load(wrote(tmp_path, "b.obj", f'mtllib "one kind.mtl"\n{SQUARE}usemtl green\nf 1 2 3\n'), **PLACE)
    assert mesh.materials[0].color[:3] == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("lines", "said"),
    [("f 1 2 0\n", r"the face 'f 1 2 0' names what is before the first vertex"), ("f 1 2 -4\n", "before the first vertex"), ("f 1//1 2//0 3//1\n", "before the first vertex"),
     ("v 0,5 1 2\nf 1 2 4\n", r"'v 0,5 1 2' should hold numbers with a decimal point"), ("f 1.0 2.0 3.0\n", r"'f 1\.0 2\.0 3\.0' should hold whole numbers of vertices")],
)  # fmt: skip
def test_obj_lines_that_are_none_are_quoted(tmp_path: Path, lines: str, said: str) -> None:
    """trimesh took the vertex 0, and -4 of 3, for the file's last one."""
    with pytest.raises(UnreadableSource, match=said):
        load(wrote(tmp_path, "odd.obj", f"v 0 0 0\nv 1 0 0\nv 0 1 0\nvn 0 0 1\nf 1 2 3\n{lines}v 7 7 7\n"), **PLACE)
@pytest.mark.parametrize(("name", "object_"), [("a_b_c", "a_b"), ("a_b", "a_b"), ("a_x_y", "a"), ("ab", ""), ("a_b_", "a_b"), ("_a", ""), ("", ""), ("c__d_e", "c__d")])
def test_the_object_that_a_part_belongs_to(name: str, object_: str) -> None:
    """The longest that it begins with, found without a look at all of them (20,000 objects took half a minute)."""
    stated = ["a", "a_b", "c__d", "c"]
    assert _begun_by(name, stated) == object_ == max((o for o in stated if name == o or name.startswith(f"{o}_")), key=len, default="")


@pytest.mark.parametrize(("comment", "said"), [("# offset: 500000.0 2500000.0 0.0", True), ("#EPSG:4547", True), ("# offset of nothing", False), ("# made by X 4.2", False)])
def test_what_comments_say_of_a_place_is_not_applied_and_said(tmp_path: Path, comment: str, said: bool) -> None:
    path = tmp_path / "a.obj"
    path.write_text(f"{comment}\n{WALL}# EPSG:4326 in the middle of a file\n")
    (mesh,), report = load(path, **PLACE)
    assert len(mesh) == 1 and any(comment.lstrip("# ") in note.reason for note in report.notes if note.action == "warned") == said


def test_a_face_that_crosses_itself_is_said(tmp_path: Path) -> None:
    path = tmp_path / "bow.obj"
    path.write_text("v 0 0 0\nv 4 4 0\nv 4 0 0\nv 0 5 0\nf 1 2 3 4\nf 1 3 2\n")
    _, report = load(path, **PLACE)
    assert any(note.reason.startswith("1 faces cross themselves") for note in report.notes)
