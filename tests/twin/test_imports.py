"""Imports point one way (DESIGN, "The house")."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GROUND = {"twin", "twin.model", "twin.errors", "twin.batches", "twin.crs", "twin.ways", "twin.datums", "twin.angles", "twin.clouds", "twin.lake", "twin.parts", "twin.reading", "twin.ground", "twin.registry", "twin.options", "twin.archive", "twin.archive_directory", "twin.archive_set", "twin.moments", "twin.ranges", "twin.hashing", "twin.query", "twin.cql2", "twin.cql2_rows", "twin.sorting", "twin.processes", "twin.compiled", "twin.grading", "twin.meshes", "twin.keys", "twin.sources", "twin.spool", "twin.outlines", "twin.entries", "twin.zips", "twin.scratch", "twin.raster_file", "twin.shown"}
PACKAGES = {"twin", "tiling", "ingest_bim", "ingest_gis", "scenarios", "data_samples"}
PIPELINES = {"tiling", "ingest_bim", "ingest_gis", "scenarios"}


def imports(path: Path) -> set[str]:
    """Dotted names of all project modules a file imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names if (ROOT / node.module.replace(".", "/") / f"{alias.name}.py").exists())
    return {name for name in found if name.split(".")[0] in PACKAGES}


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", sorted(PIPELINES))
def test_pipelines_import_the_ground_floor_only(package: str) -> None:
    assert files(package)
    for path in files(package):
        wrong = {name for name in imports(path) if name.split(".")[0] != package and name not in GROUND}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_the_city_reaches_no_pipeline_but_through_the_registry() -> None:
    for path in files("twin"):
        if "bench" in path.parts or path.name == "bench.py":
            continue  # measures pipelines from outside
        wrong = {name for name in imports(path) if name.split(".")[0] in PIPELINES | {"data_samples"}}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_the_ground_floor_does_not_reach_up() -> None:
    for name in sorted(GROUND - {"twin"}):
        path = ROOT / (name.replace(".", "/") + ".py")
        wrong = {other for other in imports(path) if other.split(".")[0] == "twin" and other not in GROUND}
        assert not wrong, f"{name} imports {sorted(wrong)}"


def test_product_code_knows_no_sample() -> None:
    """Law 11: nothing in the product names the sample's or the real data's files and places."""
    words = ("andorra", "schependomlaan", "fzk", "autzen", "merewether", "denhaag", "duplex", "data_samples")
    for package in sorted(PIPELINES | {"twin"}):
        for path in files(package):
            text = path.read_text("utf-8").lower()
            found = [word for word in words if word in text]
            if path.name == "demo.py" and found == ["data_samples"]:
                continue  # the command that generates it
            if "bench" in path.parts or path.name == "bench.py":
                continue
            assert not found, f"{path.relative_to(ROOT)} names {found}"
