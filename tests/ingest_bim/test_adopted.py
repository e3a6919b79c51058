"""Tilesets of others taken over: their bytes come out of the API as they were, and what they may not refer to is left out."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyproj
import pytest
import trimesh
from click.testing import CliRunner
from fastapi.testclient import TestClient

from ingest_bim.tilesets import files as adopted_files
from ingest_bim.tilesets import reader as adopted
from tiling import adopted as tiler
from twin import grading, intake
from twin.api import create_app
from twin.archive import Archive
from twin.city import City
from twin.cli import main
from twin.errors import BadFeature, BadOption, MissingReference, TwinError, UnreadableSource
from twin.lake import Lake
from twin.model import LayerVersion, Report
from twin.parts import from_json, to_json, write_version
from twin.registry import TileJob, parse_options

PLACE = (112.6, 22.5, 30.0)


def transform() -> list[float]:
    """Column-major matrix of a frame at PLACE, by pyproj alone: its axes need not be right for these tests, its origin must."""
    ecef = pyproj.Transformer.from_crs(4979, 4978, always_xy=True).transform(*PLACE)
    matrix = np.eye(4)
    matrix[:3, 3] = ecef
    return list(map(float, matrix.T.ravel()))


def tileset(folder: Path, content: str = "tiles/a.glb", **changes: Any) -> Path:
    """A tileset of one box of 10 m by 10 m by 10 m."""
    (folder / "tiles").mkdir(parents=True, exist_ok=True)
    trimesh.creation.box((10, 10, 10)).export(folder / "tiles/a.glb")
    root = {
        "transform": transform(),
        "boundingVolume": {"box": [0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 5]},
        "geometricError": 0,
        "refine": "ADD",
        "content": {"uri": content},
    }
    document = {"asset": {"version": "1.1"}, "geometricError": 10, "root": root | changes}
    path = folder / "tileset.json"
    path.write_text(json.dumps(document))
    return path


def take(lake: Lake, path: Path, **options: Any) -> tuple[LayerVersion, Report]:
    report = Report(source=path.name)
    version = write_version(lake, "t", "tileset", adopted.read(path, adopted.Options(**options), report), report, provenance={})
    return from_json(to_json(version)), report


def files(lake: Lake, version: LayerVersion) -> dict[str, bytes]:
    """What the lake's archive holds, by Python's own ZIP reader."""
    (part,) = version.parts
    with zipfile.ZipFile(lake.path(part.key)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.startswith("@")}


def test_a_folder(tmp_path: Path, lake: Lake) -> None:
    path = tileset(tmp_path / "in")
    (tmp_path / "in/secret.txt").write_text("not referred to")
    assert intake.choose_reader(path, None, {}).name == "tileset"
    version, report = take(lake, path)
    assert files(lake, version) == {"tileset.json": path.read_bytes(), "tiles/a.glb": (tmp_path / "in/tiles/a.glb").read_bytes()}
    assert version.extent is not None and (report.read, report.kept) == (1, 1)
    assert (version.extent.minx + version.extent.maxx) / 2 == pytest.approx(PLACE[0], abs=1e-7) and (
        version.extent.miny + version.extent.maxy
    ) / 2 == pytest.approx(PLACE[1], abs=1e-6)
    box = version.parts[0].bounds
    assert box is not None and box.minz == pytest.approx(PLACE[2] - 8.7, abs=1.5) and box.maxz == pytest.approx(PLACE[2] + 8.7, abs=1.5)


def test_through_the_api(tmp_path: Path) -> None:
    """Ingest, info, check, serve: the root points at the archive, and the content's bytes are the file's."""
    path, home = tileset(tmp_path / "in"), tmp_path / "city"

    def twin(*arguments: str, code: int = 0) -> Any:
        result = CliRunner().invoke(main, [*arguments, "--home", str(home), "--json"])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout.strip().splitlines()[-1])

    twin("ingest", str(path), "--layer", "others", "--grade", "CIM3")
    info = twin("info", "others")
    assert info["layer"]["kind"] == "tileset" and info["tileset"]["info"]["report"]["facts"]["check"] == {"valid": True, "errors": 0, "warnings": 0}
    assert twin("check", "others")["errors"] == 0 and info["layer"]["grade"] == "CIM3"
    with TestClient(create_app(City.open(home))) as client:
        collection = client.get("/collections/others").json()
        assert "items" not in {link["rel"] for link in collection["links"]} and collection["twin:kind"] == "tileset"
        (root,) = (link["href"] for link in collection["links"] if link["rel"] == "tiles3d")
        uri = client.get(root).json()["root"]["content"]["uri"]
        inner = client.get(root.rpartition("/")[0] + "/" + uri)
        assert inner.json() == json.loads(path.read_text())
        content = client.get(root.rpartition("/")[0] + "/" + uri.rpartition("/")[0] + "/tiles/a.glb")
        assert content.content == (tmp_path / "in/tiles/a.glb").read_bytes()
    twin("export", "others", "--to", str(tmp_path / "out"))
    assert (tmp_path / "out/tiles/a.glb").read_bytes() == (tmp_path / "in/tiles/a.glb").read_bytes()


def test_a_3tz(tmp_path: Path, lake: Lake) -> None:
    """An archive, ours or a plain ZIP with the suffix, with or without an index."""
    path = tileset(tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "a.3tz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "tileset.json")
        archive.write(tmp_path / "in/tiles/a.glb", "tiles/a.glb")
    version, _ = take(lake, tmp_path / "a.3tz")
    again, _ = take(lake, lake.path(version.parts[0].key))
    assert files(lake, version) == files(lake, again) and version.parts[0].key == again.parts[0].key
    with Archive(lake.path(version.parts[0].key)) as ours:
        assert ours.read("tiles/a.glb") == (tmp_path / "in/tiles/a.glb").read_bytes()


def test_what_is_changed_is_reported(tmp_path: Path, lake: Lake) -> None:
    """Queries, tilesetVersion and gzipped files."""
    path = tileset(tmp_path / "in", content="tiles/a.glb?v=1.2")
    document = json.loads(path.read_text())
    document["asset"]["tilesetVersion"] = "1.2"
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    model = (tmp_path / "in/tiles/a.glb").read_bytes()
    (tmp_path / "in/tiles/a.glb").write_bytes(gzip.compress(model))
    version, report = take(lake, path)
    found = files(lake, version)
    assert found["tiles/a.glb"] == model and json.loads(found["tileset.json"])["root"]["content"]["uri"] == "tiles/a.glb"
    assert "tilesetVersion" not in json.loads(found["tileset.json"])["asset"]
    assert report.counts["repaired"] >= 3 and {n.feature for n in report.notes} == {"tileset.json", "tiles/a.glb"}


@pytest.mark.parametrize(("uri", "action", "reason"), [
    ("../secret.glb", "refused", "leads out"), ("tiles/../../secret.glb", "refused", "leads out"), ("/etc/passwd", "refused", "leads out"), ("%2e%2e/secret.glb", "refused", "leads out"),
    ("..\\secret.glb", "refused", "leads out"), ("tiles/none.glb", "skipped", "absent"), ("link.glb", "skipped", "absent"), ("https://example.org/a.glb", "skipped", "another server"),
    ("file:///etc/passwd", "skipped", "machine that wrote it"),
])  # fmt: skip
def test_what_is_not_copied(tmp_path: Path, lake: Lake, uri: str, action: str, reason: str) -> None:
    home = tmp_path / "in"
    child = {"boundingVolume": {"box": [0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 5]}, "geometricError": 0, "content": {"uri": uri}}
    path = tileset(home, children=[child])
    (tmp_path / "secret.glb").write_bytes(b"glTF secret")
    (home / "link.glb").symlink_to(tmp_path / "secret.glb")
    version, report = take(lake, path)
    assert set(files(lake, version)) == {"tileset.json", "tiles/a.glb"}
    assert [(n.action, reason in n.reason) for n in report.notes] == [(action, True)]


def test_refused(tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tileset(tmp_path / "in", transform=np.eye(4).ravel().tolist())
    with pytest.raises(MissingReference, match="not placed"):
        take(lake, path)
    path = tileset(tmp_path / "in", content="tiles/none.glb")
    with pytest.raises(BadFeature, match="no content"):
        take(lake, path)
    with pytest.raises(BadOption, match="crs"):
        take(lake, tileset(tmp_path / "in"), crs="EPSG:4547")
    for root in (
        {},
        {"boundingVolume": {}},
        {"boundingVolume": {"box": [1, 2]}},
        {"boundingVolume": {"region": [0, 2, 0, 1, 0, 1]}},
        {"boundingVolume": {"sphere": [0, 0, "x", 1]}},
        5,
    ):
        path.write_text(json.dumps({"asset": {"version": "1.1"}, "geometricError": 1, "root": root}))
        with pytest.raises(UnreadableSource):
            take(lake, path)
    (tmp_path / "bad.3tz").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(UnreadableSource):
        take(lake, tmp_path / "bad.3tz")
    with zipfile.ZipFile(tmp_path / "bomb.3tz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.glb", bytes(1 << 25))
    monkeypatch.setattr(adopted_files, "MAX_FILE", 1 << 20)
    with pytest.raises(UnreadableSource, match="unpack"):
        take(lake, tmp_path / "bomb.3tz")


def test_placed_by_hand(tmp_path: Path, lake: Lake) -> None:
    """The anchor by pyproj; turned by 90° the box's east side, 20 m long, looks south."""
    path = tileset(tmp_path / "in", transform=np.eye(4).ravel().tolist(), boundingVolume={"box": [10, 0, 0, 10, 0, 0, 0, 1, 0, 0, 0, 1]})
    version, _ = take(lake, path, anchor_lonlat="112.6,22.5,30", rotation=90)
    to_ecef = pyproj.Transformer.from_crs(4979, 4978, always_xy=True)
    matrix = np.array(json.loads(files(lake, version)["tileset.json"])["root"]["transform"]).reshape(4, 4).T
    assert matrix[:3, 3] == pytest.approx(to_ecef.transform(*PLACE), abs=1e-6)
    far = (matrix @ [20, 0, 0, 1])[:3]
    lon, lat, height = pyproj.Transformer.from_crs(4978, 4979, always_xy=True).transform(*far)
    assert (lon, height) == pytest.approx((PLACE[0], PLACE[2]), abs=1e-4) and lat == pytest.approx(PLACE[1] - 20 / 110_750, abs=2e-6)
    with pytest.raises(BadOption, match="anchor_lonlat"):
        parse_options(adopted.Options, {"anchor_lonlat": "1,2"}, "reader")


