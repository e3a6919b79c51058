"""Everything of a model is found again: by the API's tables and items, by the command, and in the tiles' metadata."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ifcopenshell
import ifcopenshell.util.element as element_util
import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from twin import cli, parts
from twin.api import create_app
from twin.archive import Archive
from twin.city import City
from twin.intake import ingest_params
from twin.settings import Settings
from twin.tasks import require, submit, work

PLACED = {"vertical": "EGM96", "crs": "EPSG:32631", "anchor": "500000,5000000,0", "confirm": True, "workers": 2}


class Served:
    """A city with one model, its API and its tiles."""

    def __init__(self, home: Path, path: Path) -> None:
        self.city = City(Settings(home=home, workers=1))
        self.result = require(work(self.city, submit(self.city, "ingest", ingest_params(path, "house", options=PLACED))))
        self.client = TestClient(create_app(self.city))

    def rows(self, table: str, where: str | None = None) -> list[dict[str, Any]]:
        """All rows of a table, page by page."""
        found: list[dict[str, Any]] = []
        url: str | None = f"/collections/house/tables/{table}"
        query: dict[str, str] | None = {"limit": "1000"} | ({"filter": where} if where else {})
        while url:
            answer = self.client.get(url, params=query)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found += page["rows"]
            url, query = next((link["href"] for link in page["links"] if link["rel"] == "next"), None), None
        assert len(found) == page["numberMatched"]
        return found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> tuple[Served, Any]:
    path = shared_data / "ifc" / "AC20-FZK-Haus.ifc"
    return Served(tmp_path_factory.mktemp("city"), path), ifcopenshell.open(path)


def test_every_property_and_quantity_is_found_by_a_query(house: tuple[Served, Any]) -> None:
    served, model = house
    tables = {name: served.rows(name) for name in ("psets", "quantities")}
    found = {(r["id"], r.get("pset") or r["qset"], r.get("property") or r["quantity"]) for rows in tables.values() for r in rows}
    checked = 0
    for product in [*model.by_type("IfcProduct"), *model.by_type("IfcTypeObject")]:
        for set_name, values in element_util.get_psets(product).items():
            for prop in set(values) - {"id"}:
                assert (product.GlobalId, set_name, prop) in found
                checked += 1
    assert checked > 3000
    wall = model.by_type("IfcWallStandardCase")[0]
    one = served.rows("psets", f"id = '{wall.GlobalId}' AND property = 'ThermalTransmittance'")
    assert [r["unit"] for r in one] == ["W/(m²·K)"]
    item = served.client.get(f"/collections/house/items/{wall.GlobalId}").json()["properties"]
    assert set(element_util.get_psets(wall, psets_only=True)) == set(item["psets"])
    assert set(element_util.get_psets(wall, qtos_only=True)) == set(item["quantities"])


def test_every_relation_is_found_by_a_query(house: tuple[Served, Any]) -> None:
    served, model = house
    voids = {(r["from"], r["to"]) for r in served.rows("relations", "relation = 'voids'")}
    assert voids == {(r.RelatingBuildingElement.GlobalId, r.RelatedOpeningElement.GlobalId) for r in model.by_type("IfcRelVoidsElement")}
    one, opening = next(iter(sorted(voids)))
    assert {r["relation"] for r in served.rows("relations", f"\"from\" = '{one}' AND \"to\" = '{opening}'")} == {"voids"}
    bounds = served.rows("relations", "relation = 'bounds'")
    assert len(bounds) == sum(r.RelatedBuildingElement is not None for r in model.by_type("IfcRelSpaceBoundary"))


def test_every_globalid_is_an_item(house: tuple[Served, Any]) -> None:
    served, model = house
    for product in model.by_type("IfcProduct"):
        value = served.client.get(f"/collections/house/items/{product.GlobalId}").json()
        assert (value["id"], value["properties"]["class"]) == (product.GlobalId, product.is_a())


def test_common_values_are_in_the_tiles(house: tuple[Served, Any]) -> None:
    """GlobalIds, classes and common properties of what is drawn, read from the glb's property tables without our decoder."""
    served, model = house
    names, texts = set(), b""
    for derivation in served.city.catalog.derivations("house"):
        for key in derivation.archives:
            with Archive(served.city.lake.path(key)) as archive:
                for name in archive.names():
                    if name.endswith(".glb"):
                        data = archive.read(name)
                        size = struct.unpack_from("<I", data, 12)[0]
                        metadata = json.loads(data[20 : 20 + size])["extensions"]["EXT_structural_metadata"]
                        names |= {p for c in metadata.get("schema", {}).get("classes", {}).values() for p in c["properties"]}
                        texts += data[20 + size :]
    drawn = list(parts.read_features(served.city.lake, served.city.published("house")[1], ["has_geometry"]))
    ids = [i for batch in drawn for i, has in zip(batch.ids.to_pylist(), batch.attributes.column("has_geometry").to_pylist(), strict=True) if has]
    assert len(ids) == served.result["report"]["facts"]["geometry"]["drawn"]
    assert all(i.encode() in texts for i in ids)
    assert not names or {"class", "name", "storey", "is_external"} <= names
    assert model.by_type("IfcDoor")[0].Name.encode() in texts


