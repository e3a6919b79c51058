"""What a user may name that is no plain file: pipes, links, folders, names that lead nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import geopandas
import pytest
import shapely
from click.testing import CliRunner

from twin import intake, sources
from twin.cli import main
from twin.errors import BadInput, UnreadableSource


@pytest.mark.timeout(20)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.gpkg")
    with pytest.raises(UnreadableSource, match="is a pipe, a socket or a device"):
        intake.ingest_params(tmp_path / "a.gpkg", "x")


@pytest.mark.parametrize(("target", "said"), [("nowhere", "it is a link to nowhere, where nothing is"), ("a.ifc", "it is a link to a.ifc, where nothing is")])
def test_links_that_lead_nowhere(tmp_path: Path, target: str, said: str) -> None:
    """Also by the command, which begins with an IFC model before it is looked at."""
    (tmp_path / "a.ifc").symlink_to(target)
    result = CliRunner().invoke(main, ["ingest", str(tmp_path / "a.ifc"), "--layer", "x", "--home", str(tmp_path / "city")])
    assert result.exit_code == 2, result.output
    assert said in result.output


def test_a_link_goes_by_its_own_name_and_folder(tmp_path: Path) -> None:
    """As data managers lay files: the bytes lie under their digest, the name and its companions are links."""
    frame = geopandas.GeoDataFrame({"name": ["a"]}, geometry=[shapely.Point(405_000, 2_498_000)], crs="EPSG:4547")
    frame.to_file(tmp_path / "a.shp")
    store, named = tmp_path / "store", tmp_path / "named"
    store.mkdir(), named.mkdir()
    for number, path in enumerate(sorted(tmp_path.glob("a.*"))):
        path.rename(store / f"{number:04x}")
        (named / path.name).symlink_to(store / f"{number:04x}")
    result = CliRunner().invoke(main, ["ingest", str(named / "a.shp"), "--layer", "x", "--home", str(tmp_path / "city")])
    assert result.exit_code == 0, result.output
    assert "read 1, kept 1" in result.output


@pytest.mark.parametrize("name", ["x" * 5000 + ".gpkg", "a\0b.gpkg"])
def test_names_that_no_file_can_have(name: str) -> None:
    with pytest.raises(UnreadableSource, match=r"cannot be reached|There is no file"):
        sources.expand(name)


@pytest.mark.parametrize("suffix", [".ifc", ".obj", ".tif", ".nc", ".gpkg"])
def test_a_folder_in_place_of_a_file(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").mkdir()
    with pytest.raises(BadInput, match=r"is a folder, and reader \w+ takes one file|holds no|is no"):
        intake.ingest_params(tmp_path / f"a{suffix}", "x", reader={".tif": "raster", ".gpkg": "vector"}.get(suffix))
