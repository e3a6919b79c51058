"""The model that the benchmark measures is one: valid, with what it says, and its stages can be timed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ifcopenshell
import ifcopenshell.util.element as element_util
import ifcopenshell.validate
import pytest

from twin.bench import bim


def test_generated_walls_are_walls(tmp_path: Path) -> None:
    path = bim.write_walls(tmp_path / "walls.ifc", 20)
    model: Any = ifcopenshell.open(path)
    logger: Any = ifcopenshell.validate.json_logger
    log = logger()
    ifcopenshell.validate.validate(model, log)
    assert not log.statements
    walls = model.by_type("IfcWall")
    assert len({w.GlobalId for w in walls}) == 20
    lengths = set()
    for wall in walls:
        psets = element_util.get_psets(wall)
        assert psets["Pset_WallCommon"]["Reference"] == f"W-{wall.Tag}"
        solid = wall.Representation.Representations[0].Items[0]
        volume = solid.SweptArea.XDim * solid.SweptArea.YDim * solid.Depth
        assert psets["Qto_WallBaseQuantities"]["NetVolume"] == pytest.approx(volume, rel=1e-3)
        lengths.add(solid.SweptArea.XDim)
    assert len(lengths) == 20


def test_the_stages_are_timed(tmp_path: Path) -> None:
    found = bim.stages(bim.write_walls(tmp_path / "walls.ifc", 5))
    assert set(found) == {"open", "properties", "geometry", "tiles"}
    assert all(seconds >= 0 for seconds in found.values())


def test_a_folder_of_models_becomes_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bim.write_walls(tmp_path / "a.ifc", 5)
    (tmp_path / "readme.txt").write_text("x")
    monkeypatch.setenv("TWIN_BENCH_IFC", str(tmp_path))
    assert set(bim.files()) == {"ifc:a"}
    monkeypatch.delenv("TWIN_BENCH_IFC")
    assert bim.files() == {}
