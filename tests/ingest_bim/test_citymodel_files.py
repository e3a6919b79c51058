"""City models in many files: one layer with the columns of all, each file by its own codes, templates and places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest_bim.citymodels import citygml, cityjson
from tests.ingest_bim.test_citygml import building, hull, save
from tests.ingest_bim.test_cityjson import CUBE, SHELL, document
from twin import intake
from twin.errors import BadFeature, BadInput, BadReference, UnreadableSource
from twin.model import Mesh, Report


def features(module: Any, source: Any, **options: Any) -> tuple[dict[str, dict[str, Any]], dict[str, Any], Report]:
    """Attributes that are stated and the drawn corners of each feature, by id."""
    report = Report()
    rows: dict[str, dict[str, Any]] = {}
    corners: dict[str, Any] = {}
    for mesh in module.read(source, module.Options(**options), report):
        assert isinstance(mesh, Mesh)
        ids = mesh.ids.to_pylist()
        for name, row in zip(ids, mesh.attributes.to_pylist(), strict=True):
            rows[name] = {key: value for key, value in row.items() if value is not None}
        for p, feature, matrix in zip(mesh.instance_prototype, mesh.instance_feature, mesh.transforms, strict=True):
            own = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]] @ matrix[:3, :3].T + matrix[:3, 3]
            corners[ids[feature]] = corners.get(ids[feature], []) + np.round(own, 6).tolist()
    return rows, corners, report


def tiles(folder: Path) -> list[Path]:
    """Two tiles of a delivered package, whose buildings have different attributes, with a code list beside them."""
    made = []
    for number, extra in enumerate(("<bldg:measuredHeight uom='m'>9.5</bldg:measuredHeight>", "<bldg:yearOfConstruction>1998</bldg:yearOfConstruction>")):
        home = folder / "udx" / "bldg" / f"{number}"
        home.mkdir(parents=True)
        text = hull().replace('id="', f'id="t{number}-').replace('href="#', f'href="#t{number}-')
        made.append(save(home, building(extra + text, f"b{number}")))
    lists = folder / "codelists"
    lists.mkdir()
    (lists / "use.xml").write_text('<?xml version="1.0"?><Dictionary/>')
    return made


def test_a_folder_is_its_files(tmp_path: Path) -> None:
    paths = tiles(tmp_path)
    rows, corners, report = features(citygml, tmp_path)
    apart = [features(citygml, path) for path in paths]
    assert rows == apart[0][0] | apart[1][0] and len(rows) == 2 * 7
    assert corners == apart[0][1] | apart[1][1]
    assert rows["b0"]["measuredHeight"] == 9.5 and rows["b1"]["yearOfConstruction"] == "1998"
    assert [row["objects"] for row in report.facts["files"]] == [1, 1] and report.read == report.kept == 2
    assert features(citygml, paths)[0] == rows
    assert intake.ingest_params(tmp_path, "city")["reader"] == "citygml"  # although a code list comes first by name


def test_templates_are_those_of_their_file(tmp_path: Path) -> None:
    """Both files call their template 0; the second's is twice as high."""
    for name, size in (("a", 1), ("b", 2)):
        tree = {"type": "SolitaryVegetationObject", "geometry": [{"type": "GeometryInstance", "template": 0, "boundaries": [0], "transformationMatrix": np.eye(4).ravel().tolist()}]}
        templates = {"templates": [{"type": "MultiSurface", "lod": "2", "boundaries": SHELL}], "vertices-templates": [[x, y, z * size] for x, y, z in CUBE]}
        (tmp_path / f"{name}.city.json").write_text(json.dumps(document(CityObjects={name: tree}, **{"geometry-templates": templates})))
    _, corners, report = features(cityjson, tmp_path)
    high = {name: np.ptp(np.array(points)[:, 2]) for name, points in corners.items()}
    assert high["b"] == pytest.approx(2 * high["a"])
    assert report.facts["driver"] == "CityJSON 2.0"


def test_what_does_not_fit(tmp_path: Path) -> None:
    paths = tiles(tmp_path)
    again = tmp_path / "again"
    again.mkdir()
    other = save(again, building(hull(), "b0"))
    rows, _, report = features(citygml, [*paths, other])
    assert len(rows) == 2 * 7
    assert [note.feature for note in report.notes if note.action == "refused"] == ["b0"]
    other.write_text(other.read_text().replace("25832", "25833"))
    with pytest.raises(BadReference, match=r"model\.gml is in EPSG:25833"):
        features(citygml, [*paths, other])
    other.write_text(other.read_text()[:-40])
    with pytest.raises(UnreadableSource):
        features(citygml, [*paths, other])
    other.write_text("<html/>")
    _, _, report = features(citygml, tmp_path)
    assert [note.feature for note in report.notes if "not such a city model" in note.reason] == ["again/model.gml"]
    with pytest.raises(BadFeature, match="no city model"):
        features(citygml, [other, other.with_name("none.gml")])


def test_a_folder_without_models(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(BadInput, match="No reader of folders"):
        intake.ingest_params(tmp_path, "city")
