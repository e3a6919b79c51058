"""A model laid on a footprint of the city: turns and moves that are known, plans that fit twice, footprints that are another's."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely
from pyproj import Transformer
from shapely import affinity

from ingest_bim.ifc import reader as ifc
from ingest_bim.ifc.footprint import fit, outline
from twin import reading
from twin.city import City
from twin.errors import BadOption, BadReference, NotFound
from twin.intake import ingest_params
from twin.model import Features, Mesh, Reference, Report
from twin.settings import Settings
from twin.tasks import require, submit, work

ELL = shapely.Polygon([(0, 0), (20, 0), (20, 8), (9, 8), (9, 14), (0, 14)])


@pytest.mark.parametrize("turn", [0.0, 17.0, 133.7, 250.0, 359.0])
def test_a_known_turn_and_move_are_found(turn: float) -> None:
    footprint = affinity.translate(affinity.rotate(ELL, -turn, origin=(3, 4)), 41.5, -7.25)
    found = fit(ELL, footprint, "x")
    assert abs((found.rotation - turn + 180) % 360 - 180) < 0.1
    assert found.overlap > 0.995
    assert not found.others
    laid = affinity.rotate(ELL, -found.rotation, origin=found.origin)
    laid = affinity.translate(laid, found.target[0] - found.origin[0], found.target[1] - found.origin[1])
    assert shapely.hausdorff_distance(laid.exterior, footprint.exterior) < 0.05


def test_a_survey_that_differs_a_little_still_fits() -> None:
    noisy = shapely.Polygon(np.array(ELL.exterior.coords) + np.random.default_rng(1).normal(0, 0.15, (7, 2)))
    found = fit(ELL, affinity.rotate(noisy, -40, origin=(0, 0)), "x")
    assert abs(found.rotation - 40) < 1.5
    assert 0.9 < found.overlap < 1


def test_a_rectangle_fits_twice_and_says_so() -> None:
    found = fit(shapely.box(0, 0, 20, 8), affinity.rotate(shapely.box(0, 0, 20, 8), -30), "x")
    turns = sorted([found.rotation, *(turn for turn, _ in found.others)])
    assert turns == pytest.approx([30, 210], abs=0.2)


def test_another_building_s_footprint_is_refused() -> None:
    with pytest.raises(BadReference, match="covers"):
        fit(ELL, shapely.box(0, 0, 3, 3), "x")
    with pytest.raises(BadReference, match=r"overlap|union"):
        fit(shapely.box(0, 0, 40, 5), shapely.box(0, 0, 14, 14), "x")


def test_an_outline_is_the_plan_of_all_shapes() -> None:
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], float)
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    box = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    moved = np.eye(4)
    moved[:3, 3] = [1, 0, 5]
    assert outline([(corners, box, np.eye(4)), (corners, box, moved)]).area == pytest.approx(2, abs=1e-6)
    assert outline([]) is None


# --- in a city ---------------------------------------------------------------------------------------------------


def plan_of(mesh: Mesh) -> np.ndarray:
    return np.concatenate([
        mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]] @ t[:3, :3].T + t[:3, 3]
        for p, t in zip(mesh.instance_prototype, mesh.transforms, strict=True)
    ])  # fmt: skip


def around(polygon: shapely.Polygon, style: dict[str, str] | None = None, vertical: str = "EPSG:5773", **columns: object) -> reading.Surroundings:
    feature = Features(Reference("EPSG:4547", vertical), pa.array(["b1"]), np.array([polygon], object), pa.table({k: pa.array([v]) for k, v in columns.items()}))

    def named(name: str) -> tuple[Features, dict[str, str]]:
        if name != "blocks/b1":
            raise NotFound(f"no {name}")
        return feature, style or {}

    return reading.Surroundings(feature=named)


def read(path: Path, surroundings: reading.Surroundings, **options: object) -> tuple[Mesh, Report]:
    report = Report()
    with reading.given(surroundings):
        batches = list(ifc.read(path, ifc.Options(**{"footprint": "blocks/b1", "workers": 1, **options}), report))  # type: ignore[arg-type]
    return next(b for b in batches if isinstance(b, Mesh)), report


def test_a_model_stands_on_its_footprint(model_file: Callable[..., Path], step: Callable[..., str]) -> None:
    """Two columns of 2 × 1 m, 10 m apart: the footprint is their plan, turned by 30° and moved, in another CRS than the frame."""
    text = step("#130=IFCSLAB('1000000000000000000003',$,'slab',$,$,#131,#132,$,.FLOOR.);", "#131=IFCLOCALPLACEMENT(#40,#10);",
                "#132=IFCPRODUCTDEFINITIONSHAPE($,$,(#133));", "#133=IFCSHAPEREPRESENTATION(#2,'Body','SweptSolid',(#134));",
                "#134=IFCEXTRUDEDAREASOLID(#135,#10,#12,0.2);", "#135=IFCARBITRARYCLOSEDPROFILEDEF(.AREA.,$,#136);",
                "#136=IFCPOLYLINE((#137,#138,#139,#140,#141,#142,#137));", "#137=IFCCARTESIANPOINT((-1.,-0.5));", "#138=IFCCARTESIANPOINT((11.,-0.5));",
                "#139=IFCCARTESIANPOINT((11.,3.));", "#140=IFCCARTESIANPOINT((4.,3.));", "#141=IFCCARTESIANPOINT((4.,0.5));", "#142=IFCCARTESIANPOINT((-1.,0.5));")  # fmt: skip
    plan = shapely.Polygon([(-1, -0.5), (11, -0.5), (11, 3), (4, 3), (4, 0.5), (-1, 0.5)])
    footprint = affinity.translate(affinity.rotate(plan, -30, origin=(0, 0)), 405000, 2498000)
    path = model_file(text)
    mesh, report = read(path, around(footprint, {"base": "foot"}, foot=7.5), crs="EPSG:4547")
    facts = report.facts["georeference"]
    assert (facts["source"], facts["footprint"], facts["vertical"]) == ("footprint", "blocks/b1", "EPSG:5773")
    assert facts["overlap"] > 0.99
    points = plan_of(mesh)
    assert points[:, 2].min() == pytest.approx(7.5, abs=1e-3)
    hull = shapely.MultiPoint(points[:, :2]).convex_hull
    assert shapely.hausdorff_distance(hull.exterior, footprint.convex_hull.exterior) < 0.1
    frame, _ = read(path, around(footprint), height=3.0, vertical="EGM96")  # in a frame of its own: the same place on the earth
    lon, lat = Transformer.from_crs(frame.reference.horizontal, "EPSG:4326", always_xy=True).transform(*plan_of(frame)[:, :2].T)
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:4547", always_xy=True).transform(lon, lat)
    assert np.hypot(np.mean(x) - points[:, 0].mean(), np.mean(y) - points[:, 1].mean()) < 0.1
    assert math.isclose(plan_of(frame)[:, 2].min(), 3.0, abs_tol=1e-3)


def test_what_cannot_be_placed_is_refused(model_file: Callable[..., Path], step: Callable[..., str]) -> None:
    path = model_file(step())
    square = shapely.box(405000, 2498000, 405012, 2498001)
    with pytest.raises(BadOption, match="how high"):
        read(path, around(square))
    with pytest.raises(NotFound):
        read(path, around(square), footprint="blocks/none", height=1.0, vertical="EGM96")
    with pytest.raises(BadOption, match="both"):
        read(path, around(square), anchor="1,2,3")
    with pytest.raises(BadOption, match="city"):
        read(path, reading.Surroundings(), height=1.0, vertical="EGM96")


def test_through_the_command_s_own_path(tmp_path: Path, model_file: Callable[..., Path], step: Callable[..., str]) -> None:
    """A footprint layer is ingested, then the model by the footprint's name."""
    city = City(Settings(home=tmp_path / "city", workers=1))
    polygon = affinity.rotate(shapely.box(0, 0, 12, 1), -20, origin=(0, 0))
    polygon = affinity.translate(polygon, 405000, 2498000)
    source = tmp_path / "blocks.geojson"
    lon, lat = Transformer.from_crs("EPSG:4547", "EPSG:4326", always_xy=True).transform(*np.array(polygon.exterior.coords).T)
    ring = [[float(a), float(b)] for a, b in zip(lon, lat, strict=True)]
    source.write_text('{"type":"FeatureCollection","features":[{"type":"Feature","id":"b1","properties":{"gid":"b1","height":9},'
                      f'"geometry":{{"type":"Polygon","coordinates":[{ring}]}}}}]}}')  # fmt: skip
    blocks = {"height": "height", "id": "gid", "vertical": "above ground", "ground": "0"}
    require(work(city, submit(city, "ingest", ingest_params(source, "blocks", reader="footprints", options=blocks))))
    params = ingest_params(model_file(step()), "house", options={"footprint": "blocks/b1", "height": 4.0, "vertical": "EGM96", "workers": 1})
    result = require(work(city, submit(city, "ingest", params)))
    facts = result["report"]["facts"]["georeference"]
    assert facts["footprint"] == "blocks/b1"
    assert facts["other_turns"]
    assert facts["overlap"] > 0.95
    assert (facts["lon"], facts["lat"]) == pytest.approx((np.mean(lon[:4]), np.mean(lat[:4])), abs=2e-6)
    assert (city.settings.home / "cache" / "shapes.sqlite").exists()
