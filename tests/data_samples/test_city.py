"""The district hangs together: buildings, streets, water, levees and bridge agree with each other and with the terrain."""

from __future__ import annotations

import numpy as np
import shapely
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from tests.data_samples.conftest import Dem, Sample


def test_buildings_are_many_valid_and_apart(sample: Sample) -> None:
    b = sample.read("buildings")
    shapes = b.geometry.to_numpy()
    assert len(b) >= 2000 and b["id"].is_unique and b.geometry.is_valid.all()
    assert {"Polygon", "MultiPolygon"} <= set(b.geom_type)
    assert sum(shapely.get_num_interior_rings(g) > 0 for g in shapes if g.geom_type == "Polygon") >= 20
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    pairs = first < second
    shared = shapely.area(shapely.intersection(shapes[first[pairs]], shapes[second[pairs]]))
    assert shared.sum() < 1e-3  # a tower touches its podium, nothing overlaps


def test_buildings_keep_off_water_and_streets(sample: Sample) -> None:
    shapes = sample.read("buildings").geometry.to_numpy()
    streets = sample.read("streets")
    ways = shapely.buffer(streets.geometry.to_numpy(), streets["width"].to_numpy() / 2)
    for obstacles in (sample.read("water").geometry.to_numpy(), ways):
        assert len(shapely.STRtree(shapes).query(obstacles, predicate="intersects")[0]) == 0


def test_building_numbers_make_sense(sample: Sample) -> None:
    b = sample.read("buildings")
    assert (b["height"] > 2.5).all() and (b["height"] < 140).all() and (b["floors"] >= 1).all()
    assert 30_000 < b["population"].sum() < 80_000
    assert (b.loc[b["use_en"] != "residential", "population"] == 0).all()
    homes = b[b["use_en"] == "residential"]
    assert (homes["dwellings"] >= 1).all() and 1.5 < homes["population"].sum() / homes["dwellings"].sum() < 3.5
    assert b["name"].notna().sum() > 200 and b.loc[b["name"].notna(), "name_en"].notna().all()


def test_land_use_covers_the_sheet_once(sample: Sample) -> None:
    use = sample.read("landuse").geometry.to_numpy()
    west, south, east, north = sample.manifest["bounds"]
    assert abs(shapely.area(use).sum() / ((east - west) * (north - south)) - 1) < 1e-4
    assert abs(shapely.area(shapely.union_all(use)) / shapely.area(use).sum() - 1) < 1e-4


def test_levees_hold_high_water_and_the_old_quarter_lies_below_it(sample: Sample, dem: Dem) -> None:
    facts = sample.manifest["facts"]
    levees = sample.read("levees")
    xyz = shapely.get_coordinates(levees.geometry.to_numpy(), include_z=True)
    assert xyz[:, 2].min() > facts["design_level"] > facts["warning_level"] > facts["normal_level"]
    ground = dem.at(xyz[:, 0], xyz[:, 1])
    assert np.abs(ground - xyz[:, 2]).max() < 0.15 and ground.min() > facts["design_level"]
    old = sample.read("landuse").query("use == 'old'").geometry.to_numpy()
    spots = shapely.get_coordinates(shapely.point_on_surface(old))
    inside = dem.at(spots[:, 0], spots[:, 1])
    assert np.median(inside) < 2.0 and (inside < facts["warning_level"]).all()


def test_levees_separate_the_river_from_the_city_at_design_level(sample: Sample, dem: Dem) -> None:
    """A flood fill by hand: at the design level, cells joined to the river stay between the levees."""
    from scipy import ndimage

    low = dem.z < sample.manifest["facts"]["design_level"]
    parts, _ = ndimage.label(low)
    west, _, _, north = sample.manifest["bounds"]
    river = sample.read("water").query("kind == 'river'").geometry.iloc[0]
    x, y = (v[0] for v in river.representative_point().xy)
    wet = parts == parts[int((north - y) / 2), int((x - west) / 2)]
    area = wet.sum() * 4.0
    assert river.area * 0.98 < area < river.buffer(25.0).area


def test_water_lies_in_its_bed(sample: Sample, dem: Dem) -> None:
    water = sample.read("water")
    for shape, level in zip(water.geometry, water["level"], strict=True):
        spot = shapely.get_coordinates(shapely.maximum_inscribed_circle(shape))[0]
        assert dem.at(*spot) < level - 0.3


