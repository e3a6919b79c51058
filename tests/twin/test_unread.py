"""What lies in a folder or ZIP beside what its reader takes is said: it used to be passed over without a word."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from twin import intake, unread
from twin.cli import main
from twin.errors import BadInput

TAKEN = (".gml", ".zip")
FILES = ("a.gml", "b.city.json", "sub/c.IFC", "sub/c.stl", "site.dwg", "site.dwg.bak", "roof.png", "readme.txt", "codelists/use.json", "a.prj")


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_left_is_told_by_suffix(tmp_path: Path, packed: bool) -> None:
    """Not images, texts and side folders, nor what nobody knows."""
    for name in FILES:
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_text("x")
    source = tmp_path / "d"
    if packed:
        source = tmp_path / "d.zip"
        with zipfile.ZipFile(source, "w") as file:
            for name in FILES:
                file.writestr(name, "x")
    assert sorted(unread.left(source, TAKEN, {".json", ".ifc", ".stl", ".tif", ".png", ".gml"}).split(", ")) == ["1 × .dwg", "1 × .ifc", "1 × .json", "1 × .stl"]
    assert not unread.left(source, (".gml", ".json", ".ifc", ".stl", ".dwg"), {".json"}) and not unread.left(tmp_path / "none.zip", TAKEN, {".json"})


def test_a_folder_that_no_reader_takes_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.ifc").write_text("x")
    (tmp_path / "b.ifc").write_text("x")
    with pytest.raises(BadInput, match=r"it holds 2 × \.ifc\. Ingest these one by one"):
        intake.ingest_params(tmp_path, "a")


def test_a_folder_of_several_kinds(tmp_path: Path) -> None:
    """One kind is read; the others are in the report, whether they lie in a folder, in a ZIP or are named one by one."""
    def twin(*arguments: str) -> Any:
        result = CliRunner().invoke(main, [*arguments, "--no-publish", "--home", str(tmp_path / "city"), "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout.strip().splitlines()[-1])["report"]["notes"]

    folder = tmp_path / "d"
    folder.mkdir()
    model = {"type": "CityJSON", "version": "2.0", "transform": {"scale": [1, 1, 1], "translate": [85000, 446000, 0]}, "vertices": [[0, 0, 0], [1, 0, 0], [0, 1, 0]],
             "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/7415"},
             "CityObjects": {"b": {"type": "Building", "geometry": [{"type": "MultiSurface", "lod": "1", "boundaries": [[[0, 1, 2]]]}]}}}  # fmt: skip
    (folder / "a.city.json").write_text(json.dumps(model))
    (folder / "b.gml").write_text("<x/>")
    (folder / "c.ifc").write_text("ISO-10303-21;")
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as file:
        for path in folder.iterdir():
            file.write(path, path.name)
    for source in (folder, tmp_path / "d.zip"):
        (note,) = twin("ingest", str(source), "--layer", "a")
        assert (note["action"], note["feature"]) == ("skipped", source.name) and "1 × .gml, 1 × .ifc" in note["reason"].replace("1 × .ifc, 1 × .gml", "1 × .gml, 1 × .ifc")
    (note,) = twin("ingest", str(folder / "a.city.json"), str(folder / "b.gml"), "--layer", "a")
    assert (note["action"], note["feature"]) == ("skipped", "b.gml") and "not such a city model" in note["reason"]


@pytest.mark.parametrize(("name", "kind"), [("地块.udbx", "SuperMap data source"), ("地块.wp", "MapGIS"), ("地块.vct", "GB/T 17798"), ("a.spz", "Gaussian"), ("a.mapx", "map document"),
                                            ("a.s3mb", "SuperMap cache")])  # fmt: skip
def test_formats_of_chinese_programs_and_others_are_told_by_name(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_bytes(b"x" * 100)
    with pytest.raises(BadInput, match=kind):
        intake.ingest_params(tmp_path / name, "a")
