"""Models in ZIPs: with their textures and code lists, and archives that must not be unpacked."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from ingest_bim import package
from ingest_bim.citymodels import citygml, cityjson
from ingest_bim.meshfiles import reader as meshfile
from tests.ingest_bim.test_citygml import save
from tests.ingest_bim.test_meshfile import PLACE, WALL
from tests.ingest_bim.test_textures import COORDINATES, appearance, document, wall
from tests.ingest_bim.texture_helpers import quarters
from twin import intake
from twin.errors import BadInput, BadOption, TwinError, UnreadableSource
from twin.model import Mesh, Report


def pack(path: Path, **entries: bytes | str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def test_each_kind_with_its_texture(tmp_path: Path) -> None:
    """A texture beside the model's folder but inside the ZIP is the package's own; one outside is not read."""
    image = quarters(tmp_path / "a.png").read_bytes()
    gml = save(tmp_path, wall(appearance(COORDINATES, uri="../img/a.png"))).read_text()
    obj = {"m/m.obj": "mtllib m.mtl\n" + WALL, "m/m.mtl": "newmtl a\nmap_Kd ../img/a.png\n"}
    import json

    model = document()
    model["appearance"]["textures"][0]["image"] = "../img/a.png"
    cases = [("gml.zip", "citygml", citygml, {"m/a.gml": gml}, {}), ("obj.zip", "meshfile", meshfile, obj, PLACE),
             ("json.zip", "cityjson", cityjson, {"m/a.city.json": json.dumps(model)}, {})]  # fmt: skip
    for name, reader, module, entries, options in cases:
        path = pack(tmp_path / name, **{**entries, "img/a.png": image})
        assert intake.choose_reader(path, None, {}).name == reader
        report = Report()
        (mesh,) = [b for b in module.read(path, module.Options(**options), report) if isinstance(b, Mesh)]  # type: ignore[attr-defined]
        assert list(mesh.images.values()) == [image] and report.facts["member"].startswith("m/"), name
        outside = {key: (value.replace("../img", "../../../img") if isinstance(value, str) else value) for key, value in entries.items()}
        report = Report()
        (mesh,) = [b for b in module.read(pack(tmp_path / name, **{**outside, "img/a.png": image}), module.Options(**options), report) if isinstance(b, Mesh)]  # type: ignore[attr-defined]
        assert not mesh.images and any(n.action == "refused" for n in report.notes), name


def test_several_models(tmp_path: Path) -> None:
    gml = save(tmp_path, wall("")).read_text()
    path = pack(tmp_path / "a.zip", **{"a.gml": gml, "b.gml": gml, "codelists/c.xml": "<x/>", "__MACOSX/a.gml": "x"})
    report = Report()
    assert len(list(citygml.read(path, citygml.Options(), report))) == 1
    assert [row["name"] for row in report.facts["files"]] == ["a.zip/a.gml", "a.zip/b.gml"] and report.kept == 1  # the second repeats the ids of the first
    with pytest.raises(BadOption, match=r"c\.gml"):
        list(citygml.read(path, citygml.Options(member="c.gml"), Report()))
    assert len(list(citygml.read(path, citygml.Options(member="b.gml"), Report()))) == 1
    with pytest.raises(BadOption, match="not a ZIP"):
        list(citygml.read(save(tmp_path, wall("")), citygml.Options(member="b.gml"), Report()))


def test_names_that_climb(tmp_path: Path) -> None:
    """Slip, absolute names, drives and links: not written anywhere, listed, and the model is read all the same."""
    gml = save(tmp_path, wall("")).read_text()
    home = tmp_path / "in"
    home.mkdir()
    with zipfile.ZipFile(home / "a.zip", "w") as archive:
        archive.writestr("a.gml", gml)
        for name in ("../slip.txt", "x/../../slip.txt", "/tmp/twin-slip.txt", "..\\slip.txt", "C:\\slip.txt"):
            archive.writestr(zipfile.ZipInfo(name), "slip")
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    report = Report()
    assert len(list(citygml.read(home / "a.zip", citygml.Options(), report))) == 1
    assert len([n for n in report.notes if n.action == "refused" and "leads out" in n.reason]) == 6
    assert not list(tmp_path.rglob("slip.txt")) and not Path("/tmp/twin-slip.txt").exists()


def test_bombs_and_broken_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = pack(tmp_path / "bomb.zip", **{"a.gml": save(tmp_path, wall("")).read_text(), "b.png": bytes(1 << 26)})
    with pytest.raises(UnreadableSource, match="times its size"):
        list(citygml.read(bomb, citygml.Options(), Report()))
    many = pack(tmp_path / "many.zip", **{f"{i}.gml": "<x/>" for i in range(30)})
    monkeypatch.setattr(package, "MAX_FILES", 20)
    with pytest.raises(UnreadableSource, match="30 files"):
        list(citygml.read(many, citygml.Options(), Report()))
    whole = pack(tmp_path / "whole.zip", **{"a.gml": "<x/>" * 1000}).read_bytes()
    for name, data in (("cut.zip", whole[:-30]), ("text.zip", b"no zip"), ("crc.zip", whole[:60] + b"\xff" * 8 + whole[68:])):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(TwinError):
            list(citygml.read(tmp_path / name, citygml.Options(), Report()))
    with pytest.raises(UnreadableSource, match="no model"):
        list(citygml.read(pack(tmp_path / "none.zip", **{"readme.txt": "x"}), citygml.Options(), Report()))
    with pytest.raises(BadInput):
        intake.choose_reader(pack(tmp_path / "other.zip", **{"readme.txt": "x"}), None, {})


def test_names_of_entries_in_gbk(tmp_path: Path) -> None:
    """Chinese Windows packs names in its code page and does not say so; the texture was missing and its name was read as nonsense."""
    obj = {"MMMM/m.obj": "mtllib m.mtl\n" + WALL, "MMMM/m.mtl": "newmtl a\nmap_Kd 墙面.png\n"}
    path = pack(tmp_path / "obj.zip", **{**obj, "MMMM/WWWW.png": quarters(tmp_path / "a.png").read_bytes()})
    path.write_bytes(path.read_bytes().replace(b"MMMM", "模型".encode("gbk")).replace(b"WWWW", "墙面".encode("gbk")))
    report = Report()
    mesh = next(iter(meshfile.read(path, meshfile.Options(**PLACE), report)))
    assert isinstance(mesh, Mesh) and mesh.materials[0].texture is not None and report.facts["member"] == "模型/m.obj"
