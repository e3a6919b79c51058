"""CF NetCDF as layers over time: cells, places and moments are those that xarray reads; what cannot be placed is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio

from ingest_gis import netcdf
from twin import moments
from twin.errors import BadFeature, BadOption, MissingReference, TwinError, UnreadableSource
from twin.lake import Lake
from twin.model import LayerVersion, Report
from twin.parts import write_version

Dataset = pytest.importorskip("netCDF4").Dataset
xarray = pytest.importorskip("xarray")


def write(path: Path, values: np.ndarray, *, lat: Any = None, lon: Any = None, times: Any = (0, 5, 10), units: str = "minutes since 2026-05-20 00:00:00 +00:00", unit: str = "mm h-1",
          dims: tuple[str, ...] = ("time", "lat", "lon"), kind: str = "NETCDF4", change: Callable[[Any, Any], None] | None = None, **packed: Any) -> Path:  # fmt: skip
    """A file of one field `rain`; `change(file, variable)` may spoil or dress it."""
    lat = np.linspace(22.5, 22.8, values.shape[dims.index("lat")]) if lat is None else lat
    lon = np.linspace(113.0, 113.2, values.shape[dims.index("lon")]) if lon is None else lon
    with Dataset(path, "w", format=kind) as file:
        for name, axis, told in (("lat", lat, "degrees_north"), ("lon", lon, "degrees_east"), ("time", times, units)):
            file.createDimension(name, len(axis))
            coordinate = file.createVariable(name, "f8", (name,))
            coordinate[:], coordinate.units = axis, told
        rain = file.createVariable("rain", packed.pop("dtype", "f4"), dims, fill_value=packed.pop("fill", -1))
        rain.setncatts({"units": unit, "standard_name": "rainfall_rate", **packed})
        rain[:] = values
        if change:
            change(file, rain)
    return path


def ingest(lake: Lake, source: Path, **options: Any) -> tuple[LayerVersion, Report]:
    report = Report(source=source.name)
    return write_version(lake, "radar", "raster", netcdf.read(source, netcdf.Options(**options), report), report, provenance={}), report


def cells(lake: Lake, version: LayerVersion) -> list[np.ndarray]:
    """Each moment's cells, NaN without data."""
    found = []
    for part in moments.moments(version) or version.parts:
        with rasterio.open(lake.path(part.key)) as file:
            found.append(np.ma.filled(file.read(1, masked=True).astype(float), np.nan))
    return found


@pytest.mark.parametrize(("kind", "dims"), [("NETCDF4", ("time", "lat", "lon")), ("NETCDF3_CLASSIC", ("lon", "time", "lat")), ("NETCDF3_64BIT_OFFSET", ("time", "lon", "lat"))])
def test_every_cell_and_moment_is_where_xarray_has_it(lake: Lake, tmp_path: Path, kind: str, dims: tuple[str, ...]) -> None:
    rng = np.random.default_rng(1)
    values = np.ma.masked_less(np.round(rng.random([{"time": 3, "lat": 4, "lon": 5}[d] for d in dims]) * 40, 1), 4)
    path = write(tmp_path / "r.nc", values, kind=kind, dims=dims, dtype="i2", fill=-999, scale_factor=0.1, units="minutes since 2026-05-20 08:00:00 +08:00")
    version, report = ingest(lake, path)
    with xarray.open_dataset(path) as data:
        field = data["rain"].transpose("time", "lat", "lon").sortby("lat", ascending=False)
        assert np.allclose(cells(lake, version), field.values, atol=1e-5, equal_nan=True)
        told = moments.describe(version)
        assert told["start"] == "2026-05-20T00:00:00+00:00"
        assert told["times"] == [0, 300, 600]
        assert [np.datetime64(told["start"][:19]) + np.timedelta64(int(t), "s") for t in told["times"]] == list(data["time"].values)
        assert np.isnan(field.values).any() and any("missing" in note.reason for note in report.notes)
        with rasterio.open(lake.path(moments.moments(version)[0].key)) as file:
            for row, column in ((0, 0), (3, 4)):
                assert file.xy(row, column) == pytest.approx((float(field["lon"][column]), float(field["lat"][row])))
    assert version.columns[0].unit == "mm h-1"
    assert version.parts[0].properties["legend"]["type"] == "continuous"