def test_samples_of_others(shared_data: Path, tmp_path: Path, lake: Lake) -> None:
    """Every tileset of the samples: all files that it needs are there (checked by our checker), those in metres of their own are placed by hand."""
    taken, local = [], []
    home = shared_data / "peer_suites/3d-tiles-samples"
    for path in sorted(home.rglob("tileset.json")):
        name = str(path.parent.relative_to(home))
        try:
            version, notes = take(lake, path)
        except MissingReference:
            local.append(name)
            if not any(f.suffix in (".glb", ".gltf", ".b3dm", ".pnts", ".i3dm") for f in path.parent.rglob("*")):
                with pytest.raises(BadFeature, match="no content"):
                    take(lake, path, anchor_lonlat="112.6,22.5,30")
                continue
            version, notes = take(lake, path, anchor_lonlat="112.6,22.5,30")
        assert adopted.detect(path, parse_options(adopted.Options, {}, "t"))
        for copied, data in files(lake, version).items():
            assert data == (path.parent / copied).read_bytes() or copied.endswith("tileset.json")
        facts = tiler.tile(version, TileJob(lake, tmp_path / "out.3tz", tiler.Options()))
        missing = {n["reason"].split("'")[1] for n in facts["report"]["notes"] if "RESOURCE_MISSING" in n["reason"]}
        assert not [uri for uri in missing if (path.parent / uri).exists()], (name, missing)
        assert missing <= {n.feature for n in notes.notes if "absent" in n.reason}, (name, missing)
        taken.append(name)
    assert len(taken) >= 15 and "1.1/SparseImplicitOctree" in local and "1.0/TilesetWithDiscreteLOD" not in local


