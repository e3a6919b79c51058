"""Our IFC reading against two others, file by file: ids, classes, containers, psets, quantities, boxes.

The first shares no code with the reader but the parser: `ifcopenshell.util.element` for properties and containers,
`ifcopenshell.geom.create_shape` in world coordinates with the reference kernel for boxes of a sample of elements. The second
shares nothing: web-ifc, another parser and another geometry engine, run in Node on the whole file.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import ifcopenshell
import ifcopenshell.geom
import ifcopenshell.util.element as element_util
import ifcopenshell.util.unit as unit_util
import numpy as np
import pyarrow as pa
import pytest

from ingest_bim.geometry.faces import default_look
from ingest_bim.ifc import reader as ifc
from twin.model import Mesh, Report, Table

QUICK = (
    "AC20-FZK-Haus.ifc", "BIMWhale_LargeBuilding.ifc", "BIMWhale_SimpleWall.ifc", "Duplex_A_20110907_georeferenced.ifc",
    "Duplex_Electrical_20121207.ifc", "PCERT_Building-Architecture.ifc", "PCERT_Building-Landscaping.ifc", "PCERT_Building-Structural.ifc",
    "PCERT_Infra-Bridge.ifc", "PCERT_Infra-Plumbing.ifc", "PCERT_Infra-Road.ifc", "Schependomlaan_ROOT-kapconstructie.ifczip",
    "Schependomlaan_V_L_Constructief.ifc", "Schependomlaan_WILLEMSEN-Laagbouw.ifc", "Schependomlaan_XELLA-1e_verdieping.ifc",
    "bSI_GRF005_Georgia_usft.ifc", "bSI_LIP002_imperial_linear.ifc", "bSI_SPS002_railway.ifc",
)  # fmt: skip
HEAVY = (
    "Schependomlaan_BERNTS-Staalconstructie.ifc", "Schependomlaan_ROOT-houten_kozijnen.ifc", "Schependomlaan_federated_12models.ifczip",
    "bSI_GRF005_RD_blank_scale.ifc",
)  # fmt: skip
SAMPLE = 6
VIEWER = Path(__file__).resolve().parents[2] / "viewer"


class Reading:
    """One file read by us: features by id, tables by name, and the boxes of drawn features in model metres."""

    def __init__(self, path: Path) -> None:
        self.report = Report()
        options = ifc.Options(vertical="EGM96", crs="EPSG:32631", anchor="500000,5000000,0", confirm=True, element_seconds=20)
        batches = list(ifc.read(path, options, self.report))
        self.meshes = [b for b in batches if isinstance(b, Mesh)]
        self.tables = {b.name: b.rows for b in batches if isinstance(b, Table)}
        attributes = pa.concat_tables([m.attributes for m in self.meshes])
        ids = [i for m in self.meshes for i in m.ids.to_pylist()]
        parents = [i for m in self.meshes for i in m.parents.to_pylist()]
        self.features = {i: {**row, "parent": parent} for i, row, parent in zip(ids, attributes.to_pylist(), parents, strict=True)}
        self.boxes: dict[str, Any] = {}
        self.colors: dict[str, set[tuple[str, tuple[float, ...]]]] = {}
        for mesh in self.meshes:
            for p, f, t in zip(mesh.instance_prototype, mesh.instance_feature, mesh.transforms, strict=True):
                own = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]]
                points = own @ t[:3, :3].T + t[:3, 3] - [500000, 5000000, 0]
                self.boxes[mesh.ids[int(f)].as_py()] = np.concatenate([points.min(0), points.max(0)])
                worn = np.unique(mesh.triangle_material[mesh.triangle_start[p] : mesh.triangle_start[p + 1]])
                self.colors[mesh.ids[int(f)].as_py()] = {(mesh.materials[int(m)].name, mesh.materials[int(m)].color) for m in worn}


@lru_cache(maxsize=2)
def reading(path: Path) -> Reading:
    return Reading(path)


@lru_cache(maxsize=2)
def opened(path: Path) -> ifcopenshell.file:
    if path.suffix == ".ifczip":
        with zipfile.ZipFile(path) as archive:
            return ifcopenshell.file.from_string(archive.read(archive.namelist()[0]).decode("latin-1"))
    return ifcopenshell.open(path)


def unique(products: Sequence[Any]) -> list[Any]:
    """Products whose GlobalId no other has (merged models repeat some; the reader renames those)."""
    seen: dict[str, int] = {}
    for product in products:
        seen[product.GlobalId] = seen.get(product.GlobalId, 0) + 1
    return [p for p in products if seen[p.GlobalId] == 1]


def sample(items: Sequence[Any], count: int, seed: str) -> list[Any]:
    return random.Random(seed).sample(items, min(count, len(items)))


@pytest.fixture(scope="module", params=[*QUICK, *HEAVY])
def both(request: pytest.FixtureRequest, shared_data: Path) -> tuple[ifcopenshell.file, Reading, str]:
    path = shared_data / "ifc" / request.param
    return opened(path), reading(path), request.param


def test_elements_classes_and_containers(both: tuple[ifcopenshell.file, Reading, str]) -> None:
    model, ours, _ = both
    products = model.by_type("IfcProduct")
    expected = len(products) + len(model.by_type("IfcProject")) + len(model.by_type("IfcGroup"))
    assert len(ours.features) == expected == ours.report.read == ours.report.kept
    for product in unique(products):
        row = ours.features[product.GlobalId]
        assert row["class"] == product.is_a()
        assert row["name"] == product.Name
        whole = element_util.get_aggregate(product) or element_util.get_nest(product)
        container = element_util.get_container(product, should_get_direct=True)
        if whole is not None:
            assert row["parent"].split("~")[0] == whole.GlobalId
        elif container is not None:
            assert row["parent"].split("~")[0] == container.GlobalId
        storey = element_util.get_container(product, ifc_class="IfcBuildingStorey")
        if storey is not None and not product.is_a("IfcSpatialElement" if model.schema != "IFC2X3" else "IfcSpatialStructureElement"):
            assert row["storey"] == storey.Name
        kind = element_util.get_type(product)
        assert row["type_name"] == (kind.Name if kind is not None and kind != product else None)


def test_properties_and_quantities(both: tuple[ifcopenshell.file, Reading, str]) -> None:
    """Every property of a sample of elements, its SI value by ifcopenshell's own unit scales."""
    model, ours, name = both
    scales = {"IfcLengthMeasure": unit_util.calculate_unit_scale(model), "IfcPositiveLengthMeasure": unit_util.calculate_unit_scale(model)}
    for measure, kind in (("IfcAreaMeasure", "AREAUNIT"), ("IfcVolumeMeasure", "VOLUMEUNIT"), ("IfcPlaneAngleMeasure", "PLANEANGLEUNIT")):
        if unit_util.get_project_unit(model, kind):
            scales[measure] = unit_util.calculate_unit_scale(model, kind)
    tables = {key: ours.tables[key].to_pylist() for key in ("psets", "quantities")}
    found: dict[str, dict[tuple[str, str], list[dict[str, Any]]]] = {}
    for key, names in (("psets", ("pset", "property")), ("quantities", ("qset", "quantity"))):
        for row in tables[key]:
            found.setdefault(row["id"], {}).setdefault((row[names[0]], row[names[1]]), []).append(row)
    checked = 0
    for product in sample(unique(model.by_type("IfcObject")), 150, name):
        try:
            expected = element_util.get_psets(product, verbose=True)
        except KeyError:  # the utility fails on complex quantities (ifcopenshell 0.9)
            continue
        for stated, values in expected.items():
            set_name = stated or "IfcElementQuantity"  # a set without a name is called by its class
            for prop, value in values.items():
                if prop == "id" or not isinstance(value, dict) or value.get("class") not in ("IfcPropertySingleValue", *QUANTITY_CLASSES):
                    continue
                raw = value["value"]
                # a few files give an element two sets of one name; the utilities keep the last of them
                rows = found[product.GlobalId][set_name, prop]
                row = next((r for r in rows if r["original"] == raw), rows[-1])
                checked += 1
                if isinstance(raw, (bool, str)) or raw is None:
                    assert row["value"] == (raw if not isinstance(raw, bool) else str(raw).lower())
                else:
                    assert row["original"] == pytest.approx(raw, nan_ok=True)
                    if row["type"] in scales and not has_own_unit(model, value["id"]):
                        assert row["number"] == pytest.approx(raw * scales[row["type"]])
    has_psets = bool(model.by_type("IfcRelDefinesByProperties"))
    assert checked > 0 or not has_psets or name.startswith("bSI_")