def test_streets_form_one_routable_network(sample: Sample) -> None:
    s = sample.read("streets")
    ends = (
        shapely.get_coordinates(shapely.get_point(s.geometry.to_numpy(), 0)),
        shapely.get_coordinates(shapely.get_point(s.geometry.to_numpy(), -1)),
    )
    place: dict[str, tuple[float, float]] = {}
    for column, points in zip(("from_node", "to_node"), ends, strict=True):
        for node, xy in zip(s[column], points, strict=True):
            assert place.setdefault(node, tuple(xy)) == tuple(xy)  # a node is one point
    assert len(set(place.values())) == len(place)
    number = {n: i for i, n in enumerate(place)}
    a, b = s["from_node"].map(number).to_numpy(), s["to_node"].map(number).to_numpy()
    two = ~s["oneway"].to_numpy(dtype=bool)
    assert not two.all()
    rows, cols = np.concatenate([a, b[two]]), np.concatenate([b, a[two]])
    graph = coo_matrix((np.ones(len(rows)), (rows, cols)), (len(number), len(number)))
    assert connected_components(graph, directed=True, connection="strong")[0] == 1


def test_streets_cross_only_at_nodes_or_under_bridges(sample: Sample) -> None:
    s = sample.read("streets")
    lines = s.geometry.to_numpy()
    i, j = shapely.STRtree(lines).query(lines, predicate="crosses")
    bridge = s["bridge"].to_numpy(dtype=bool)
    assert all(bridge[a] or bridge[b] for a, b in zip(i, j, strict=True))


def test_bridge_joins_both_banks_above_everything(sample: Sample, dem: Dem) -> None:
    b = sample.read("bridges").query("name_en == 'Wuyi Bridge'")
    deck = b[b["part"] == "deck"]
    river = sample.read("water").query("kind == 'river'").geometry.iloc[0]
    whole = shapely.union_all(deck.geometry.to_numpy(), grid_size=0.01)
    assert whole.geom_type == "Polygon" and len(shapely.get_parts(whole.difference(river.buffer(60)))) == 2
    assert (deck["base"] + deck["height"] - deck["road_level"]).abs().max() < 0.01
    spots = shapely.get_coordinates(shapely.centroid(deck.geometry.to_numpy()))
    over = shapely.contains_xy(river, spots[:, 0], spots[:, 1])
    assert (deck["base"].to_numpy()[over] > sample.manifest["facts"]["design_level"] + 3).all()
    inner = shapely.distance(shapely.points(spots), whole.boundary) > 3.0  # the first and last piece rest on the ramps
    assert inner.sum() >= len(deck) - 4 and (deck["base"].to_numpy() > dem.at(spots[:, 0], spots[:, 1]) + 1.0)[inner].all()
    street = sample.read("streets").query("bridge and name_en == 'Wuyi Bridge'").geometry.iloc[0]
    for node in (street.coords[0], street.coords[-1]):  # the ramp meets the deck
        nearest = deck["road_level"].to_numpy()[np.argmin(np.hypot(*(spots - node).T))]
        assert whole.boundary.distance(shapely.Point(node)) < 0.05
        away = np.array(node) + (np.array(node) - np.array(street.centroid.coords[0])) * 0.012
        assert abs(dem.at(*away) - nearest) < 0.6
    piers = b[b["part"] == "pier"]
    spots = shapely.get_coordinates(shapely.centroid(piers.geometry.to_numpy()))
    assert (piers["base"].to_numpy() < dem.at(spots[:, 0], spots[:, 1])).all()


def test_trees_stand_on_free_ground(sample: Sample, dem: Dem) -> None:
    trees = sample.read("trees")
    points = trees.geometry.to_numpy()
    assert len(trees) > 5_000
    for layer in ("buildings", "water"):
        assert len(shapely.STRtree(points).query(sample.read(layer).geometry.to_numpy(), predicate="contains")[0]) == 0
    xy = shapely.get_coordinates(points)
    assert np.abs(dem.at(xy[:, 0], xy[:, 1]) - trees["ground"]).max() < 0.05