def test_archives_within_are_unfolded(tmp_path: Path, lake: Lake) -> None:
    """`MAXAR_content_3tz`: few clients read archives within tilesets, and an archive of the lake holds none."""
    inner = tileset(tmp_path / "inner")
    with zipfile.ZipFile(tmp_path / "b.3tz", "w") as file:
        for name in ("tileset.json", "tiles/a.glb"):
            file.write(inner.parent / name, name)
    path = tileset(tmp_path)
    document = json.loads(path.read_text()) | {"extensionsUsed": ["MAXAR_content_3tz"], "extensionsRequired": ["MAXAR_content_3tz"]}
    part = {"boundingVolume": document["root"]["boundingVolume"], "geometricError": 0}
    document["root"]["children"] = [part | {"content": {"uri": uri}} for uri in ("b.3tz", "b.3tz/tiles/a.glb")]
    path.write_text(json.dumps(document))
    version, report = take(lake, path)
    found = files(lake, version)
    assert {"tileset.json", "tiles/a.glb", "b-3tz/tileset.json", "b-3tz/tiles/a.glb"} <= found.keys()
    outer = json.loads(found["tileset.json"])
    assert [child["content"]["uri"] for child in outer["root"]["children"]] == ["b-3tz/tileset.json", "b-3tz/tiles/a.glb"]
    assert not any(key.startswith("extensions") for key in outer)
    assert found["b-3tz/tiles/a.glb"] == (inner.parent / "tiles/a.glb").read_bytes()
    assert any("2 references to archives" in note.reason for note in report.notes)