QUANTITY_CLASSES = ("IfcQuantityLength", "IfcQuantityArea", "IfcQuantityVolume", "IfcQuantityCount", "IfcQuantityWeight", "IfcQuantityTime")


def has_own_unit(model: ifcopenshell.file, step: int) -> bool:
    return getattr(model.by_id(step), "Unit", None) is not None


def test_what_is_drawn_and_where(both: tuple[ifcopenshell.file, Reading, str]) -> None:
    """All that has a solid or surface is drawn or listed as skipped; boxes of a sample match the reference kernel's."""
    model, ours, name = both
    with_body = [
        p for p in unique(model.by_type("IfcProduct"))
        if p.Representation and not p.is_a("IfcFeatureElementSubtraction") and not p.is_a("IfcGrid") and not p.is_a("IfcPort")
    ]  # fmt: skip
    for product in with_body:
        reason = ours.features[product.GlobalId]["not_drawn"]
        assert (product.GlobalId in ours.boxes) == (reason is None), (product, reason)
        assert (product.GlobalId in ours.boxes) == ours.features[product.GlobalId]["has_geometry"]
    settings = ifcopenshell.geom.settings()
    settings.set("use-world-coords", True)
    drawn = [p for p in with_body if p.GlobalId in ours.boxes]
    # the cheap ones: a slow element would cost the suite seconds without telling more
    for product in sample([p for p in drawn if not getattr(p, "HasOpenings", ())] or drawn, SAMPLE, name):
        shape = ifcopenshell.geom.create_shape(settings, product)
        points = np.array(shape.geometry.verts).reshape(-1, 3)
        box = np.concatenate([points.min(0), points.max(0)])
        tolerance = 1.1e-3 + 1e-7 * np.abs(box).max()
        np.testing.assert_allclose(ours.boxes[product.GlobalId], box, atol=tolerance, err_msg=str(product))


