"""A city with every kind of tileset that the product makes, each a small one; what the tests expect is computed from these numbers."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import trimesh

from tests.ingest_bim import test_adopted as adopted
from tests.ingest_bim import test_citygml as citygml
from tests.ingest_bim.conftest import step_text
from tests.ingest_bim.texture_helpers import quarters
from tests.ingest_gis.conftest import write_las

TREES = 60
POINTS = 20_000
HOUSES = 40
DOMES = 40


def jobs(city: ModuleType, folder: Path) -> list[dict[str, Any]]:
    """Writes the files; returns what to ingest, terrain first."""
    small = {str(job["layer"]): job for job in city.write(folder)}
    small["terrain"]["options"] |= {"output": "both"}
    blocks = small["buildings"]
    cloud = {"crs": "EPSG:32649", "vertical": "ellipsoid", "points_per_tile": "1000"}
    write_las(folder / "cloud.las", POINTS)
    model = {"crs": city.CRS, "vertical": "ellipsoid"}
    (folder / "model.ifc").write_text(step_text())
    _orchard(folder / "trees.glb")
    _domes(folder / "domes.glb")
    adopted.tileset(folder / "theirs")
    houses = _houses(folder)
    return [
        small["terrain"], _job(blocks["source"], "buildings", "footprints", blocks["options"] | {"budget": "100"}),
        _job(blocks["source"], "blocks-implicit", "footprints", blocks["options"] | {"budget": "300", "subdivision": "implicit"}),
        _job(folder / "cloud.las", "cloud", "points", cloud), _job(folder / "cloud.las", "cloud-implicit", "points", cloud | {"subdivision": "implicit"}),
        _job(folder / "model.ifc", "model", "ifc", model | {"anchor": f"{city.EAST + 459},{city.NORTH + 140},40", "confirm": "true"}),
        _job(folder / "trees.glb", "trees", "meshfile", model | {"anchor": f"{city.EAST + 200},{city.NORTH + 440},25"}),
        _job(folder / "domes.glb", "domes", "meshfile", model | {"anchor": f"{city.EAST + 200},{city.NORTH + 440},25", "budget": "4000"}),
        _job(houses, "houses", "citygml", {"budget": "100"}), _job(houses, "houses-implicit", "citygml", {"budget": "100", "subdivision": "implicit"}),
        _job(houses, "houses-plain", "citygml", {"budget": "100", "compression": "none"}),
        _job(folder / "theirs" / "tileset.json", "theirs", "tileset", {}),
        small["river"],
    ]  # fmt: skip


def _job(path: Any, layer: str, reader: str, options: dict[str, str]) -> dict[str, Any]:
    return {"source": path, "layer": layer, "reader": reader, "options": options, "describe": {"title_zh": layer, "title_en": layer, "group": "时空基础"}}


def grove() -> np.ndarray:
    """(TREES, 3) where the trees stand, metres, y up."""
    return np.random.default_rng(3).uniform(-30, 30, (TREES, 3)) * [1, 0.1, 1]


def _orchard(path: Path) -> None:
    """One tree, placed many times."""
    scene = trimesh.Scene()
    tree = trimesh.creation.icosphere(3, 1.5)
    for i, at in enumerate(grove()):
        matrix = np.eye(4)
        matrix[:3, 3] = at
        scene.add_geometry(tree, geom_name="tree", node_name=f"tree-{i}", transform=matrix)
    scene.export(path)


def _domes(path: Path) -> None:
    """Spheres, each another one, far enough apart for a tree of several levels."""
    scene = trimesh.Scene()
    rng = np.random.default_rng(4)
    for i in range(DOMES):
        sphere = trimesh.creation.icosphere(3, 1.0).apply_scale(rng.uniform(2, 9, 3))
        matrix = np.eye(4)
        matrix[[0, 2], 3] = rng.uniform(-400, 400, 2)
        scene.add_geometry(sphere, node_name=f"dome-{i}", transform=matrix)
    scene.export(path)


def _houses(folder: Path) -> Path:
    """Cubes of 10 m in LoD3, the south wall of each with a picture."""
    members = ""
    for i in range(4):
        quarters(folder / f"img/{i}.png", 64)
    targets = ["", "", "", ""]
    for i in range(HOUSES):
        at = (citygml.AT[0] + 25 * (i % 8), citygml.AT[1] + 25 * (i // 8), citygml.AT[2])
        walls = ""
        for name, ring in citygml.FACES.items():
            face = citygml.polygon(f"h{i}-{name}", ring, at).replace("<gml:LinearRing>", f'<gml:LinearRing gml:id="h{i}-{name}-r">')
            kind = {"g": "GroundSurface", "r": "RoofSurface", "w": "WallSurface"}[name[0]]
            walls += (f'<bldg:boundedBy><bldg:{kind} gml:id="h{i}-s-{name}"><bldg:lod3MultiSurface><gml:MultiSurface><gml:surfaceMember>{face}</gml:surfaceMember>'
                      f"</gml:MultiSurface></bldg:lod3MultiSurface></bldg:{kind}></bldg:boundedBy>")  # fmt: skip
        members += citygml.building(walls, f"h{i}")
        targets[i % 4] += (f'<app:target uri="#h{i}-w0"><app:TexCoordList><app:textureCoordinates ring="#h{i}-w0-r">0 0 1 0 1 1 0 1 0 0'
                           "</app:textureCoordinates></app:TexCoordList></app:target>")  # fmt: skip
    looks = "".join(f"<app:surfaceDataMember><app:ParameterizedTexture><app:imageURI>img/{i}.png</app:imageURI>{target}</app:ParameterizedTexture></app:surfaceDataMember>"
                    for i, target in enumerate(targets))  # fmt: skip
    members += f"<app:appearanceMember><app:Appearance><app:theme>rgb</app:theme>{looks}</app:Appearance></app:appearanceMember>"
    return citygml.save(folder, members)
