"""Gridded rain from CF NetCDF, from the file to the water on the ground: its volume against what xarray finds in the file, units, clocks, gaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest_gis import netcdf
from scenarios.flood import rain_grid
from twin import parts
from twin.errors import BadInput
from twin.lake import Lake
from twin.model import Report

from .conftest import CELL, E, N, model_of, raster, run, terrain

xarray = pytest.importorskip("xarray")
SIZE, PIXEL = 40, 50.0
AREA = (SIZE * CELL) ** 2
CLOSED = {"open_edges": False, "hours": 0.5, "rain": "grid", "rain_grid": "radar"}
START = "2026-05-20T08:00:00+08:00"
RNG = np.random.default_rng(8)
RAIN = np.round(RNG.random((6, 4, 4)) * 60, 1)


def radar(lake: Lake, path: Path, values: np.ndarray = RAIN, *, minutes: Any = None, unit: str = "mm h-1", origin: str = "2026-05-20 00:00:00", bounds: Any = None) -> Any:
    """A layer read from a NetCDF file that xarray writes: 4 × 4 pixels over the terrain, rows from the south, UTC."""
    import pyproj

    minutes = np.arange(len(values)) * 5.0 if minutes is None else np.asarray(minutes, float)
    data = xarray.Dataset(
        {"rr": (("time", "y", "x"), np.where(values < 0, np.nan, values), {"units": unit, "grid_mapping": "crs"}), "crs": ((), 0, pyproj.CRS("EPSG:4547").to_cf())},
        {"time": ("time", minutes, {"units": f"minutes since {origin}", "calendar": "standard"}),
         "y": ("y", N - SIZE * CELL + PIXEL * (np.arange(4) + 0.5), {"units": "m", "standard_name": "projection_y_coordinate"}),
         "x": ("x", E + PIXEL * (np.arange(4) + 0.5), {"units": "m", "standard_name": "projection_x_coordinate"})})  # fmt: skip
    if bounds is not None:
        data["time"].attrs["bounds"] = "time_bnds"
        data["time_bnds"] = (("time", "nv"), np.asarray(bounds, float))
    data.to_netcdf(path)
    report = Report(source=path.name)
    return parts.write_version(lake, "radar", "raster", netcdf.read(path, netcdf.Options(), report), report, provenance={})


def city(lake: Lake, layer: Any) -> dict:
    return {"dem": terrain(lake, np.full((SIZE, SIZE), 10.0)), "radar": layer}


def fallen(lake: Lake, layer: Any, until: float = 1800.0, **params: Any) -> tuple[float, Any]:
    """(m³ on the field after `until` s, its model)."""
    model, _ = model_of(lake, city(lake, layer), **CLOSED, **params)
    for t in range(0, int(until), 60):
        model._sources(float(t), t + 60.0)
    return model.solver.volume(), model


def test_a_radar_file_rains_what_xarray_finds_in_it(lake: Lake, tmp_path: Path) -> None:
    """End to end: the ledger's rain is the integral over the file, a factor applied; each pixel's cells get their own."""
    layer = radar(lake, tmp_path / "radar.nc")
    with xarray.open_dataset(tmp_path / "radar.nc") as data:
        hours = np.diff(data["time"].values).astype("timedelta64[s]").astype(float).mean() / 3600
        sums = data["rr"].sum("time").values * hours / 1000
    _, world = run(lake, city(lake, layer), tmp_path, **CLOSED, start=START, rain_factor=1.5)
    assert world.report.facts["water_m3"]["rain"] == pytest.approx(1.5 * float(sums.sum()) * PIXEL**2, rel=1e-5)
    assert abs(world.report.facts["imbalance_share"]) < 1e-6
    assert any("holds from its time until the next" in note.reason for note in world.report.notes)
    _, model = fallen(lake, layer, start=START)
    assert model.solver.depth[35, 5] == pytest.approx(sums[0, 0], rel=1e-5), "the file's first row lies in the south"
    assert model.solver.depth[5, 35] == pytest.approx(sums[3, 3], rel=1e-5)


def test_the_runs_start_chooses_the_steps(lake: Lake, tmp_path: Path) -> None:
    layer = radar(lake, tmp_path / "radar.nc")
    share = PIXEL**2 / 1000 / 12
    late, _ = fallen(lake, layer, 600, start="2026-05-20T08:10:00+08:00")
    assert late == pytest.approx(float(RAIN[2:4].sum()) * share, rel=1e-5)
    early, model = fallen(lake, layer, 600, start="2026-05-19T23:55:00Z")
    assert early == pytest.approx(float(RAIN[0].sum()) * share, rel=1e-5)
    assert any("no rain before that" in note.reason for note in model.world.report.notes)
    own, model = fallen(lake, layer, 600)
    assert own == pytest.approx(float(RAIN[:2].sum()) * share, rel=1e-5)
    assert any("it begins with the first step, 2026-05-20T00:00:00" in note.reason for note in model.world.report.notes)
    with pytest.raises(BadInput, match=r"radar\.nc\), variable|its steps last from 28,800"):
        fallen(lake, layer, start="2026-05-20T00:00:00+08:00")


UP = np.cumsum(RAIN, axis=0)
ENDS = np.arange(1, 7) * 5.0


@pytest.mark.parametrize(("values", "unit", "more", "params"), [
    (RAIN, "kg m-2 s-1", {"scale": 1 / 3600}, {}),
    (RAIN, "m s-1", {"scale": 1 / 3.6e6}, {}),
    (RAIN, "mm", {"scale": 1 / 12, "minutes": ENDS}, {}),
    (RAIN, "kg m-2", {"scale": 1 / 12}, {"rain_grid_stamp": "start"}),
    (RAIN, "mm/hr", {"minutes": ENDS}, {"rain_grid_stamp": "end"}),
    (RAIN, "1", {}, {"rain_grid_unit": "mm/h"}),
    (RAIN, "mm", {"scale": 1 / 12, "minutes": ENDS - 2.5, "bounds": np.column_stack([ENDS - 5, ENDS])}, {}),
    (UP, "mm", {"scale": 1 / 12, "minutes": ENDS, "bounds": np.column_stack([0 * ENDS, ENDS])}, {}),
    (np.concatenate([0 * UP[:1], UP]), "m", {"scale": 1 / 12000}, {"rain_grid_accumulated": True}),
], ids=["flux", "speed", "amount", "amount-start", "rate-end", "no-unit", "bounds", "bounds-accumulated", "accumulated"])  # fmt: skip
def test_rates_and_amounts_of_any_unit_are_the_same_rain(lake: Lake, tmp_path: Path, values: np.ndarray, unit: str, more: dict, params: dict) -> None:
    scale = more.pop("scale", 1.0)
    layer = radar(lake, tmp_path / "radar.nc", values * scale, unit=unit, **more)
    more["scale"] = scale
    whole, model = fallen(lake, layer, start=START, **params)
    assert whole == pytest.approx(float(RAIN.sum()) / 12 / 1000 * PIXEL**2, rel=2e-5)
    assert model.solver.depth[35, 5] == pytest.approx(float(RAIN[:, 0, 0].sum()) / 12000, rel=1e-4)
    first, _ = fallen(lake, layer, 300, start=START, **params)
    assert first == pytest.approx(float(RAIN[0].sum()) / 12 / 1000 * PIXEL**2, rel=2e-5)


def test_gaps_are_refused_or_dry(lake: Lake, tmp_path: Path) -> None:
    layer = radar(lake, tmp_path / "radar.nc", minutes=[0, 5, 25, 30, 35, 40])
    with pytest.raises(BadInput, match=r"layer 'radar' \(radar\.nc\), variable 'rr': 1 gap in time, the first from 600 to 1500 s of the run") as raised:
        fallen(lake, layer, start=START)
    assert "rain_grid_missing=dry" in raised.value.remedy
    wet, model = fallen(lake, layer, start=START, rain_grid_missing="dry")
    assert wet == pytest.approx(float(RAIN[:3].sum()) / 12 / 1000 * PIXEL**2, rel=1e-5)
    assert any("no rain falls there" in note.reason for note in model.world.report.notes)
    after, _ = fallen(lake, layer, 600, start="2026-05-20T00:30:00Z")
    assert after == pytest.approx(float(RAIN[3:5].sum()) / 12 / 1000 * PIXEL**2, rel=1e-5), "a gap before the run is no gap of the run"
    bounded = radar(lake, tmp_path / "b.nc", minutes=ENDS, bounds=np.column_stack([ENDS - 4, ENDS]))
    with pytest.raises(BadInput, match="5 gaps in time"):
        fallen(lake, bounded, start=START)


def test_missing_cells_are_refused_or_dry(lake: Lake, tmp_path: Path) -> None:
    holed = RAIN.copy()
    holed[1, 0, 0] = -1
    layer = radar(lake, tmp_path / "radar.nc", holed)
    with pytest.raises(BadInput, match="step of 300 s: no data over 100 cells"):
        fallen(lake, layer, start=START)
    wet, _ = fallen(lake, layer, start=START, rain_grid_missing="dry")
    assert wet == pytest.approx(float(RAIN.sum() - RAIN[1, 0, 0]) / 12 / 1000 * PIXEL**2, rel=1e-5)


@pytest.mark.parametrize(("unit", "values", "more", "text"), [
    ("dBZ", RAIN, {}, "unit 'dBZ' is no rate or amount of rain.*Z–R relation"),
    ("1", RAIN, {}, "unit '1' is no rate"),
    ("", RAIN, {}, "it states no unit"),
    ("0.1 mm", RAIN, {}, "unit '0.1 mm' is no rate"),
    ("K", RAIN, {}, "unit 'K'"),
    ("m s-1", RAIN, {}, "intensities from 0 to .*e.* mm/h"),
    ("mm", UP[::-1].copy(), {"minutes": ENDS, "bounds": np.column_stack([0 * ENDS, ENDS])}, "An accumulated amount must not fall"),
    ("mm", RAIN, {"minutes": ENDS, "bounds": np.column_stack([ENDS - 6, ENDS])}, "overlaps the next one"),
    ("mm", RAIN[:1], {}, "one moment without time bounds has no length"),
])  # fmt: skip
def test_what_is_no_rain_is_refused(lake: Lake, tmp_path: Path, unit: str, values: np.ndarray, more: dict, text: str) -> None:
    with pytest.raises(BadInput, match=text):
        fallen(lake, radar(lake, tmp_path / "radar.nc", values, unit=unit, **more), start=START)


def test_bands_are_of_the_unit_that_their_layer_states(lake: Lake, tmp_path: Path) -> None:
    assert rain_grid.unit_of("kg/m**2", "") == (1.0, False)
    assert rain_grid.unit_of("mm per day", "") == (pytest.approx(1 / 24), True)
    assert rain_grid.unit_of("mm·h⁻¹", "") == (1.0, True)
    layer = raster(lake, "radar", RAIN[:, ::-1] / 12, PIXEL)
    wet, _ = fallen(lake, layer, rain_grid_unit="mm")
    assert wet == pytest.approx(float(RAIN.sum()) / 12 / 1000 * PIXEL**2, rel=1e-5)