@pytest.mark.parametrize(("units", "zone", "start"), [
    ("hours since 2026-05-20 08:00:00", None, "2026-05-20T08:00:00+00:00"),
    ("hours since 2026-05-20 08:00:00", "+08:00", "2026-05-20T00:00:00+00:00"),
    ("hours since 2026-05-20T08:00:00Z", None, "2026-05-20T08:00:00+00:00"),
    ("hours since 2026-05-20 08:00:00 +8", None, "2026-05-20T00:00:00+00:00"),
    ("days since 2026-5-20 08:00:00.5 -05:30", None, "2026-05-20T13:30:00.500+00:00"),
    ("seconds since 1970-01-01 UTC", None, "1970-01-01T00:00:00+00:00"),
])  # fmt: skip
def test_times_are_read_with_their_zone(lake: Lake, tmp_path: Path, units: str, zone: str | None, start: str) -> None:
    version, report = ingest(lake, write(tmp_path / "r.nc", np.ones((3, 4, 5)), units=units), zone=zone)
    assert moments.describe(version)["start"] == start
    assert any("names no time zone" in note.reason for note in report.notes) is (units.endswith("08:00:00") and zone is None)


def test_a_projected_grid_in_kilometres_by_its_mapping(lake: Lake, tmp_path: Path) -> None:
    def project(file: Any, rain: Any) -> None:
        file["lon"].setncatts({"units": "km", "standard_name": "projection_x_coordinate"})
        file["lat"].setncatts({"units": "km", "standard_name": "projection_y_coordinate"})
        file["lon"][:], file["lat"][:] = 400 + 0.5 * np.arange(5), 2490 - 0.5 * np.arange(4)
        file.createVariable("crs", "i4", ()).setncatts(pyproj.CRS("EPSG:4547").to_cf())
        rain.grid_mapping = "crs"

    version, _ = ingest(lake, write(tmp_path / "r.nc", np.arange(60.0).reshape(3, 4, 5), change=project))
    assert pyproj.CRS(version.reference.horizontal).equals(pyproj.CRS("EPSG:4547"), ignore_axis_order=True)
    with rasterio.open(lake.path(version.parts[0].key)) as file:
        assert tuple(file.transform)[:6] == pytest.approx((500, 0, 399_750, 0, -500, 2_490_250))
    assert cells(lake, version)[0][0, 0] == 0
    bare = write(tmp_path / "bare.nc", np.ones((3, 4, 5)), change=lambda f, v: (project(f, v), v.delncattr("grid_mapping")))
    with pytest.raises(MissingReference, match=r"bare\.nc, variable 'rain' has x and y but no grid_mapping"):
        ingest(lake, bare)


def test_longitudes_up_to_360_come_round(lake: Lake, tmp_path: Path) -> None:
    values = np.arange(3 * 4 * 8.0).reshape(3, 4, 8)
    version, _ = ingest(lake, write(tmp_path / "r.nc", values, lon=np.arange(8) * 45.0))
    with rasterio.open(lake.path(version.parts[0].key)) as file:
        assert file.transform.c == pytest.approx(-157.5)  # the column of 225° leads
    assert cells(lake, version)[0][3, 0] == values[0, 0, 5]


def test_its_own_export_is_read_back(lake: Lake, tmp_path: Path) -> None:
    """What `twin export` writes of a field over seconds, with no date."""
    path = write(tmp_path / "r.nc", np.ones((3, 4, 5)), units="s", change=lambda f, v: f["time"].setncattr("axis", "T"))
    version, report = ingest(lake, path)
    assert moments.describe(version) == {"times": [0, 5, 10], "start": None}
    assert any("no date" in note.reason for note in report.notes)


def _lines(path: Path) -> Path:
    with Dataset(path, "a") as file:
        file["lat"][:] = [22.5, 22.6, 22.75, 22.8]
    return path


def _cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:3000])
    return path