def test_tables_that_are_not_there_and_filters_that_do_not_fit(house: tuple[Served, Any]) -> None:
    served, _ = house
    listed = served.client.get("/collections/house/tables").json()["tables"]
    assert {t["name"] for t in listed} == {"psets", "quantities", "relations", "materials", "classifications", "documents", "types", "material_properties", "attributes", "property_notes", "layers"}
    assert served.client.get("/collections/house/tables/none").status_code == 404
    assert served.client.get("/collections/house/tables/psets", params={"filter": "nonsense = 1"}).status_code == 400
    assert served.client.get("/collections/house/tables/psets", params={"where": "x"}).status_code == 400
    assert served.client.get("/collections/none/tables").status_code == 404
    first = served.client.get("/collections/house/tables/psets", params={"limit": 2}).json()["rows"]
    second = served.client.get("/collections/house/tables/psets", params={"limit": 1, "offset": 1}).json()["rows"]
    assert second == first[1:]


def test_the_command_reads_tables(house: tuple[Served, Any]) -> None:
    served, model = house
    home = str(served.city.settings.home)
    listed = CliRunner().invoke(cli.main, ["table", "house", "--home", home])
    assert listed.exit_code == 0, listed.output
    assert "relations" in listed.output
    found = CliRunner().invoke(cli.main, ["table", "house", "relations", "--filter", "relation = 'fills'", "--home", home, "--json"])
    assert json.loads(found.output)["matched"] == len(model.by_type("IfcRelFillsElement"))


def test_the_grade_and_the_content_are_reported(house: tuple[Served, Any]) -> None:
    served, model = house
    facts = served.result["report"]["facts"]
    assert facts["content"]["spaces"] == len(model.by_type("IfcSpace"))  # its storeys have no shape of their own
    assert facts["content"]["components"] > 50
    assert facts["grade"]["value"] in ("CIM6", "CIM7")


def test_what_lies_below_the_ground_says_so(tmp_path: Path, model_file: Callable[..., Path], step: Callable[..., str]) -> None:
    text = step("#112=IFCAXIS2PLACEMENT3D(#113,$,$);").replace("#113=IFCCARTESIANPOINT((10.,0.,0.));", "#113=IFCCARTESIANPOINT((10.,0.,-4.));")
    served = Served(tmp_path / "city", model_file(text.replace("#112=IFCAXIS2PLACEMENT3D(#113,$,$);\n#112", "#112", 1)))
    values = {i["id"]: i["properties"]["below_ground"] for i in served.client.get("/collections/house/items").json()["features"]}
    assert (values["1000000000000000000001"], values["1000000000000000000002"]) == (False, True)
    assert served.city.published("house")[1].style["underground"] == "below_ground"