def test_relations(both: tuple[ifcopenshell.file, Reading, str]) -> None:
    model, ours, _ = both
    edges = {(r["from"].split("~")[0], r["relation"], r["to"].split("~")[0]) for r in ours.tables["relations"].to_pylist()}
    for relation, name, one, many in (
        ("IfcRelContainedInSpatialStructure", "contained", "RelatingStructure", "RelatedElements"), ("IfcRelAggregates", "aggregates", "RelatingObject", "RelatedObjects"),
        ("IfcRelDefinesByType", "defines_by_type", "RelatingType", "RelatedObjects"), ("IfcRelAssignsToGroup", "groups", "RelatingGroup", "RelatedObjects"),
    ):  # fmt: skip
        for item in model.by_type(relation):
            for target in getattr(item, many) or ():
                if target.is_a("IfcProduct") and getattr(item, one).is_a("IfcRoot"):
                    assert (getattr(item, one).GlobalId, name, target.GlobalId) in edges
    for item in model.by_type("IfcRelVoidsElement"):
        assert (item.RelatingBuildingElement.GlobalId, "voids", item.RelatedOpeningElement.GlobalId) in edges
    for item in model.by_type("IfcRelFillsElement"):
        assert (item.RelatingOpeningElement.GlobalId, "fills", item.RelatedBuildingElement.GlobalId) in edges


def test_materials(both: tuple[ifcopenshell.file, Reading, str]) -> None:
    model, ours, name = both
    rows: dict[str, set[str]] = {}
    for row in ours.tables["materials"].to_pylist():
        rows.setdefault(row["id"], set()).add(row["material"])
    for product in sample(unique(model.by_type("IfcElement")), 100, name):
        expected = {m.Name or "" for m in element_util.get_materials(product)}
        assert rows.get(product.GlobalId, set()) - {""} == expected - {""}, product


def test_nothing_is_infinite(both: tuple[ifcopenshell.file, Reading, str]) -> None:
    _, ours, _ = both
    assert all(math.isfinite(v) for box in ours.boxes.values() for v in box)


# --- the second engine -------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def second(path: Path) -> dict[str, Any]:
    """What web-ifc reads of a file; skips where Node or the package is absent, or where web-ifc cannot open the file."""
    node = shutil.which("node")
    if node is None or not (VIEWER / "node_modules" / "web-ifc").exists():
        pytest.skip("Node or viewer/node_modules/web-ifc is absent (npm ci in viewer/)")
    with tempfile.TemporaryDirectory() as folder:
        if path.suffix == ".ifczip":
            with zipfile.ZipFile(path) as archive:
                path = Path(folder, "model.ifc")
                path.write_bytes(archive.read(archive.namelist()[0]))
        try:
            done = subprocess.run([node, "scripts/read-ifc.mjs", str(path)], cwd=VIEWER, capture_output=True, timeout=90, check=True)
        except subprocess.TimeoutExpired:
            pytest.skip(f"web-ifc does not end on {path.name}")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"web-ifc cannot read {path.name}: {error.stderr[-300:]!r}")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_the_second_engine_finds_the_same_elements(both: tuple[ifcopenshell.file, Reading, str], shared_data: Path) -> None:
    model, ours, name = both
    theirs = second(shared_data / "ifc" / name)["elements"]
    products = {p.GlobalId for p in unique(model.by_type("IfcProduct"))}
    assert products <= set(theirs)
    for guid in products:
        assert ours.features[guid]["class"].upper() == theirs[guid][0].upper()
        assert (ours.features[guid]["name"] or "") == (theirs[guid][1] or "")