def test_a_gzipped_tileset_is_recognised(tmp_path: Path) -> None:
    path = tileset(tmp_path)
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert adopted.detect(path, parse_options(adopted.Options, {}, "t"))
    path.write_bytes(gzip.compress(b'{"type": "FeatureCollection"}'))
    assert not adopted.detect(path, parse_options(adopted.Options, {}, "t"))


def test_what_is_said_of_contents(tmp_path: Path, lake: Lake) -> None:
    """A content in the tileset itself counts; one that is cut, one that is none, an extension that no client has are said."""
    model = trimesh.creation.box((10, 10, 10)).export(file_type="glb")
    box = {"boundingVolume": {"box": [0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 5]}, "geometricError": 0}
    inside = "data:model/gltf-binary;base64," + base64.b64encode(model).decode()
    path = tileset(tmp_path / "in", content=inside, children=[{**box, "content": {"uri": name}} for name in ("cut.glb", "none.b3dm", "tiles/a.glb")])
    (tmp_path / "in/cut.glb").write_bytes(model[:40])
    (tmp_path / "in/none.b3dm").write_bytes(b"hello")
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"extensionsUsed": ["VENDOR_x"], "extensionsRequired": ["VENDOR_x", "3DTILES_implicit_tiling"]}))
    _, report = take(lake, path)
    assert report.facts["contents"] == 4
    assert {(n.action, n.feature) for n in report.notes} == {("warned", "cut.glb"), ("warned", "none.b3dm"), ("warned", "tileset.json")}
    assert any("VENDOR_x" in n.reason for n in report.notes) and any(f"states {len(model)} bytes and has 40" in n.reason for n in report.notes)
    version, report = take(lake, tileset(tmp_path / "alone", content=inside))
    assert set(files(lake, version)) == {"tileset.json"} and report.kept == 1


