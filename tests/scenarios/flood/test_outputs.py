"""What a run writes: series, frames, grades, closures, damage and people, and the ledger, against closed forms and hand counts."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import zarr

from scenarios import driver, flood
from scenarios.contract import World
from scenarios.flood.damage import damage_share
from scenarios.flood.moments import Moments
from scenarios.flood.output_params import CURVES, DamageCurve
from scenarios.flood.solver import Solver
from scenarios.kernels import sources
from twin import parts
from twin.errors import BadInput, BadOption
from twin.lake import Lake
from twin.model import Features, Report, Table
from twin.registry import parse_options

from .conftest import CELL, E, N, layer, model_of, place, run, terrain
from .test_network import network

SIZE = 40



def flat(level: float = 0.0) -> np.ndarray:
    return np.full((SIZE, SIZE), level)


def rows(batches: list[Any]) -> list[dict[str, Any]]:
    return next(b for b in batches if isinstance(b, Features)).attributes.to_pylist()


def rising(**more: Any) -> dict[str, Any]:
    """A basin whose water is held at a level that rises 1 m in half an hour from the bed at 0."""
    return {"hours": 0.5, "water": "all", "level_csv": "time_min,level_m\n0,0\n30,1", "open_edges": False, **more}


def everywhere(lake: Lake) -> Any:
    return layer(lake, "all", "vector", [shapely.box(E, N - SIZE * CELL, E + SIZE * CELL, N)], ["r"])


@pytest.mark.parametrize("scheme", ["hllc", "inertial"])
def test_discharge_through_a_section_is_what_flows_in(lake: Lake, tmp_path: Path, scheme: str) -> None:
    slope = np.tile(np.linspace(1.0, 0.0, SIZE), (SIZE, 1))  # falls to the east
    line = [place(120, 198), place(120, 2)]  # drawn to the north: its right side is the east
    skew = [place(110, 198), place(160, 100), place(110, 2)]
    source = [list(place(60, y)) for y in (2, 198)]
    outputs, world = run(lake, {"dem": terrain(lake, slope)}, tmp_path, scheme=scheme, hours=0.5, roughness=0.03,
                         inflows=[{"name": "west", "line": source, "flow_m3_s": 5.0}], sections=[{"name": "cut", "line": line}, {"line": skew}, {"name": "back", "line": line[::-1]}])  # fmt: skip
    table = next(b for b in outputs["sections"] if isinstance(b, Table)).rows.to_pylist()
    last = {name: [r["value"] for r in table if r["name"] == name][-1] for name in ("cut", "section-2", "back")}
    assert last["cut"] == pytest.approx(5.0, rel=0.02)
    assert last["section-2"] == pytest.approx(5.0, rel=0.03), "a bent line counts what passes it, not the length of its staircase"
    assert last["back"] == pytest.approx(-last["cut"], rel=1e-12)
    facts = world.report.facts["watch"]["sections"]["cut"]
    stored_east = 5.0 * 1800 - facts["volume_m3"]
    assert 0 < stored_east < 0.5 * 9000, "what has not passed stands west of the line"
    hydro = rows(outputs["hydrographs"])
    assert {r["name"] for r in hydro} == {"cut", "section-2", "back"}
    assert {r["unit"] for r in hydro} == {"m³/s"}


def test_frames_show_the_depth_at_their_moments(lake: Lake, tmp_path: Path) -> None:
    versions = {"dem": terrain(lake, flat()), "all": everywhere(lake)}
    outputs, _ = run(lake, versions, tmp_path, **rising(frames=6, start="2026-06-01T08:00:00+08:00"))
    frames = outputs["frames"]
    assert [frame.properties["time"] for frame in frames] == [0, 300, 600, 900, 1200, 1500, 1800]
    for frame in frames[1:]:
        assert frame.data.dtype == np.uint16
        assert frame.data[0, 20, 20] * frame.properties["scale"] == pytest.approx(frame.properties["time"] / 1800, abs=0.002)
    assert not frames[0].data.any()
    version = parts.write_version(lake, "frames", "raster", frames, Report(), provenance={})
    assert len(version.columns) == 1
    assert [part.properties["time"] for part in version.parts] == [0, 300, 600, 900, 1200, 1500, 1800]


def test_no_frames_and_few_outputs_where_asked(lake: Lake, tmp_path: Path) -> None:
    versions = {"dem": terrain(lake, flat()), "all": everywhere(lake)}
    outputs, _ = run(lake, versions, tmp_path, **rising(hours=0.1, outputs=["depth", "ledger"]))
    assert set(outputs) == {"depth", "ledger"}
    outputs, _ = run(lake, versions, tmp_path, **rising(hours=0.1, frames=0))
    assert len(outputs["frames"]) == 0
    with pytest.raises(BadOption, match="no such output"):
        model_of(lake, versions, **rising(outputs=["deep"]))


def test_grades_levels_and_gauges(lake: Lake, tmp_path: Path) -> None:
    stairs = np.repeat(np.array([0.9, 0.8, 0.65, 0.5, 0.3]), 8)[None].repeat(SIZE, axis=0)  # depths 0.1, 0.2, 0.35, 0.5, 0.7 under a level of 1 m
    versions = {"dem": terrain(lake, stairs), "all": everywhere(lake)}
    outputs, _ = run(lake, versions, tmp_path, **rising(hours=0.1, level_csv="time_min,level_m\n0,1\n60,1", gauges=[*place(180, 100), *place(60, 100)]))
    assert outputs["grade"][0].data[0, 20, 4::8].tolist() == [0, 1, 2, 3, 4]
    assert np.allclose(outputs["level"][0].data, 1.0, atol=1e-5)
    assert [entry["value"] for entry in outputs["grade"][0].legend["entries"]] == [1, 2, 3, 4]
    gauges = rows(outputs["gauges"])
    assert gauges[0]["max_depth"] == pytest.approx(0.7, abs=1e-5)
    assert gauges[0]["max_level"] == pytest.approx(1.0, abs=1e-5)
    assert gauges[1]["max_depth"] == pytest.approx(0.2, abs=1e-5)


def test_roads_are_cut_and_closed_to_each_class_in_time(lake: Lake, tmp_path: Path) -> None:
    """The level rises to 1 m in half an hour and falls again: a class with limit d is shut out from d to 2 − d half hours."""
    street = [shapely.LineString([(E + 10, N - 102), (E + 190, N - 102)]), shapely.LineString([(E + 10, N - 150), (E + 40, N - 150)])]
    versions = {"dem": terrain(lake, flat()), "all": everywhere(lake), "streets": layer(lake, "streets", "vector", street, ["main", "side"])}
    outputs, _ = run(lake, versions, tmp_path, **rising(hours=1, level_csv="time_min,level_m\n0,0\n30,1\n60,0", roads="streets", road_segment_m=60, frames=0))
    roads = outputs["roads"][0]
    assert sorted(roads.ids.to_pylist()) == ["main#1", "main#2", "main#3", "side"]
    assert sum(shape.length for shape in roads.geometry) == pytest.approx(210)
    assert dict(zip(roads.ids.to_pylist(), roads.parents.to_pylist(), strict=True)) == {"main#1": "main", "main#2": "main", "main#3": "main", "side": None}
    for row in roads.attributes.to_pylist():
        for name, limit in (("car", 0.3), ("large_car", 0.4), ("high_vehicle", 0.5)):
            assert row[f"closed_{name}_from"] == pytest.approx(limit * 1800, abs=61)
            assert row[f"closed_{name}_until"] == pytest.approx(3600 - limit * 1800, abs=61)
            assert row[f"closed_{name}_s"] == pytest.approx(3600 - 2 * limit * 1800, abs=121)
        assert row["closed_pedestrian_from"] is None
        assert row["closed_pedestrian_s"] == 0
        assert row["flood_closure"] == "closed"
    closures = next(b for b in outputs["roads"] if isinstance(b, Table)).rows.to_pylist()
    assert len(closures) == 4 * 3
    assert all(row["from_s"] < row["until_s"] for row in closures)


def test_a_closure_that_lasts_has_no_end(lake: Lake, tmp_path: Path) -> None:
    street = [shapely.LineString([(E + 10, N - 102), (E + 50, N - 102)])]
    versions = {"dem": terrain(lake, flat()), "all": everywhere(lake), "streets": layer(lake, "streets", "vector", street, ["s"])}
    outputs, _ = run(lake, versions, tmp_path, **rising(roads="streets", vehicles=[{"name": "fire_engine", "depth_m": 0.8, "depth_speed_m2_s": 2}]))
    (row,) = rows(outputs["roads"])
    assert row["closed_fire_engine_from"] == pytest.approx(0.8 * 1800, abs=61)
    assert row["closed_fire_engine_until"] is None
    assert row["closed_fire_engine_s"] == pytest.approx(0.2 * 1800, abs=61)
    assert not any(name.startswith("closed_car") for name in row)


def test_damage_and_people_by_hand(lake: Lake, tmp_path: Path) -> None:
    shapes = [shapely.box(E + 40, N - 60, E + 60, N - 40), shapely.box(E + 100, N - 120, E + 110, N - 100)]
    versions = {"dem": terrain(lake, flat()), "all": everywhere(lake),
                "houses": layer(lake, "houses", "blocks", shapes, ["flat", "shop"], use=["住宅", "商业"], residents=[12, 3])}  # fmt: skip
    level = {"level_csv": "time_min,level_m\n0,1.25\n60,1.25"}
    plain, _ = run(lake, versions, tmp_path / "a", **rising(hours=0.2, buildings="houses", **level))
    first = {r["use"]: r for r in rows(plain["buildings"])}
    assert first["住宅"]["flood_damage_share"] == pytest.approx((0.49 + 0.62) / 2, abs=2e-4)
    assert first["住宅"]["flood_people"] == pytest.approx(400 * 3 / 36.5, abs=0.06), "20 × 20 m, 9 m high: three storeys"
    assert "flood_damage" not in first["住宅"]
    curves = [{"points": [[0, 0], [2, 1]], "value_m2": 1000}, {"use": "商业", "points": [[0, 0], [1, 0.5]], "value_m2": 3000}]
    told, _ = run(lake, versions, tmp_path / "b", **rising(hours=0.2, buildings="houses", building_use_column="use", people_column="residents", floor_m=0.25, damage_curves=curves, **level))
    second = {r["use"]: r for r in rows(told["buildings"])}
    assert second["住宅"]["flood_damage"] == pytest.approx(0.5 * 1000 * 400, rel=1e-3)
    assert second["商业"]["flood_damage"] == pytest.approx(0.5 * 3000 * 200, rel=1e-3)
    assert [second["住宅"]["flood_people"], second["商业"]["flood_people"]] == [12, 3]
    with pytest.raises(BadOption, match="no column 'usage'"):
        run(lake, versions, tmp_path / "c", **rising(hours=0.01, buildings="houses", building_use_column="usage", **level))
    versions["houses"] = layer(lake, "houses", "blocks", shapes, ["flat", "shop"], residents=[-1, 3])
    with pytest.raises(BadInput, match="feature flat: -1 is no number of people"):
        run(lake, versions, tmp_path / "d", **rising(hours=0.01, buildings="houses", people_column="residents", **level))


@pytest.mark.parametrize(("depth", "share"), [(0, 0), (0.25, 0.165), (1, 0.49), (2.5, 0.795), (6, 1), (9, 1)])
def test_the_default_curve_is_the_published_one(depth: float, share: float) -> None:
    """Huizinga et al. (2017), Asia, residential: 0.33 at 0.5 m, 0.49 at 1 m, 0.72 at 2 m, 0.87 at 3 m, 1 at 6 m."""
    assert damage_share(CURVES[0], depth) == pytest.approx(share)


@pytest.mark.parametrize("points", [[[1, 0.2], [0.5, 0.4]], [[0, 0.5], [1, 0.2]], [[0, 0], [1, 1.2]]])
def test_bad_curves_are_refused(points: list) -> None:
    with pytest.raises(ValueError, match=r"curve"):
        DamageCurve(points=points)


def test_facilities_points_and_areas(lake: Lake, tmp_path: Path) -> None:
    slope = np.tile(np.linspace(0, 2, SIZE), (SIZE, 1))
    shapes = [shapely.Point(E + 20, N - 100), shapely.Point(E + 190, N - 100), shapely.box(E + 40, N - 60, E + 60, N - 40)]
    versions = {"dem": terrain(lake, slope), "all": everywhere(lake), "critical": layer(lake, "critical", "vector", shapes, ["substation", "hospital", "school"])}
    outputs, _ = run(lake, versions, tmp_path, **rising(facilities="critical"))
    found = dict(zip(outputs["facilities"][0].ids.to_pylist(), rows(outputs["facilities"]), strict=True))
    assert set(found) == {"substation", "school"}
    lowest = 2 * 3 / 39  # the lowest bed within one cell of the point, in column 3 or 4
    assert found["substation"]["flood_depth"] == pytest.approx(1 - lowest, abs=0.06)
    assert found["substation"]["flood_entry"] < found["school"]["flood_entry"]


def test_the_ledger_adds_up_and_names_each_taker(lake: Lake, tmp_path: Path) -> None:
    houses = [shapely.box(E + 40, N - 60, E + 60, N - 40), shapely.box(E + 100, N - 120, E + 110, N - 100)]
    versions = {"dem": terrain(lake, flat(10)), "houses": layer(lake, "houses", "blocks", houses, ["a", "b"], use=["home", "shop"])}
    outputs, _ = run(lake, versions, tmp_path, hours=0.2, rain="uniform", rain_mm_h=60, rain_hours=0.2, infiltration="constant", inflow_point=place(150, 150), inflow_m3_s=0.3,
                     buildings="houses", building_use_column="use", structures=[{"kind": "pump", "name": "p", "line": [place(150, 150)], "curve": [[0, 0.1]], "start_level": 10.0, "stop_level": 9.9, "radius_m": 10}])  # fmt: skip
    ledger = rows(outputs["ledger"])
    volume = {row["account"]: row["volume"] for row in ledger if row["part_of"] == ""}
    ways = sum(v for name, v in volume.items() if name not in ("stored", "imbalance"))
    assert volume["stored"] == pytest.approx(ways + volume["imbalance"], abs=1e-9)
    assert abs(volume["imbalance"]) < 1e-6 * volume["rain"]
    assert volume["inflow"] == pytest.approx(0.3 * 720, rel=1e-9)
    assert volume["pump:p"] < -10
    roofs = {row["account"]: row for row in ledger if row["part_of"] == "rain"}
    assert roofs["roofs:home"]["volume"] == pytest.approx(0.012 * 400, rel=1e-6)
    assert roofs["roofs:shop"]["volume"] == pytest.approx(0.012 * 200, rel=1e-6)
    assert {row["kind"] for row in ledger} >= {"source", "loss", "structure", "building", "boundary", "stored", "imbalance"}


def test_manholes_and_their_share_of_the_ledger(lake: Lake, tmp_path: Path) -> None:
    outputs, world = run(lake, {"dem": terrain(lake, flat(10))}, tmp_path, hours=0.1, rain="uniform", rain_mm_h=200, rain_hours=0.1, open_edges=False,
                         network_inp=network(0.0), network_crs="EPSG:4547")  # fmt: skip
    nodes = world.report.facts["network"]["nodes"]
    found = dict(zip(outputs["manholes"][0].ids.to_pylist(), rows(outputs["manholes"]), strict=True))
    assert set(found) == set(nodes) == {"A", "B", "C"}
    for name, row in found.items():
        assert row["inlet"] == pytest.approx(nodes[name]["inlet_m3"], abs=1e-3)
        series = [r for r in outputs["manholes"][1].rows.to_pylist() if r["name"] == name and r["quantity"] == "exchange"]
        flow = np.array([r["value"] for r in series])
        assert flow.sum() * 10 == pytest.approx(row["inlet"] - row["overflow"], rel=0.2), "samples every 10 s"
        assert flow.max() <= row["peak_inlet"] + 1e-12
    ledger = rows(outputs["ledger"])
    inlets = next(r["volume"] for r in ledger if r["account"] == "network_inlets")
    assert sum(r["volume"] for r in ledger if r["part_of"] == "network_inlets") == pytest.approx(inlets, rel=1e-12)
    assert inlets < -1


def test_the_spread_is_named_and_reported(lake: Lake, tmp_path: Path) -> None:
    outputs, world = run(lake, {"dem": terrain(lake, flat(10))}, tmp_path, hours=0.05, rain="uniform", rain_mm_h=2000 / 2, rain_hours=0.05, open_edges=False,
                         threshold=0.001, uncertain=[{"parameter": "rain_factor", "low": 0.5, "high": 2}])  # fmt: skip
    deepest = {name: float(outputs[name][0].data.max()) for name in ("depth-least", "depth", "depth-most")}
    assert list(deepest.values()) == pytest.approx([0.025, 0.05, 0.1], rel=1e-3), "the flat basin holds all its rain"
    assert outputs["depth-most"][0].legend["title"]["en"] != outputs["depth"][0].legend["title"]["en"]
    for text in ("偏少 least", "偏多 most", "rain_factor 0.5 / 1 / 2", "0.025", "0.100"):
        assert text in world.page, text


def test_what_was_noted_survives_a_restart(lake: Lake, tmp_path: Path) -> None:
    street = [shapely.LineString([(E + 10, N - 102), (E + 190, N - 102)])]
    versions = {"dem": terrain(lake, flat()), "all": everywhere(lake), "streets": layer(lake, "streets", "vector", street, ["s"])}
    params = rising(roads="streets", frames=8, sections=[{"line": [place(100, 190), place(100, 10)]}], level_csv="time_min,level_m\n0,0\n10,0.6\n15,0\n30,0.8")
    values = parse_options(flood.Params, {"terrain": "dem", "cell": CELL, **params}, "flood")
    half = flood.start(values, World(lake, versions, scratch=tmp_path / "resumed"))
    while half.time < 1200:
        half._interval()
    driver._save(half, tmp_path / "resumed" / "checkpoint.npz")
    growing = zarr.open(tmp_path / "resumed" / "frames.zarr", mode="r")
    assert growing["time"][:].tolist() == [0, 230, 450, 680, 900, 1130], "the array is there while the run goes on"
    assert not growing.attrs["sealed"]
    assert growing["depth"].shape == (6, SIZE, SIZE)
    (tmp_path / "moved").mkdir()
    shutil.copy(tmp_path / "resumed" / "checkpoint.npz", tmp_path / "moved")
    whole, _ = run(lake, versions, tmp_path / "whole", **params)
    rest, _ = run(lake, versions, tmp_path / "resumed", **params)
    assert [f.properties["time"] for f in rest["frames"]] == [f.properties["time"] for f in whole["frames"]]
    assert all(np.array_equal(a.data, b.data) for a, b in zip(whole["frames"], rest["frames"], strict=True))
    for name in ("roads", "sections"):
        assert rest[name][0].attributes.equals(whole[name][0].attributes), name
        assert rest[name][1].rows.equals(whole[name][1].rows), name
    sealed = zarr.open(tmp_path / "resumed" / "frames.zarr", mode="r")
    assert sealed.attrs["sealed"]
    assert np.array_equal(sealed["depth"][:], np.stack([frame.data[0] for frame in whole["frames"]]))
    moved, world = run(lake, versions, tmp_path / "moved", **params)
    assert [f.properties["time"] for f in moved["frames"]] == [1350, 1580, 1800]
    assert any(note.feature == "frames" and "6 of them are no longer beside" in note.reason for note in world.report.notes)


def test_frames_lie_on_disk_and_come_one_at_a_time(tmp_path: Path) -> None:
    shape, count = (400, 500), 40
    tracemalloc.start()
    kept = Moments(tmp_path, shape)
    for i in range(count):
        kept.append(60.0 * i, np.random.default_rng(i).integers(0, 3000, shape).astype(np.uint16))
    total = sum(int(values.sum(dtype=np.int64)) for _, values in kept)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == sum(int(np.random.default_rng(i).integers(0, 3000, shape).sum()) for i in range(count))
    assert peak < 8 * 2 * np.prod(shape) * 2, "a few moments at most, not forty"
    assert kept[-1][0] == 60.0 * (count - 1)
    with pytest.raises(IndexError):
        kept[count]


def test_table_layers_are_stored_and_read_as_layers(lake: Lake, tmp_path: Path) -> None:
    versions = {"dem": terrain(lake, flat()), "all": everywhere(lake)}
    outputs, _ = run(lake, versions, tmp_path, **rising(hours=0.2, gauges=list(place(100, 100))))
    version = parts.write_version(lake, "hydrographs", "table", outputs["hydrographs"], Report(), provenance={})
    back = list(parts.read_features(lake, version))
    assert version.extent is None
    assert sum(len(chunk) for chunk in back) == outputs["hydrographs"][0].attributes.num_rows > 100


def test_maxima_of_a_pond_that_drains_by_hand(lake: Lake, tmp_path: Path) -> None:
    """0.3 m of still water falls by a drain's 120 and half of an infiltration of 60 mm/h: 0.2 m are reached after 40 min; a raised house stays dry."""
    house = layer(lake, "houses", "blocks", [shapely.box(E + 50, N - 70, E + 70, N - 50)], ["h"])
    out, world = run(lake, {"dem": terrain(lake, np.full((20, 20), 10.0)), "houses": house}, tmp_path, hours=1, open_edges=False, initial_level=10.3, threshold=0.2,
                     drainage_mm_h=120, infiltration="constant", infiltration_mm_h=60, pervious=0.5, buildings="houses", building_mode="raised")  # fmt: skip
    wet = np.ones((20, 20), bool)
    wet[10:14, 10:14] = False
    found = {name: out[name][0].data[0] for name in ("depth", "hazard", "duration", "arrival", "velocity")}
    assert all((values[~wet] == -9999).all() for values in found.values())
    assert found["depth"][wet] == pytest.approx(0.3, abs=2e-3)
    assert found["hazard"][wet] == pytest.approx(0.3 * 0.5 + 1, abs=2e-3), "Defra FD2321: depth × (speed + 0.5) + debris factor 1 above 0.25 m"
    assert found["duration"][wet] == pytest.approx(2400, abs=11)
    assert found["arrival"][wet].max() <= 10
    assert found["velocity"][wet].max() < 1e-3
    water, area = world.report.facts["water_m3"], wet.sum() * CELL**2
    assert (water["drainage"], water["infiltration"]) == (pytest.approx(-0.12 * area, rel=1e-3), pytest.approx(-0.03 * area, rel=1e-3))


def test_the_hazard_of_moving_water() -> None:
    """0.2 m at 2 m/s: 0.2 × 2.5 + debris factor 0.5 (shallow); 0.5 m at 3 m/s, flowing at an angle: 0.5 × 3.5 + 1."""
    one = Solver(np.zeros((3, 4)), CELL)
    depth = np.where(np.arange(4) < 2, 0.2, 0.5) * np.ones((3, 1))
    one.set_depth(depth)
    one.set_velocity(np.where(depth < 0.3, 2.0, 1.8), np.where(depth < 0.3, 0.0, 2.4))
    best = np.zeros((5, 3, 4), np.float32)
    best[3] = -1
    sources.record(one.state, best, one.ghost, 30.0, 10.0, 0.05, False)
    assert best[2, 1] == pytest.approx([1.0, 1.0, 2.75, 2.75], rel=1e-5)
    assert best[1, 1] == pytest.approx([2, 2, 3, 3], rel=1e-5)
    assert (best[3:, 1] == [[30.0] * 4, [10.0] * 4]).all()
