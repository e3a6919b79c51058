"""What is wrong with a terrain although every file is well formed: a client would show a wrong picture, or none."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "terrain"))

from terrain_decoder import decode
from terrain_helpers import hills, write_dem
from test_extensions import write_water

from ingest_gis import terrain as reader
from tests.conformance.test_positions_layers import _patched, finest, rewritten
from tiling.check import Report, Where, check_layer, check_tileset
from tiling.check.terrain_tile import MAX, TerrainTile, _check_normals, decode_terrain
from tiling.terrain import tiler as terrain
from twin.lake import Lake
from twin.model import LayerVersion
from twin.model import Report as ReadReport
from twin.parts import write_version
from twin.registry import TileJob

Files = dict[str, bytes]


Layer = tuple[LayerVersion, Lake, dict[str, Any]]


@pytest.fixture(scope="module")
def river(tmp_path_factory: pytest.TempPathFactory) -> Layer:
    """Hills with a river: the version, where it is, and the tiler's facts."""
    folder = tmp_path_factory.mktemp("terrain")
    lake, report = Lake(folder / "lake"), ReadReport("hills")
    source = write_dem(folder / "a.tif", hills(150, 150))
    batches = reader.read(source, reader.Options(vertical="EGM96", water=str(write_water(folder / "water.geojson"))), report)
    version = write_version(lake, "dem", "terrain", batches, report, provenance={})
    facts = terrain.tile(version, TileJob(lake, folder / "t.3tz", terrain.Options(max_level=15)))
    return version, lake, facts


@pytest.fixture(scope="module")
def archive(river: Layer) -> Path:
    """Its tiles."""
    path = river[1].root.parent / "t.3tz"
    assert check_tileset(path).ok
    return path