@pytest.mark.parametrize(("text", "reason"), [("NaN", "NaN stands where JSON has a number"), ("[" * 100_000 + "]" * 100_000, "nested too deeply")])
def test_numbers_that_no_client_reads_and_depth(tmp_path: Path, lake: Lake, text: str, reason: str) -> None:
    path = tileset(tmp_path / "in")
    path.write_text(path.read_text().replace('"geometricError": 10', f'"geometricError": {text}'))
    with pytest.raises(UnreadableSource, match=reason):
        take(lake, path)


def test_a_3tz_packed_by_zstandard(tmp_path: Path, lake: Lake) -> None:
    """The specification of .3tz allows method 93; an archive as its own text (APPNOTE.TXT) describes it, with one byte changed, too."""
    path = tileset(tmp_path / "in")
    parts, directory, codec = bytearray(), bytearray(), pa.Codec("zstd")
    for name in ("tileset.json", "tiles/a.glb"):
        plain = (tmp_path / "in" / name).read_bytes()
        packed, at = codec.compress(plain, asbytes=True), len(parts)
        common = struct.pack("<HHHHHIIIHH", 63, 0, 93, 0, 0, zlib.crc32(plain), len(packed), len(plain), len(name), 0)
        parts += b"PK\3\4" + common + name.encode() + packed
        directory += b"PK\1\2" + struct.pack("<H", 63) + common + struct.pack("<HHHII", 0, 0, 0, 0, at) + name.encode()
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 2, 2, len(directory), len(parts), 0)
    (tmp_path / "z.3tz").write_bytes(parts + directory + end)
    version, _ = take(lake, tmp_path / "z.3tz")
    assert files(lake, version) == {name: (tmp_path / "in" / name).read_bytes() for name in ("tileset.json", "tiles/a.glb")} and path.exists()
    parts[len(parts) - 20] ^= 1
    (tmp_path / "z.3tz").write_bytes(parts + directory + end)
    with pytest.raises(UnreadableSource, match="unpacked"):
        take(lake, tmp_path / "z.3tz")


def test_files_may_have_any_name(tmp_path: Path, lake: Lake) -> None:
    """A root of another name beside a file called tileset.json: each reference leads where it led. A byte order mark goes; what metadata call `url` stays as it is."""
    path = tileset(tmp_path / "in", content="tiles/a.glb", children=[], metadata={"class": "c", "properties": {"url": "doc.pdf?page=3"}})
    beside = tmp_path / "in/root.json"
    whole = json.loads(path.read_text())
    beside.write_text("\ufeff" + json.dumps(whole | {"root": whole["root"] | {"content": {"uri": "tileset.json"}}}), encoding="utf-8")
    version, report = take(lake, beside)
    found = files(lake, version)
    assert json.loads(found["tileset.json"])["root"]["content"]["uri"] == "tileset-beside.json" and found["tileset-beside.json"] == path.read_bytes()
    assert sorted(found) == ["tiles/a.glb", "tileset-beside.json", "tileset.json"] and report.counts == {"repaired": 2}
    grade = grading.grade("tileset", report.facts)
    assert grade.value == "CIM2" and "1 of 1 contents" in grade.reasons[0] and grading.grade("tileset", {"content": {"points": 2}}).value == "CIM1"
    assert grading.grade("tileset", {"content": {"points": 2, "textured": 1}}).value == "CIM3"


@pytest.mark.parametrize("asset", [None, [], "1.1", 7])
def test_without_what_says_that_it_is_a_tileset(tmp_path: Path, asset: Any) -> None:
    document = {"geometricError": 1, "root": {"boundingVolume": {"region": [1.9, 0.39, 1.91, 0.4, 0, 50]}, "geometricError": 0, "content": {"uri": "a.glb"}}}
    (tmp_path / "tileset.json").write_text(json.dumps(document if asset is None else {**document, "asset": asset}))
    (tmp_path / "a.glb").write_bytes(b"glTF")
    with pytest.raises(TwinError, match=r"tileset\.json"):
        list(adopted.read(tmp_path / "tileset.json", adopted.Options(), Report()))