def test_the_second_engine_reads_the_same_values(both: tuple[ifcopenshell.file, Reading, str], shared_data: Path) -> None:
    """Every single value and quantity that web-ifc reads of an element is in our tables, as the file writes it."""
    model, ours, name = both
    theirs = second(shared_data / "ifc" / name)
    known = {p.GlobalId for p in unique(model.by_type("IfcObject"))}
    for table, names in (("psets", ("pset", "property")), ("quantities", ("qset", "quantity"))):
        mine: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        for row in ours.tables[table].to_pylist():
            mine.setdefault((row["id"], row[names[0]], row[names[1]]), []).append(row)
        for guid in known & set(theirs[table]):
            for set_name, values in theirs[table][guid].items():
                for prop, value in values.items():
                    rows = mine[guid, set_name, prop]
                    assert any(same(row, value) for row in rows), (guid, set_name, prop, value, rows)


def same(row: dict[str, Any], value: Any) -> bool:
    """A value as web-ifc gives it (true and false as letters or numbers in some versions) against a row of ours."""
    if row["value"] in ("true", "false", "UNKNOWN"):
        return str(value).upper()[:1] in {"true": "T1", "false": "F0", "UNKNOWN": "U2"}[row["value"]]
    if row["original"] is not None:
        return math.isclose(float(value), row["original"], rel_tol=1e-9, abs_tol=1e-12)
    return (row["value"] or "") == str(value)


#: Share of the elements drawn by both whose boxes may differ by more than a centimetre: web-ifc draws circles with 12 sides,
#: does not clip by some half spaces, and draws openings' fillings or assemblies otherwise.
MAY_DIFFER = 0.1


def test_the_second_engine_draws_the_same_boxes(both: tuple[ifcopenshell.file, Reading, str], shared_data: Path) -> None:
    model, ours, name = both
    theirs = second(shared_data / "ifc" / name)["boxes"]
    # web-ifc takes the distance along an alignment for a height: what is placed on one is not compared
    local = [p for p in unique(model.by_type("IfcProduct")) if p.ObjectPlacement is None or p.ObjectPlacement.is_a("IfcLocalPlacement")]
    drawn = {p.GlobalId for p in local} & set(theirs) & set(ours.boxes)
    assert drawn or len(local) < 40 or not (theirs and ours.boxes)
    apart = {guid: float(np.abs(np.array(theirs[guid]) - ours.boxes[guid]).max()) for guid in drawn}
    far = {guid: distance for guid, distance in apart.items() if distance > 0.01 + 1e-6 * np.abs(ours.boxes[guid]).max()}
    assert len(far) <= MAY_DIFFER * len(drawn), (len(far), len(drawn), sorted(far.items(), key=lambda kv: -kv[1])[:5])


def test_the_second_engine_has_the_same_colours(both: tuple[ifcopenshell.file, Reading, str], shared_data: Path) -> None:
    """Of what the file gives a colour: a factor of diffuse reflection, which web-ifc leaves out, makes ours darker, all parts of it alike."""
    _, ours, name = both
    theirs = second(shared_data / "ifc" / name)["colors"]
    drawn = ours.colors.keys() & theirs.keys()
    assert drawn or not (ours.colors and theirs)
    for guid in drawn:
        usual = default_look(ours.features[guid]["class"])
        for style, color in ours.colors[guid]:
            if not style and all(min(other) == 1 for other in theirs[guid]):
                continue  # colours of single faces (IfcIndexedColourMap), which it does not read
            assert (style, color) == usual or any(alike(color, other) for other in theirs[guid]), (guid, color, theirs[guid])


def alike(color: Sequence[float], other: Sequence[float]) -> bool:
    factor = min(1.0, sum(color[:3]) / max(sum(other[:3]), 1e-9))
    return abs(color[3] - other[3]) < 0.01 and all(abs(a - factor * b) < 0.01 for a, b in zip(color[:3], other[:3], strict=True))
