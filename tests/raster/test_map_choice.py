"""Drawn vectors by filter and by the values of a column: what is drawn, and in which colour, worked out here from the numbers alone."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from PIL import Image
from pyproj import Transformer

from twin import maps
from twin.errors import BadOption
from twin.lake import Lake
from twin.mapchoice import Choice, colour
from twin.mapsource import WORLD
from twin.model import Column as TwinColumn
from twin.model import Features, Grid, LayerVersion, Reference, Report
from twin.parts import write_version

Z = 15
TO_MERCATOR = Transformer.from_crs("EPSG:32649", "EPSG:3857", always_xy=True)
TO_DEGREES = Transformer.from_crs("EPSG:32649", "EPSG:4326", always_xy=True)
VALUES = [1.0, 4.0, 2.0, 10.0, None]
NAMES = ["a", "b", "a", None, "c"]


def tile_of(x: float, y: float) -> tuple[int, int, int, int, int]:
    """z, x, y of the tile of a place, and the pixel in it."""
    mx, my = TO_MERCATOR.transform(x, y)
    column, row = (mx / WORLD + 0.5) * 2**Z * 256, (0.5 - my / WORLD) * 2**Z * 256
    return Z, int(column // 256), int(row // 256), int(column % 256), int(row % 256)


def centre(number: int) -> tuple[float, float]:
    return 701000.0 + 300 * number, 2499000.0


@pytest.fixture
def squares(tmp_path: Any) -> tuple[Lake, LayerVersion]:
    """Five squares of 200 m in a row, each its own tile or near a border of one."""
    lake = Lake(tmp_path / "lake")
    shapes = np.empty(len(VALUES), object)
    shapes[:] = [shapely.box(x - 100, y - 100, x + 100, y + 100) for x, y in map(centre, range(len(VALUES)))]
    ids = pa.array([f"s{i}" for i in range(len(VALUES))])
    batch = Features(Reference("EPSG:32649"), ids, shapes, pa.table({"level": VALUES, "name": NAMES}))
    return lake, write_version(lake, "squares", "vector", [batch], Report(source="s"), provenance={}, style={"color": "#102030", "fill_opacity": 1.0})


def colours(lake: Lake, version: LayerVersion, choice: Choice) -> list[tuple[int, ...] | None]:
    """Colour at each square's centre; None where nothing is drawn."""
    found: list[tuple[int, ...] | None] = []
    for number in range(len(VALUES)):
        z, x, y, column, row = tile_of(*centre(number))
        pixel = Image.open(io.BytesIO(maps.render(lake, version, z, x, y, choice=choice))).convert("RGBA").getpixel((column, row))
        found.append(pixel[:3] if pixel[3] > 128 else None)
    return found


def test_only_what_matches_is_drawn(squares: Any) -> None:
    drawn = [one is not None for one in colours(*squares, Choice("level >= 2"))]
    assert drawn == [value is not None and value >= 2 for value in VALUES]
    assert colours(*squares, Choice()) == [(16, 32, 48)] * 5
    west, south = TO_DEGREES.transform(centre(1)[0] - 20, centre(1)[1] - 20)
    east, north = TO_DEGREES.transform(centre(2)[0] + 20, centre(2)[1] + 20)
    ring = f"POLYGON(({west} {south},{east} {south},{east} {north},{west} {north},{west} {south}))"
    drawn = [one is not None for one in colours(*squares, Choice(f"S_INTERSECTS(geometry, {ring}) AND name = 'a'"))]
    assert drawn == [False, False, True, False, False]


def test_colours_are_those_of_the_legend(squares: Any) -> None:
    two = colours(*squares, Choice(column="level", method="equal", classes=2, ramp="magma"))
    low, high = (0, 0, 4), (252, 253, 191)  # the ends of the ramp
    assert two == [low, low, low, high, (154, 154, 154)]
    ramp = colours(*squares, Choice(column="level", method="continuous", ramp="magma"))
    assert ramp[0] == low
    assert ramp[3] == high
    brightness = [sum(ramp[i] or ()) for i in (0, 2, 1, 3)]
    assert brightness == sorted(brightness), "brighter with the value"
    named = colours(*squares, Choice(where="name <> 'b'", column="name"))
    assert named[1] is None
    assert named[0] == named[2] != named[4]


def test_a_class_holds_its_lower_end() -> None:
    legend = {"type": "classes", "entries": [{"value": [0, 1], "color": "#000000"}, {"value": [1, 2], "color": "#ffffff"}]}
    values = pa.chunked_array([[0.0, 1.0, 2.0, 2.1, float("nan")]])
    assert colour(values, legend)[:, 0].tolist() == [0, 255, 255, 154, 154]


@pytest.mark.parametrize("choice", [Choice("nothing = 1"), Choice("level >"), Choice(column="nothing"), Choice(column="level", ramp="rainbow")])
def test_a_choice_that_does_not_fit_is_refused(squares: Any, choice: Choice) -> None:
    with pytest.raises(BadOption):
        colours(*squares, choice)


def test_a_raster_has_nothing_to_choose(tmp_path: Any) -> None:
    lake = Lake(tmp_path / "lake")
    made = Grid(Reference("EPSG:32649"), np.ones((1, 4, 4), np.uint8), (10, 0, 700000, 0, -10, 2500000), None, (TwinColumn("v", "float"),),
                {"type": "classes", "entries": [{"value": 1, "color": "#112233"}]})  # fmt: skip
    version = write_version(lake, "grid", "raster", [made], Report(source="s"), provenance={})
    with pytest.raises(BadOption, match="vector"):
        maps.render(lake, version, 3, 6, 3, choice=Choice("a = 1"))
