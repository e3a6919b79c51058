"""The interpolated projection against the exact one, and the kernel against its plain form."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import Transformer

from tiling.points import frame as point_frame
from tiling.points import kernels as point_kernels
from tiling.points.frame import Frame
from twin import crs
from twin.model import Bounds, Reference

CASES = {
    "3-degree zone, 1 km": (Reference("EPSG:4547", "EPSG:5737"), Bounds(405_000, 2_497_000, 406_000, 2_498_000, -5, 120)),
    "3-degree zone, 30 km": (Reference("EPSG:4526", "EPSG:5737"), Bounds(38_390_000, 2_480_000, 38_420_000, 2_510_000, 0, 600)),
    "Lambert in feet, also in z": (Reference("EPSG:2994", "EPSG:5703", 0.3048), Bounds(635_500, 848_000, 639_000, 853_000, 400, 620)),
    "degrees": (Reference("EPSG:4490", "EPSG:4979"), Bounds(113.0, 22.5, 113.05, 22.55, 0, 50)),
    "one point": (Reference("EPSG:2154", "EPSG:5720"), Bounds(700_000, 6_600_000, 700_000, 6_600_000, 20, 20)),
    "a strip": (Reference("EPSG:32650", "EPSG:5773"), Bounds(500_000, 2_500_000, 500_040, 2_512_000, 0, 90)),
}


@pytest.mark.parametrize("name", CASES)
def test_within_a_tenth_of_a_millimetre(name: str) -> None:
    """At random places, by pyproj directly and not by `twin.crs`' own arithmetic."""
    reference, box = CASES[name]
    frame = Frame.at(*point_frame.centre_of(reference, box))
    table = point_frame.fit(reference, box, frame)
    rng = np.random.default_rng(5)
    xyz = rng.uniform([box.minx, box.miny, box.minz], np.array([box.maxx, box.maxy, box.maxz]) + 1e-9, (20_000, 3))
    lon, lat = Transformer.from_crs(reference.horizontal, "EPSG:4326", always_xy=True).transform(xyz[:, 0], xyz[:, 1])
    shift = crs.undulation(lon, lat) if reference.vertical != "EPSG:4979" else 0.0
    geodetic = (lon, lat, xyz[:, 2] * reference.vertical_unit + shift)
    ecef = np.column_stack(Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True).transform(*geodetic))
    got = point_frame.interpolate(table, xyz) @ frame.matrix[:3, :3].T + frame.matrix[:3, 3]
    assert np.linalg.norm(got - ecef, axis=1).max() < 1e-4
    low, high = table.range_of(box.minz, box.maxz)
    local = frame.local(ecef)
    assert (local >= low).all()
    assert (local <= high).all()


@pytest.mark.parametrize("name", CASES)
def test_kernel_is_the_plain_form(name: str) -> None:
    reference, box = CASES[name]
    frame = Frame.at(*point_frame.centre_of(reference, box))
    table = point_frame.fit(reference, box, frame)
    low, _ = table.range_of(box.minz, box.maxz)
    scale = np.array([1e-7, 1e-7, 1e-3]) if reference.horizontal == "EPSG:4490" else np.full(3, 0.001)
    offset = np.array([box.minx, box.miny, 0.0])
    rng = np.random.default_rng(6)
    span = [box.maxx - box.minx, box.maxy - box.miny]
    raw = np.zeros(500, np.dtype({"names": ["x", "y", "z"], "formats": ["<i4"] * 3, "offsets": [0, 4, 8], "itemsize": 34}))
    for k, axis in enumerate("xy"):
        raw[axis] = rng.random(500) * span[k] / scale[k]
    raw["z"] = rng.uniform(box.minz, box.maxz + 1e-9, 500) / scale[2]
    places = np.empty((500, 3), np.int32)
    step = 2.0**-13
    point_kernels.place_points(raw.view(np.uint8), 34, scale, offset, np.array(table.origin), np.array(table.size), table.nodes, table.unit, low, step, places)
    xyz = np.column_stack([raw["x"], raw["y"], raw["z"]]) * scale + offset
    assert np.abs(low + places * step - point_frame.interpolate(table, xyz)).max() <= step / 2 + 1e-9