def tile(change: Callable[[bytes], bytes], mixed: bool = False) -> Callable[[Files], None]:
    """Change a tile of the finest level; a `mixed` one holds land and water, as differently as can be from top to bottom."""

    def edit(files: Files) -> None:
        names = finest(files)
        name = max(names, key=lambda one: _turned(files[one])) if mixed else names[len(names) // 2]
        files[name] = change(files[name])

    return edit


def layer(**changes: Any) -> Callable[[Files], None]:
    def edit(files: Files) -> None:
        value = {**json.loads(files["layer.json"]), **changes}
        files["layer.json"] = json.dumps({k: v for k, v in value.items() if v is not None}).encode()

    return edit


def extension(data: bytes, kind: int) -> tuple[int, int]:
    """(where the body of an extension begins, its length)."""
    body = decode(data, 0, 0, 0).extensions[kind]
    return data.index(struct.pack("<BI", kind, len(body)) + body) + 5, len(body)


def _mask(data: bytes) -> np.ndarray:
    at, length = extension(data, 2)
    return np.frombuffer(data[at : at + length], np.uint8)


def _turned(data: bytes) -> float:
    """How much of a mask an upside-down one differs in."""
    mask = _mask(data)
    return float((mask != mask.reshape(256, -1)[::-1].ravel()).mean()) if len(mask) > 1 else 0.0


def flipped(data: bytes) -> bytes:
    """The water of a tile upside down."""
    at, length = extension(data, 2)
    return data[:at] + _mask(data).reshape(256, 256)[::-1].tobytes() + data[at + length :]


def drowned(data: bytes) -> bytes:
    """All of a tile is water, in a byte each."""
    at, length = extension(data, 2)
    return data[:at] + b"\xff" * length + data[at + length :]


def mirrored(data: bytes) -> bytes:
    """Normals of a tile at about 113° E, 22.6° N, each turned by half around the vertical: what leans east leans west."""
    at, length = extension(data, 1)
    normals = decode(data, 0, 0, 0).normals()
    lam, phi = np.radians(113), np.radians(22.6)
    up = np.array([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])
    turned = 2 * (normals @ up)[:, None] * up - normals
    turned = turned / np.abs(turned).sum(axis=1, keepdims=True)
    folded = (1 - np.abs(turned[:, [1, 0]])) * np.where(turned[:, :2] >= 0, 1, -1)
    flat = np.where(turned[:, 2:] < 0, folded, turned[:, :2])
    return data[:at] + np.rint((flat + 1) / 2 * 255).astype(np.uint8).tobytes() + data[at + length :]


def occlusion(scale: Callable[[np.ndarray], np.ndarray]) -> Callable[[bytes], bytes]:
    return lambda data: _patched(data, "<3d", 64, *scale(np.array(struct.unpack_from("<3d", data, 64))))


@pytest.mark.parametrize(
    ("code", "edit"),
    [
        ("TERRAIN_OCCLUSION_INVALID", tile(occlusion(lambda p: -p))), ("TERRAIN_OCCLUSION_INVALID", tile(occlusion(lambda p: p[[1, 0, 2]]))),
        ("TERRAIN_OCCLUSION_INVALID", tile(occlusion(lambda p: p / np.linalg.norm(p)))), (None, tile(occlusion(lambda p: p * 1.001))),
        ("TERRAIN_NORMALS_INVALID", tile(mirrored)),
        ("TERRAIN_WATER_INVALID", tile(flipped, mixed=True)), ("TERRAIN_WATER_INVALID", tile(drowned, mixed=True)),
        ("TERRAIN_ADDRESS", layer(tiles=["{z}/{y}/{x}.terrain"])), ("TERRAIN_ADDRESS", layer(tiles=["{z}/{x}/{y}.quantized"])),
        ("TERRAIN_ADDRESS", layer(tiles=["{z}/{x}/{y}.terrain?v={version}"], version=None)), (None, layer(tiles=["./{z}/{x}/{y}.terrain?v={version}"])),
        (None, layer(tiles=["https://tiles.example.org/{z}/{y}/{x}"])), ("TERRAIN_AVAILABLE", layer(minzoom=3)),
        ("TERRAIN_METADATA_INVALID", layer(extensions=["octvertexnormals", "watermask"])),
        ("TERRAIN_BOUNDS", layer(bounds=[113.0, -22.6, 113.03, -22.57])), (None, layer(bounds=[-180, -90, 180, 90])),
    ],
)  # fmt: skip
def test_what_is_well_formed_and_wrong(archive: Path, code: str | None, edit: Callable[[Files], None]) -> None:
    report = check_tileset(rewritten(archive, edit))
    assert report.codes() == ({code} if code else set()), report.errors[:3]


@pytest.mark.parametrize(("inner", "code"), [(1, None), (-1, "TERRAIN_NORMALS_INVALID")])
def test_normals_of_the_border_count_the_ground_beyond(inner: int, code: str | None) -> None:
    """A tile that rises a little to the east ends at cliffs that its triangles do not show: only what stands inside tells its side."""
    u, v = (axis.ravel() * (MAX // 4) for axis in np.meshgrid(np.arange(5), np.arange(5)))
    u, v = np.where(u >= MAX - 3, MAX, u), np.where(v >= MAX - 3, MAX, v)
    height, cells = 0.05 * u / MAX * 1112, np.add.outer(5 * np.arange(4), np.arange(4)).ravel()
    triangles = np.concatenate([cells[:, None] + [0, 1, 6], cells[:, None] + [0, 6, 5]])
    lonlat = np.column_stack([u, v]) / MAX * 0.01
    border = (u == 0) | (u == MAX) | (v == 0) | (v == MAX)
    lean = np.where(border, 0.7, -0.05 * inner)  # at 0° N 0° E x is up and y is east
    normals = np.column_stack([np.sqrt(1 - lean**2), lean]) / (np.sqrt(1 - lean**2) + np.abs(lean))[:, None]
    body = np.rint((normals + 1) / 2 * 255).astype(np.uint8).tobytes()
    report = Report()
    _check_normals(body, TerrainTile(u, v, lonlat, height, triangles, 0.01), Where(report, "t"))
    assert report.codes() == ({code} if code else set()), report.errors


def texels(change: Callable[[np.ndarray], None]) -> Callable[[bytes], bytes]:
    """A tile with texels of its mask changed."""

    def edit(data: bytes) -> bytes:
        at, length = extension(data, 2)
        mask = _mask(data).reshape(256, 256).copy()
        change(mask)
        return data[:at] + mask.tobytes() + data[at + length :]

    return edit


def _eaten(mask: np.ndarray) -> None:
    """A texel of water less, all along the eastern shores: within what a middle decides."""
    mask[:, :-1][mask[:, 1:] == 0] = 0


def _swapped(mask: np.ndarray) -> None:
    row, column = np.argwhere(mask[8:-8, 8:-8] == 255)[0]
    mask[row : row + 16, column : column + 16] ^= 255


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("TERRAIN_WATER_WRONG", lambda mask: mask.__setitem__(slice(None), np.roll(mask, 4, axis=1))),
        ("TERRAIN_WATER_WRONG", lambda mask: mask.__setitem__(slice(None), np.roll(mask, 3, axis=0))),
        ("TERRAIN_WATER_WRONG", _swapped), ("TERRAIN_WATER_WRONG", lambda mask: mask.__setitem__((slice(0, 3), slice(0, 60)), 255 - mask[0, 0])),
        (None, _eaten), (None, lambda mask: None),
    ],
)  # fmt: skip
def test_little_water_in_the_wrong_place(river: Layer, archive: Path, code: str | None, change: Callable[[np.ndarray], None]) -> None:
    """Less than 3% of a tile is passed by where levels are compared with each other; the source's polygons tell every texel."""
    version, lake, facts = river
    copy = rewritten(archive, tile(texels(change), mixed=True))
    assert "TERRAIN_WATER_WRONG" not in check_tileset(copy).codes()
    report = check_layer(version, lake, copy, info=facts)
    assert report.codes() - {"TERRAIN_WATER_INVALID"} == ({code} if code else set()), report.errors[:3]


def test_a_vertex_of_the_border_that_triangles_pass_by() -> None:
    """West of the tile lies a vertex between two others; that the neighbour stands on it opens a crack, though no ground is uncovered on the map."""

    def by_hand(triangles: list[int]) -> bytes:
        def delta(values: list[int]) -> bytes:
            steps = np.diff(values, prepend=0)
            return ((steps << 1) ^ (steps >> 31)).astype("<u2").tobytes()

        corners = [(0, 0), (MAX, 0), (MAX, MAX), (0, MAX), (0, 16384)]
        body = struct.pack("<3d2f4d3d", 6378137, 0, 0, 0, 10, 6378137, 0, 0, 2e7, 1.1, 0, 0) + struct.pack("<I", 5)
        body += b"".join(delta([c[k] for c in corners]) for k in range(2)) + delta([0, 0, 0, 0, MAX]) + struct.pack("<I", len(triangles) // 3)
        highest, codes = 0, []
        for i in triangles:
            codes.append(highest - i)
            highest += codes[-1] == 0
        body += np.array(codes, "<u2").tobytes()
        for axis, at in ((0, 0), (1, 0), (0, MAX), (1, MAX)):
            side = [i for i, c in enumerate(corners) if c[axis] == at]
            body += struct.pack("<I", len(side)) + np.array(side, "<u2").tobytes()
        return body

    for triangles, expected in (([0, 1, 2, 0, 2, 3], {"TERRAIN_GAPS"}), ([0, 1, 2, 2, 3, 4, 0, 2, 4], set())):
        report = Report()
        decode_terrain(by_hand(triangles), 7, 128, 64, Where(report, "t"))
        assert report.codes() == expected, report.errors


# --- the same ground as 3D Tiles -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[LayerVersion, Lake, Path, dict[str, Any]]:
    """Hills as 3D Tiles alone."""
    folder = tmp_path_factory.mktemp("models")
    lake, report = Lake(folder / "lake"), ReadReport("hills")
    batches = reader.read(write_dem(folder / "a.tif", hills(90, 90)), reader.Options(vertical="EGM96"), report)
    version = write_version(lake, "dem", "terrain", batches, report, provenance={})
    facts = terrain.tile(version, TileJob(lake, folder / "t.3tz", terrain.Options(output="3dtiles")))
    return version, lake, folder / "t.3tz", facts


UP = 0.5
"""Metres."""


def below(tile: dict[str, Any]) -> list[dict[str, Any]]:
    """A tile and all below it."""
    return [tile, *(found for child in tile.get("children", []) for found in below(child))]


def level(tile: dict[str, Any]) -> int:
    return int(tile["content"]["uri"].split("/")[-3])


def raised(root: dict[str, Any]) -> None:
    """The finest level too high, and its volumes with it, which are made larger everywhere so that this is not what is found."""
    for one in below(root):
        box = np.array(one["boundingVolume"]["box"]).reshape(4, 3)
        one["boundingVolume"] = {"box": [*box[0], *(box[1:] * 3 + np.diag([50.0, 50, 50])).ravel()]}
    finest = max(level(one) for one in below(root) if "content" in one)
    for one in below(root):
        if "content" in one and level(one) == finest:
            matrix = np.array(one.get("transform", np.eye(4).T.ravel())).reshape(4, 4).T
            one["transform"] = (matrix @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, UP], [0, 0, 0, 1.0]])).T.ravel().tolist()


def understated(root: dict[str, Any]) -> None:
    for one in below(root):
        one["geometricError"] /= 100


def cut(root: dict[str, Any]) -> None:
    next(one for one in below(root) if one.get("children") and not one["children"][-1].get("children"))["children"].pop()


@pytest.mark.parametrize(
    ("code", "change"),
    [(None, lambda root: None), ("HEIGHT_OFF", raised), ("TERRAIN_ERROR_UNDERSTATED", understated), ("CONTENT_UNREACHED", cut),
     ("TERRAIN_LEVELS_ADDED", lambda root: root.update(refine="ADD"))],
)  # fmt: skip
def test_ground_as_3d_tiles_that_is_well_formed_and_wrong(models: tuple[LayerVersion, Lake, Path, dict[str, Any]], code: str | None, change: Callable[[Any], Any]) -> None:
    version, lake, path, facts = models

    def edit(files: Files) -> None:
        document = json.loads(files["tileset.json"])
        change(document["root"])
        files["tileset.json"] = json.dumps(document).encode()

    report = check_layer(version, lake, rewritten(path, edit), info=facts)
    assert code in report.codes() if code else report.codes() == set(), report.errors[:3]
    assert report.positions is not None and report.positions["vertices"] > 1000
