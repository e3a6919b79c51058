"""Implicit geometries whose prototype lies in a file beside the model, against trimesh's own reading of that file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from tests.ingest_bim.test_citygml import load, save
from tests.ingest_bim.texture_helpers import quarters

FAN = "mtllib tree.mtl\nv 0 0 0\nv 2 0 0\nv 0 3 0\nv 0 0 4\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl leaf\nf 3/3 2/2 1/1\nf 4/2 3/3 1/1\nf 2/3 4/2 1/1\nf 3/1 4/3 2/2\n"


def tree(name: str, east: float, library: str) -> str:
    return (
        f'<core:cityObjectMember><veg:SolitaryVegetationObject gml:id="{name}"><veg:lod2ImplicitRepresentation><core:ImplicitGeometry>'
        "<core:transformationMatrix>0 -1 0 0 1 0 0 0 0 0 2 0 0 0 0 1</core:transformationMatrix>"
        f"<core:libraryObject>{library}</core:libraryObject><core:referencePoint><gml:Point><gml:pos>{east} 5335000 500</gml:pos></gml:Point></core:referencePoint>"
        "</core:ImplicitGeometry></veg:lod2ImplicitRepresentation></veg:SolitaryVegetationObject></core:cityObjectMember>"
    )


def test_a_prototype_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "tree.obj").write_text(FAN)
    (tmp_path / "lib" / "tree.mtl").write_text("newmtl leaf\nKd 1 1 1\nmap_Kd leaf.png\n")
    image = quarters(tmp_path / "lib" / "leaf.png").read_bytes()
    path = save(tmp_path, tree("a", 691000, "lib/tree.obj") + tree("b", 691020, "lib\\tree.obj"))
    (mesh,), _ = load(path)
    assert len(mesh.instance_prototype) == 2
    peer: Any = trimesh.load(tmp_path / "lib" / "tree.obj", process=False, force="mesh")
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 2.0]])
    for name, east in (("a", 691000.0), ("b", 691020.0)):
        row = mesh.ids.to_pylist().index(name)
        k = mesh.instance_feature.tolist().index(row)
        p = mesh.instance_prototype[k]
        own = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]] @ mesh.transforms[k][:3, :3].T + mesh.transforms[k][:3, 3]
        drawn = own[mesh.triangles[mesh.triangle_start[p] : mesh.triangle_start[p + 1]]]
        assert np.allclose(drawn, np.asarray(peer.triangles) @ turn.T + (east, 5335000.0, 500.0), atol=1e-9)
    assert list(mesh.images.values()) == [image]
    (plain,), _ = load(path, textures=False)
    assert not plain.images and all(material.texture is None for material in plain.materials)


def test_names_of_prototypes_are_uris(tmp_path: Path) -> None:
    for name in ("old tree.obj", "b%20c.obj"):
        (tmp_path / name).write_text(FAN)
    (mesh,), _ = load(save(tmp_path, tree("a", 691000, "old%20tree.obj") + tree("b", 691020, "b%20c.obj")))
    assert len(mesh.instance_prototype) == 2


def test_gltf_stands_up(tmp_path: Path) -> None:
    """glTF's y is up, a city's z."""
    trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 5, 0]], [[0, 1, 2]], process=False).export(tmp_path / "mast.glb")
    (mesh,), _ = load(save(tmp_path, tree("a", 691000, "mast.glb")))
    assert np.ptp(mesh.positions, axis=0).tolist() == pytest.approx([1, 0, 5])


@pytest.mark.parametrize(("library", "reason"), [("../tree.obj", "outside"), ("http://a.example/tree.obj", "outside"), ("tree.wrl", "not read"), ("none.obj", "absent"),
                                                 ("empty.stl", "cannot be read|no triangles"), ("", "incomplete")])  # fmt: skip
def test_what_cannot_be_used(tmp_path: Path, library: str, reason: str) -> None:
    import re

    home = tmp_path / "in"
    home.mkdir()
    for place in (tmp_path, home):
        (place / "tree.wrl").write_text("#VRML V2.0 utf8")
    (tmp_path / "tree.obj").write_text(FAN)
    (home / "empty.stl").write_bytes(b"")
    _, report = load(save(home, tree("a", 691000, library)))
    assert any(note.feature == "a" and re.search(reason, note.reason) for note in report.notes), report.notes
