"""Options: each value that cannot be meant is refused by its name, with the value and what is allowed; none is passed over in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import rasterio
import trimesh
from click.testing import CliRunner
from rasterio.transform import from_origin

from tests.ingest_bim.conftest import step_text
from tests.ingest_gis.conftest import write_las
from twin import registry
from twin.cli import main
from twin.errors import BadOption
from twin.options import parse_options

PLACED = ("--crs", "EPSG:4547", "--vertical", "EPSG:5737")
ANCHOR = ("--option", "anchor=405000,2498000,3")
#: An IfcSite with latitude and longitude, and a map conversion.
SITE = {"lat": "(22,34,12,0)", "lon": "(113,4,36,0)", "elevation": "3."}
MAP = ("#200=IFCPROJECTEDCRS('EPSG:4547',$,$,$,$,$,$);", "#201=IFCMAPCONVERSION(#2,#200,405000.,2498000.,3.,1.,0.,1.);")


def every_model() -> list[Any]:
    found = []
    for table in (registry.readers(), registry.tilers(), registry.scenarios()):
        for name, entry in table.items():
            module = entry.load()
            model = getattr(module, "Options", None) or module.Params
            found.extend(pytest.param(model, field, id=f"{name}-{field}") for field, info in model.model_fields.items() if float in (info.annotation, *get_args(info.annotation)))
    return found


@pytest.mark.parametrize(("model", "field"), every_model())
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_no_number_is_none(model: Any, field: str, value: str) -> None:
    needed = {name: "0" for name, info in model.model_fields.items() if info.is_required() and name != field}
    with pytest.raises(BadOption, match=rf"{field} cannot be '{value}': it should be"):
        parse_options(model, {**needed, field: value}, "reader")


def test_a_message_names_value_limit_and_meaning() -> None:
    model = registry.readers()["footprints"].load().Options
    with pytest.raises(BadOption) as error:
        parse_options(model, {"floor_height": "1e9"}, "reader footprints")
    assert str(error.value) == "reader footprints: floor_height cannot be '1e9': it should be less than or equal to 20. floor_height: Metres per floor."
    with pytest.raises(BadOption, match=r"floor_height cannot be 'x{80}…': it should be a valid number\. "):
        parse_options(model, {"floor_height": "x" * 10_000}, "reader footprints")
    with pytest.raises(BadOption, match=r"colour: unknown option\. Options: crs, .*table"):
        parse_options(model, {"colour": "red", "floor_height": "a"}, "reader footprints")


@pytest.fixture
def ingest(tmp_path: Path) -> Any:
    """`ingest(kind, *arguments)` → (exit code, what it said, what is published) of a city of its own."""

    def run(kind: str, *arguments: str) -> tuple[int, dict[str, Any], list[Any]]:
        home = ["--home", str(tmp_path / "city"), "--json"]
        result = CliRunner().invoke(main, ["ingest", str(written(kind, tmp_path)), "--layer", "x", *arguments, *home])
        said = json.loads(result.stdout.strip().splitlines()[-1])
        shown = json.loads(CliRunner().invoke(main, ["layers", *home]).stdout.strip().splitlines()[-1])
        return result.exit_code, said.get("error", said), [row for row in shown if row["version"]]

    return run


def written(kind: str, folder: Path) -> Path:
    path = folder / kind
    if kind.endswith(".tif"):
        cells = np.arange(2400).reshape(40, 60)
        values = (cells % 4).astype(np.uint8) if kind == "classes.tif" else (cells * 0.01).astype(np.float32)
        with rasterio.open(path, "w", driver="GTiff", width=60, height=40, count=1, dtype=values.dtype, crs="EPSG:4547", transform=from_origin(404_900, 2_498_200, 10, 10)) as file:
            file.write(values[None])
    elif kind.endswith(".las"):
        write_las(path, 2000)
    elif kind.endswith(".obj"):
        trimesh.creation.box((4, 5, 6)).export(path)
    else:
        path.write_text(step_text(*(MAP if "map" in kind else ()), **SITE))
    return path


@pytest.mark.parametrize(("kind", "arguments", "said"), [
    ("heights.tif", ("--reader", "raster", "--option", "nodata=1e300"), "nodata=1e+300 is no float32 number"),
    ("classes.tif", ("--reader", "raster", "--option", "nodata=-9999"), "nodata=-9999 is no uint8 number"),
    ("heights.tif", ("--reader", "terrain", "--vertical", "EPSG:5737", "--option", "nodata=1e300"), "nodata=1e+300 is no float32 number"),
    ("heights.tif", ("--reader", "terrain", "--vertical", "EPSG:5737", "--option", "water="), "water cannot be ''"),
    ("heights.tif", ("--reader", "terrain", "--vertical", "EPSG:5737", "--option", "vertical_offset=1e9"), "vertical_offset cannot be '1e9'"),
    ("heights.tif", ("--reader", "raster", "--option", "vertical_offset=2"), "vertical_offset 2 m is given, but no vertical datum"),
    ("heights.tif", ("--reader", "raster", "--option", "crs="), "crs cannot be ''"),
    ("heights.tif", ("--reader", "raster", "--option", "ramp=blues", "--option", "ramp=heat"), "ramp is given twice: 'blues' and 'heat'"),
    ("heights.tif", ("--reader", "raster", "--crs", "EPSG:4547", "--option", "crs=EPSG:4526"), "both given"),
    ("model.obj", (*PLACED, *ANCHOR, "--option", "height=9"), "the anchor's height is 3 and height is 9"),
    ("model.obj", (*PLACED, "--option", "anchor=405000,2498000,1e9"), "the anchor's height 1e+09 m is not on the earth"),
    ("model.obj", (*PLACED, *ANCHOR, "--option", "storey=floor"), "storey=floor names no column of it"),
    ("model.obj", (*PLACED, *ANCHOR, "--option", "building="), "building= names no column of it"),
    ("model.ifc", (*PLACED, *ANCHOR, "--option", "use=site"), "use=site and an anchor are both given"),
    ("model.ifc", ("--vertical", "EPSG:5737", "--option", "rotation=10"), "rotation, origin and scale go with an anchor"),
    ("map.ifc", ("--vertical", "EPSG:5737", "--option", "height=10"), "states the height (OrthogonalHeight) itself"),
    ("model.ifc", ("--vertical", "EPSG:5737", "--option", "footprint=houses/1", "--option", "rotation=10"), "finds the model's turn and size itself"),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused(ingest: Any, kind: str, arguments: tuple[str, ...], said: str) -> None:
    code, error, shown = ingest(kind, *arguments)
    assert said in error.get("message", ""), error
    assert code == 2
    assert not shown


def test_a_flag_named_twice_counts_once(ingest: Any) -> None:
    """It was an internal error: the flag's bit was added up to more than a byte holds."""
    code, said, _ = ingest("cloud.las", "--crs", "EPSG:32649", "--vertical", "ellipsoid", "--option", "drop=withheld,withheld")
    assert code == 0, said
    assert said["count"] == 2000


