"""The verdict for every IFC file of the real data and of buildingSMART's pass/fail corpus: read with a report, or refused with its reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ingest_bim.ifc import reader as ifc
from twin import parts
from twin.errors import BadFeature, BadInput, BadReference, MissingReference, UnreadableSource
from twin.lake import Lake
from twin.model import Mesh, Report, Table

#: Without any placement by the user, but with a vertical datum: (error, what its message says), or where it lies (lon, lat).
VERDICTS: dict[str, tuple[type[BadInput], str] | tuple[float, float]] = {
    "AC20-FZK-Haus.ifc": (8.4365, 49.1004),
    "BIMWhale_LargeBuilding.ifc": (BadReference, "default of Revit"),
    "BIMWhale_SimpleWall.ifc": (BadReference, "default of Revit"),
    "Duplex_A_20110907_georeferenced.ifc": (BadReference, "EPSG:9897"),
    "Duplex_Electrical_20121207.ifc": (-87.6394, 41.8744),
    "KIT-Simple-Road-IFC4x3_RC2.ifc": (UnreadableSource, "IFC4X3_RC2"),
    "PCERT_Building-Architecture.ifc": (179.0801, -8.4622),
    "PCERT_Building-Landscaping.ifc": (179.0801, -8.4622),
    "PCERT_Building-Structural.ifc": (179.0801, -8.4622),
    "PCERT_Infra-Bridge.ifc": (179.0801, -8.4624),
    "PCERT_Infra-Plumbing.ifc": (179.0801, -8.4624),
    "PCERT_Infra-Road.ifc": (179.0801, -8.4624),
    "Schependomlaan_BERNTS-Staalconstructie.ifc": (MissingReference, "no georeference"),
    "Schependomlaan_ROOT-houten_kozijnen.ifc": (5.3833, 52.15),
    "Schependomlaan_ROOT-kapconstructie.ifczip": (5.3833, 52.15),
    "Schependomlaan_V_L_Constructief.ifc": (BadReference, "default of Revit"),
    "Schependomlaan_WILLEMSEN-Laagbouw.ifc": (MissingReference, "no georeference"),
    "Schependomlaan_XELLA-1e_verdieping.ifc": (MissingReference, "no georeference"),
    "Schependomlaan_federated_12models.ifczip": (5.3833, 52.15),
    "bSI_GRF005_Georgia_usft.ifc": (-85.4222, 34.9795),
    "bSI_GRF005_RD_blank_scale.ifc": (5.3088, 51.7120),
    "bSI_LIP002_imperial_linear.ifc": (MissingReference, "no georeference"),
    "bSI_SPS002_railway.ifc": (MissingReference, "no georeference"),
}
FAMILIES = ("ALB", "ALS", "ASM", "AXG", "BBX", "BLT", "BRP", "CLS", "CTX", "DOC", "GDP", "GEM", "GRF", "IFC", "LAY", "LIP", "LOP", "MAT", "MPD",
            "PJS", "PSE", "QTY", "SPS", "SWE", "TAS", "VER")  # fmt: skip
#: One file of each family whose shapes are made too; the first of them by name that is small.
SMALL = 60_000
BY_HAND = {"vertical": "EGM96", "crs": "EPSG:32631", "anchor": "500000,5000000,0", "confirm": True}


def read(path: Path, **options: object) -> tuple[list[Mesh], dict[str, Table], Report]:
    report = Report()
    batches = list(ifc.read(path, ifc.Options(**options), report))  # type: ignore[arg-type]
    return [b for b in batches if isinstance(b, Mesh)], {b.name: b for b in batches if isinstance(b, Table)}, report


def test_every_file_has_a_verdict(shared_data: Path) -> None:
    assert {p.name for p in (shared_data / "ifc").iterdir()} == set(VERDICTS)


@pytest.mark.parametrize("name", VERDICTS)
def test_the_file_s_own_place(shared_data: Path, name: str) -> None:
    verdict = VERDICTS[name]
    if isinstance(verdict[0], type):
        with pytest.raises(verdict[0], match=str(verdict[1])) as refused:
            read(shared_data / "ifc" / name, kernel="none", vertical="EGM96")
        assert refused.value.remedy
        assert name in str(refused.value)
        return
    meshes, tables, report = read(shared_data / "ifc" / name, kernel="none", vertical="EGM96")
    facts = report.facts["georeference"]
    assert (facts["lon"], facts["lat"]) == pytest.approx(verdict, abs=1e-3)
    assert sum(len(m) for m in meshes) == report.read == report.kept > 0
    assert set(tables) - {"material_properties", "attributes", "property_notes", "layers", "aspects"} == {"psets", "quantities", "relations", "materials", "classifications", "documents", "types"}
    assert ("material_properties" in tables) == (name == "AC20-FZK-Haus.ifc")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_corpus_never_crashes_the_reader(shared_data: Path, family: str) -> None:
    """Attributes of all files, shapes of one; refused are only files without elements."""
    files = sorted((shared_data / "peer_suites/ifc-gherkin-rules/test/files" / family).rglob("*.ifc"))
    assert files
    for path in files:
        try:
            meshes, _, report = read(path, kernel="none", **BY_HAND)
        except BadFeature as error:
            assert "no project and no products" in str(error)  # noqa: PT017
            assert not any(word in path.read_text("latin-1").upper() for word in ("IFCPROJECT(", "IFCWALL("))
        else:
            assert sum(len(m) for m in meshes) == report.kept > 0
    small = [p for p in files if p.stat().st_size < SMALL]
    for path in small[:1]:
        try:
            meshes, _, report = read(path, element_seconds=5, workers=1, **BY_HAND)
        except (BadFeature, UnreadableSource):
            continue
        drawn, listed = report.facts["geometry"]["drawn"], sum(report.facts["geometry"]["not_drawn"].values())
        assert drawn == sum(len(m.instance_feature) for m in meshes)
        assert listed == sum(m.attributes.column("not_drawn").drop_null().length() for m in meshes)


def test_a_model_becomes_a_version(shared_data: Path, lake: Lake) -> None:
    """Through the lake and back: positions on the earth by pyproj, ids, nested psets, tables."""
    path, report = shared_data / "ifc/PCERT_Building-Architecture.ifc", Report()
    version = parts.write_version(lake, "house", "mesh", ifc.read(path, ifc.Options(vertical="EGM96"), report), report, provenance={})
    assert version.count == report.kept == 24
    meshes = list(parts.read_meshes(lake, version))
    points = np.concatenate([
        mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]] @ t[:3, :3].T + t[:3, 3]
        for mesh in meshes for p, t in zip(mesh.instance_prototype, mesh.transforms, strict=True)
    ])  # fmt: skip
    assert version.extent is not None
    assert np.ptp(points, axis=0).max() < 50
    assert np.linalg.norm(points[:, :2].mean(0) - [729013, 9063992]) < 20
    table = parts.read_table(lake, version, "psets")
    assert table is not None
    assert {"id", "pset", "property", "value", "number", "unit", "original", "original_unit", "type", "source"} == set(table.column_names)
    columns = {c.name: c for c in version.columns}
    assert columns["height"].unit == "m"
    assert columns["storey"].title == {"zh": "楼层", "en": "Storey"}


def test_the_same_bytes_give_the_same_parts(shared_data: Path, tmp_path: Path) -> None:
    """Workers finish in any order; the parts must not show it."""
    keys = []
    for n in (1, 3):
        report = Report()
        options = ifc.Options(vertical="EGM96", workers=n)
        batches = ifc.read(shared_data / "ifc/PCERT_Infra-Road.ifc", options, report)
        version = parts.write_version(Lake(tmp_path / str(n)), "road", "mesh", batches, report, provenance={})
        keys.append([p.key for p in version.parts])
    assert keys[0] == keys[1]