BAD: list[tuple[str, dict[str, Any], dict[str, Any], type[TwinError], str]] = [
    ("calendar", {"change": lambda f, v: f["time"].setncattr("calendar", "360_day")}, {}, BadFeature, "'360_day', which has no real dates"),
    ("months", {"units": "months since 2026-01-01"}, {}, BadFeature, "no fixed length"),
    ("no unit", {"units": " "}, {}, BadFeature, "has no units"),
    ("no date", {"units": "hours since 2026-02-30"}, {}, BadFeature, "counts from no date"),
    ("backwards", {"times": (0, 10, 5)}, {}, BadFeature, "does not ascend at step 3"),
    ("zone twice", {}, {"zone": "+08:00"}, BadOption, "states its zone"),
    ("zone", {"units": "hours since 2026-05-20"}, {"zone": "Beijing"}, BadOption, "no offset from UTC"),
    ("void", {"change": lambda f, v: v.__setitem__(slice(None), -1)}, {}, BadFeature, "holds no data"),
    ("wrong crs", {}, {"crs": "EPSG:4547"}, BadFeature, "coordinates are degrees, its CRS"),
    ("no such", {}, {"variable": "snow"}, BadOption, "has no variable 'snow'. Its fields: rain"),
    ("not a field", {}, {"variable": "time"}, BadFeature, "no field over a regular grid"),
    ("two", {"change": lambda f, v: f.createVariable("wind", "f4", ("lat", "lon"))}, {}, BadOption, "2 fields: rain, wind"),
    ("swath", {"change": lambda f, v: (f["lat"].setncattr("units", "1"), f.renameVariable("lat", "rows"))}, {}, BadFeature, r"no field over a regular grid; its variables: .*rain \(time 3"),
]  # fmt: skip


@pytest.mark.parametrize(("made", "options", "error", "text"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_cannot_be_placed_is_refused_by_name(lake: Lake, tmp_path: Path, made: dict[str, Any], options: dict[str, Any], error: type[TwinError], text: str) -> None:
    with pytest.raises(error, match=text) as raised:
        ingest(lake, write(tmp_path / "bad.nc", np.ones((3, 4, 5)), **made), **options)
    assert "bad.nc" in str(raised.value) or "zone" in str(raised.value)
    assert raised.value.remedy


@pytest.mark.parametrize(("spoil", "error", "text"), [
    (_lines, BadFeature, "'lat' is not evenly spaced"),
    (_cut, UnreadableSource, "cut short or damaged"),
    (lambda path: path.write_bytes(b"GRIB") and path, UnreadableSource, "no NetCDF file"),
    (lambda path: path.write_bytes(b"") or path, UnreadableSource, "empty"),
])  # fmt: skip
def test_broken_files_are_refused(lake: Lake, tmp_path: Path, spoil: Callable[[Path], Path], error: type[TwinError], text: str) -> None:
    with pytest.raises(error, match=text):
        ingest(lake, spoil(write(tmp_path / "bad.nc", np.ones((3, 4, 5)))))


@pytest.mark.parametrize("kind", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
def test_a_classic_file_that_lost_bytes_is_refused_and_not_read_as_zeros(lake: Lake, tmp_path: Path, kind: str) -> None:
    """With its record dimension unlimited, as radars write; any cut within header or data is seen, wherever it lies."""
    path = tmp_path / "r.nc"
    write(tmp_path / "whole.nc", np.arange(60.0).reshape(3, 4, 5), kind=kind)
    with xarray.open_dataset(tmp_path / "whole.nc") as data:
        data.load().to_netcdf(path, format=kind, unlimited_dims=["time"], engine="netcdf4")
    assert len(ingest(lake, path)[0].parts) == 3
    raw = path.read_bytes()
    for length in (len(raw) - 1, len(raw) - 200, len(raw) // 2, 90, 9):
        path.write_bytes(raw[:length])
        with pytest.raises(UnreadableSource, match="cut short or damaged"):
            ingest(lake, path)
    path.write_bytes(raw[:12] + b"\x7f" + raw[13:])
    with pytest.raises(UnreadableSource, match="cut short or damaged"):
        ingest(lake, path)