@pytest.mark.parametrize(("kind", "arguments", "told"), [
    ("classes.tif", ("ramp=heat",), "the option ramp is not used: the raster is drawn by classes"),
    ("classes.tif", ("classes=1:水面;9:林地",), "classes names 9, which no cell holds"),
    ("heights.tif", ("classes=1:水面",), "the option classes is not used: the raster is drawn by a ramp"),
])  # fmt: skip
def test_looks_that_do_not_apply_are_said(ingest: Any, kind: str, arguments: tuple[str, ...], told: str) -> None:
    code, said, _ = ingest(kind, "--reader", "raster", *(text for argument in arguments for text in ("--option", argument)))
    assert code == 0, said
    assert [told] == [note["reason"] for note in said["report"]["notes"] if note["action"] == "warned"]


def test_an_option_of_another_reader_of_the_same_file_is_told(ingest: Any, tmp_path: Path) -> None:
    """A cut GeoPackage of buildings is taken for a map; that its heights are unknown to maps is not what is wrong."""
    (tmp_path / "houses.gpkg").write_bytes(b"SQLite format 3\0" + bytes(50))
    result = CliRunner().invoke(main, ["ingest", str(tmp_path / "houses.gpkg"), "--layer", "x", "--option", "default_height=5", "--home", str(tmp_path / "city")])
    assert result.exit_code == 2
    assert "Reader vector has no option 'default_height'" in result.output
    assert "Reader footprints has it: --reader footprints" in result.output
