"""The IFC office stands on its footprint; the laser survey agrees with terrain, roofs, river and deck."""

from __future__ import annotations

from typing import Any

import ifcopenshell
import ifcopenshell.util.placement
import laspy
import numpy as np
import pytest
import shapely

from tests.data_samples.conftest import Dem, Sample


@pytest.fixture(scope="module")
def model(sample: Sample) -> Any:
    return ifcopenshell.open(str(sample.path("bim_office")))


def _footprint(sample: Sample) -> Any:
    b = sample.read("buildings")
    row = b[b["bim"] == "bim_office"]
    assert len(row) == 1
    return row.iloc[0]


def _on_map(model: Any, product: Any) -> Any:
    """Profile points of a product's extrusions on the map (easting, northing, height), by the IfcMapConversion formula."""
    conversion = model.by_type("IfcMapConversion")[0]
    matrix = ifcopenshell.util.placement.get_local_placement(product.ObjectPlacement)
    out = []
    for item in product.Representation.Representations[0].Items:
        if item.is_a("IfcExtrudedAreaSolid"):
            at = ifcopenshell.util.placement.get_axis2placement(item.Position)
            flat = np.array([p.Coordinates for p in item.SweptArea.OuterCurve.Points])
            for z in (0.0, item.Depth):
                local = np.column_stack([flat, np.full(len(flat), z), np.ones(len(flat))])
                out.append((matrix @ at @ local.T).T[:, :3])
    xyz = np.concatenate(out)
    c, s = conversion.XAxisAbscissa, conversion.XAxisOrdinate
    east = conversion.Eastings + c * xyz[:, 0] - s * xyz[:, 1]
    north = conversion.Northings + s * xyz[:, 0] + c * xyz[:, 1]
    return np.column_stack([east, north, xyz[:, 2] + conversion.OrthogonalHeight])


def test_office_stands_exactly_on_its_footprint(sample: Sample, model: Any) -> None:
    row = _footprint(sample)
    slab = next(s for s in model.by_type("IfcSlab") if s.PredefinedType == "BASESLAB")
    ring = _on_map(model, slab)[: 7 if len(row.geometry.exterior.coords) == 7 else None, :2]
    outline = shapely.Polygon(ring)
    assert shapely.hausdorff_distance(outline, row.geometry) < 0.01
    walls = [w for w in model.by_type("IfcWall") if w.PredefinedType == "SOLIDWALL"]
    points = np.concatenate([_on_map(model, w) for w in walls])
    assert shapely.distance(row.geometry, shapely.points(points[:, :2])).max() < 0.01
    hull = shapely.convex_hull(shapely.multipoints(points[:, :2]))
    assert shapely.hausdorff_distance(hull, row.geometry.convex_hull) < 0.01


def test_office_ground_floor_is_at_the_terrain_and_its_top_at_the_block_s(sample: Sample, model: Any, dem: Dem) -> None:
    row = _footprint(sample)
    slab = next(s for s in model.by_type("IfcSlab") if s.PredefinedType == "BASESLAB")
    floor = _on_map(model, slab)[:, 2].max()
    x, y = shapely.get_coordinates(shapely.segmentize(row.geometry.exterior, 2.0)).T
    assert np.abs(dem.at(x, y) - floor).max() < 0.02
    parapet = [w for w in model.by_type("IfcWall") if w.PredefinedType == "PARAPET"]
    top = max(_on_map(model, w)[:, 2].max() for w in parapet)
    assert abs(top - floor - row["height"]) < 0.01


def test_office_says_where_it_is(model: Any) -> None:
    crs = model.by_type("IfcProjectedCRS")[0]
    assert (model.schema, crs.Name, crs.VerticalDatum) == ("IFC4", "EPSG:4547", "EPSG:5737")


def test_office_is_a_whole_model(model: Any) -> None:
    assert len(model.by_type("IfcBuildingStorey")) == 7 and len(model.by_type("IfcSpace")) > 50
    for kind in ("IfcWall", "IfcWindow", "IfcDoor", "IfcColumn", "IfcSlab", "IfcStairFlight", "IfcRoof"):
        assert model.by_type(kind), kind
    windows = model.by_type("IfcWindow")
    assert all(w.FillsVoids and w.FillsVoids[0].RelatingOpeningElement.VoidsElements for w in windows)
    placed = {e.id() for r in model.by_type("IfcRelContainedInSpatialStructure") for e in r.RelatedElements}
    placed |= {e.id() for r in model.by_type("IfcRelAggregates") for e in r.RelatedObjects}
    loose = [e for e in model.by_type("IfcElement") if e.id() not in placed and not e.is_a("IfcOpeningElement")]
    assert not loose
    ids = [e.GlobalId for e in model.by_type("IfcRoot")]
    assert len(set(ids)) == len(ids)


def test_survey_agrees_with_the_surfaces(sample: Sample, dem: Dem) -> None:
    las = laspy.read(sample.path("survey"))
    xyz, kind = np.asarray(las.xyz), np.asarray(las.classification)
    assert 500_000 < len(kind) < 1_200_000 and set(np.unique(kind)) == {2, 5, 6, 9, 17}
    ground = kind == 2
    error = xyz[ground, 2] - dem.at(xyz[ground, 0], xyz[ground, 1])
    assert abs(np.median(error)) < 0.01 and np.quantile(np.abs(error), 0.99) < 0.15
    facts = sample.manifest["facts"]
    river = sample.read("water").query("kind == 'river'").geometry.iloc[0]
    wet = (kind == 9) & shapely.contains_xy(river, xyz[:, 0], xyz[:, 1])
    assert wet.sum() > 1000 and np.abs(xyz[wet, 2] - facts["normal_level"]).max() < 0.3
    assert np.asarray(las.red).max() > 256  # 16-bit colours


def test_survey_roofs_are_as_high_as_the_buildings_say(sample: Sample, dem: Dem) -> None:
    las = laspy.read(sample.path("survey"))
    roofs = np.asarray(las.xyz)[np.asarray(las.classification) == 6]
    low, high = roofs[:, :2].min(axis=0), roofs[:, :2].max(axis=0)
    checked = 0
    for row in sample.read("buildings").itertuples():
        inner = row.geometry.buffer(-1.5)
        if row.bim == "bim_office" or inner.is_empty or not shapely.box(*low, *high).contains(row.geometry):
            continue
        x0, y0, x1, y1 = inner.bounds
        near = roofs[(roofs[:, 0] > x0) & (roofs[:, 0] < x1) & (roofs[:, 1] > y0) & (roofs[:, 1] < y1)]
        near = near[shapely.contains_xy(inner, near[:, 0], near[:, 1])]
        if len(near) < 20:
            continue
        corners = shapely.get_coordinates(row.geometry)
        base = dem.at(corners[:, 0], corners[:, 1]).min()
        assert abs(np.median(near[:, 2]) - base - row.height) < 0.1, row.id
        checked += 1
    assert checked > 20
