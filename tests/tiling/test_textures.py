"""Textures in tiles: what a client would draw at a place, read from the glb by hand with another image decoder."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from tiling_helpers import assert_valid

from tests.ingest_bim.texture_helpers import QUARTERS, quarters
from tiling.check import check_tileset
from tiling.meshes import tiler
from tiling.meshes.textures import RIM, SIDE, THIN, Format, Quality, _clear, _cut, _decoded, _encoded, _pages, _Picture, _spread
from twin import crs
from twin.archive import Archive
from twin.lake import Lake
from twin.model import Material, Mesh, Reference, Report, Texture, Wrap
from twin.parts import write_version
from twin.registry import TileJob

PLACE = (405_000.0, 2_498_000.0, 20.0)
REFERENCE = Reference("EPSG:4547", "EPSG:4979")


def walls(images: list[bytes], uv: list[Any], wrap: Wrap = "repeat", *, apart: float = 30.0, names: str = "w") -> Mesh:
    """A wall of 10 m by 10 m a picture, looking south, each 30 m east of the one before; `uv` are those of its four corners (v down)."""
    count = len(images)
    keys = [hashlib.sha256(data).hexdigest() for data in images]
    sizes = [Image.open(io.BytesIO(data)).size for data in images]
    materials = [Material("", (1.0, 1.0, 1.0, 1.0), False, Texture(key, size, (wrap, wrap))) for key, size in zip(keys, sizes, strict=True)]
    transforms = np.tile(np.eye(4), (count, 1, 1))
    transforms[:, :3, 3] = np.array(PLACE) + np.arange(count)[:, None] * [apart, 0, 0]
    corners = np.array([[0, 0, 0], [10, 0, 0], [10, 0, 10], [0, 0, 10.0]])
    return Mesh(
        REFERENCE, pa.array([f"{names}{i}" for i in range(count)]), pa.table({"n": list(range(count))}), np.tile(corners, (count, 1)),
        np.tile(np.array([[0, 1, 2], [0, 2, 3]], np.int32), (count, 1)), np.repeat(np.arange(count, dtype=np.int32), 2), np.arange(0, 4 * count + 1, 4),
        np.arange(0, 2 * count + 1, 2), np.arange(count, dtype=np.int32), np.arange(count, dtype=np.int32), transforms, tuple(materials), None,
        np.concatenate([np.array(four, np.float32)[[[0, 1, 2], [0, 2, 3]]] for four in uv]), None, dict(zip(keys, images, strict=True)),
    )  # fmt: skip


FULL = [[0, 1], [1, 1], [1, 0], [0, 0]]


def tiles(folder: Path, lake: Lake, *meshes: Mesh, **options: Any) -> tuple[dict[str, bytes], dict[str, Any]]:
    """(the contents by name, the tileset), checked."""
    version = write_version(lake, "w", "mesh", list(meshes), Report(), provenance={})
    out = folder / "w.3tz"
    tiler.tile(version, TileJob(lake, out, tiler.Options(**options)))
    found = check_tileset(out)
    assert found.ok, [str(f) for f in found.findings]
    with Archive(out) as archive:
        document = json.loads(archive.read("tileset.json"))
        names: list[str] = []
        queue = [document["root"]]
        while queue:
            tile = queue.pop()
            names += [tile["content"]["uri"]] if "content" in tile else []
            queue += tile.get("children", [])
        return {name: archive.read(name) for name in names}, document


class Glb:
    """A glb read by hand (glTF 2.0, 3.6 and 4.4): arrays of accessors, images by Pillow."""

    def __init__(self, data: bytes) -> None:
        length = struct.unpack_from("<I", data, 12)[0]
        self.json = json.loads(data[20 : 20 + length])
        self.body = data[28 + length :]

    def array(self, number: int) -> Any:
        accessor = self.json["accessors"][number]
        view = self.json["bufferViews"][accessor["bufferView"]]
        kind = np.dtype({5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}[accessor["componentType"]])
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        stride = view.get("byteStride", kind.itemsize * width)
        start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        rows = np.lib.stride_tricks.as_strided(np.frombuffer(self.body, "u1", offset=start), (accessor["count"], kind.itemsize * width), (stride, 1))
        return np.ascontiguousarray(rows).view(kind).reshape(accessor["count"], width)

    def image(self, texture: int) -> tuple[Any, dict[str, int]]:
        entry = self.json["textures"][texture]
        source = entry.get("source", entry.get("extensions", {}).get("EXT_texture_webp", {}).get("source"))
        view = self.json["bufferViews"][self.json["images"][source]["bufferView"]]
        with Image.open(io.BytesIO(self.body[view.get("byteOffset", 0) :][: view["byteLength"]])) as image:
            return np.asarray(image.convert("RGBA")), self.json["samplers"][entry["sampler"]]

    def drawn(self, point: Any) -> tuple[int, ...] | None:
        """The nearest texel at a place of the tile's frame (y up), None where the surface is plain."""
        for node in self.json["nodes"]:
            for primitive in self.json["meshes"][node["mesh"]]["primitives"]:
                place = self.array(primitive["attributes"]["POSITION"]) * np.array(node.get("scale", [1, 1, 1])) + node.get("translation", [0, 0, 0])
                for corners in self.array(primitive["indices"]).reshape(-1, 3):
                    system = np.vstack([place[corners].T, [1, 1, 1]])
                    weights, *_ = np.linalg.lstsq(system, np.append(point, 1.0), rcond=None)
                    if (weights < -1e-3).any() or np.abs(system @ weights - np.append(point, 1.0)).max() > 5e-3:
                        continue
                    look = self.json["materials"][primitive["material"]]["pbrMetallicRoughness"].get("baseColorTexture")
                    if look is None:
                        return None
                    pixels, sampler = self.image(look["index"])
                    uv = weights @ self.array(primitive["attributes"]["TEXCOORD_0"])[corners]
                    at = [wrapped(float(c), sampler[key], size) for c, key, size in zip(uv, ("wrapS", "wrapT"), pixels.shape[1::-1], strict=True)]
                    return tuple(int(v) for v in pixels[at[1], at[0]])
        raise AssertionError("nothing is drawn there")


def wrapped(value: float, mode: int, size: int) -> int:
    """glTF 2.0, 5.26: repeat, mirrored repeat, clamp."""
    if mode == 10497:
        value %= 1
    elif mode == 33648:
        value = 1 - abs(value % 2 - 1)
    return int(np.clip(np.floor(value * size), 0, size - 1))


def point(document: dict[str, Any], x: float, z: float, wall: int = 0, apart: float = 30.0) -> Any:
    """A place on a wall in its tile's frame, glTF axes: through pyproj's ECEF and the leaf's own transform."""
    xyz = np.array([[PLACE[0] + apart * wall + x, PLACE[1], PLACE[2] + z]])
    ecef = crs.geodetic_to_ecef(crs.to_geodetic(REFERENCE, xyz))[0]
    matrix = np.array(document["root"]["transform"]).reshape(4, 4).T
    local = np.linalg.solve(matrix, np.append(ecef, 1.0))[:3]
    return np.array([local[0], local[2], -local[1]])


@pytest.mark.parametrize(("kind", "tolerance"), [("webp", 24), ("png", 0), ("jpeg", 24)])
def test_what_is_drawn(tmp_path: Path, lake: Lake, kind: str, tolerance: int) -> None:
    """Three images in one atlas, one of them turned: the colour at the middle of every quarter of every wall."""
    data = quarters(tmp_path / "q.png", 64).read_bytes()
    green = io.BytesIO()
    Image.new("RGB", (40, 100), (10, 200, 30)).save(green, "PNG")
    turned = [[0, 0], [1, 0], [1, 1], [0, 1]]
    other = quarters(tmp_path / "r.png", 32).read_bytes()
    contents, document = tiles(tmp_path, lake, walls([data, green.getvalue(), other], [FULL, FULL, turned]), textures=kind)
    (glb,) = contents.values()
    assert_valid(glb)
    read = Glb(glb)
    assert len(read.json["images"]) == 1 and ("EXT_texture_webp" in read.json.get("extensionsRequired", [])) == (kind == "webp")
    for wall, expected in ((0, QUARTERS), (1, [(10, 200, 30)] * 4), (2, [QUARTERS[i] for i in (2, 3, 0, 1)])):
        for (x, z), color in zip([(2.5, 7.5), (7.5, 7.5), (2.5, 2.5), (7.5, 2.5)], expected, strict=True):
            found = read.drawn(point(document, x, z, wall))
            assert found is not None
            assert np.abs(np.array(found[:3]) - color).max() <= tolerance, (wall, x, z)


def test_no_bleeding(tmp_path: Path, lake: Lake) -> None:
    """At the very edge of a wall, and at its mipmaps up to the eighth, there is the wall's own colour."""
    images = []
    for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)):
        file = io.BytesIO()
        Image.new("RGB", (50, 30), color).save(file, "PNG")
        images.append(file.getvalue())
    contents, document = tiles(tmp_path, lake, walls(images, [FULL] * 4), textures="png")
    (glb,) = contents.values()
    read = Glb(glb)
    for wall, color in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))):
        for x, z in ((0.001, 0.001), (9.999, 0.001), (9.999, 9.999), (0.001, 9.999)):
            found = read.drawn(point(document, x, z, wall))
            assert found is not None and found[:3] == color
    atlas, _ = read.image(0)
    small = np.asarray(Image.fromarray(atlas).reduce(RIM))  # what a mipmap three levels down is made of
    uv = read.array(read.json["meshes"][0]["primitives"][0]["attributes"]["TEXCOORD_0"])
    for u, v in uv:
        x, y = min(int(u * atlas.shape[1]), atlas.shape[1] - 1), min(int(v * atlas.shape[0]), atlas.shape[0] - 1)
        mean = small[min(y // RIM, len(small) - 1), min(x // RIM, small.shape[1] - 1)][:3].astype(int)
        assert max(mean) >= 250 and (min(mean) >= 250 or sorted(mean)[1] <= 5)

@pytest.mark.parametrize("kind", ["squares", "diamonds"])
def test_patches_of_one_image_take_no_colour_from_each_other(tmp_path: Path, lake: Lake, kind: str) -> None:
    """64 walls show a patch each of one image, beside patches of other colours: a coarse tile, drawn with bilinear filtering, shows each wall's own colour (168 of 255 off before)."""
    rng, count, side = np.random.default_rng(1), 8, 64
    palette = np.array([(230, 30, 30), (30, 230, 30), (30, 30, 230), (240, 240, 240), (10, 10, 10), (230, 230, 20)], np.uint8)
    chosen = rng.integers(6, size=(count, count))
    pixels = palette[chosen].repeat(side, axis=0).repeat(side, axis=1)
    x, y = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    if kind == "diamonds":  # what lies outside of them, but within their boxes, is of another colour
        outside = np.abs(x - side / 2) + np.abs(y - side / 2) > side / 2
        pixels = np.where(np.tile(outside, (count, count))[..., None], palette[(chosen + 1) % 6].repeat(side, axis=0).repeat(side, axis=1), pixels)
    square, diamond = [(0, 1), (1, 1), (1, 0), (0, 0)], [(0.5, 1), (1, 0.5), (0.5, 0), (0, 0.5)]
    uv = [[((k % count + u) / count, (k // count + v) / count) for u, v in (diamond if kind == "diamonds" else square)] for k in range(count**2)]
    contents, document = tiles(tmp_path, lake, walls([png(pixels)] * count**2, uv, apart=12.0), textures="png", budget=100)
    assert document["root"]["geometricError"] > 10 and document["root"]["children"]
    read, worst, seen = Glb(contents[document["root"]["content"]["uri"]]), [], 0
    for node in read.json["nodes"]:
        for primitive in read.json["meshes"][node["mesh"]]["primitives"]:
            atlas = read.image(read.json["materials"][primitive["material"]]["pbrMetallicRoughness"]["baseColorTexture"]["index"])[0][:, :, :3].astype(float)
            corners, owner = read.array(primitive["attributes"]["TEXCOORD_0"]), read.array(primitive["attributes"]["_FEATURE_ID_0"])[:, 0].astype(int)
            for triangle in read.array(primitive["indices"]).reshape(-1, 3):
                color = palette[chosen.ravel()[numbers(read)[owner[triangle[0]]]]]
                found = bilinear(atlas, rng.dirichlet([0.4, 0.4, 0.4], 100) @ corners[triangle])
                worst.append(np.abs(found - color).max())
                seen += 1
    assert seen >= 30
    assert max(worst) <= 2, max(worst)


@pytest.mark.parametrize("scale", [0.5, 0.13, 0.04])
def test_patches_of_clear_images_take_nothing_from_each_other(scale: float) -> None:
    """Diamonds of a clear image, each amid opaque red and clear black of its neighbours: as a client draws them, each keeps its own green and stays whole to its edges, or has its own holes."""
    side, rng = 200, np.random.default_rng(2)
    x, y = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    outside = np.abs(x - side / 2) + np.abs(y - side / 2) > side / 2
    uv = np.array([[[0.5, 0], [1, 0.5], [0.5, 1]], [[0.5, 0], [0.5, 1], [0, 0.5]]])
    for around, hole in (((250, 20, 20, 255), False), ((0, 0, 0, 0), False), ((250, 20, 20, 255), True), ((0, 0, 0, 0), True)):
        pixels = np.where(outside[..., None], np.array(around), np.array([60, 150, 40, 255])).astype(np.uint8)
        if hole:
            pixels[:, : side // 2, 3] = np.where(outside, pixels[:, :, 3], 0)[:, : side // 2]
        picture = _Picture(Texture("diamond", (side, side)), np.zeros(2, np.int64), repeats=False, crop=(0, 0, side, side), scale=scale, patch=True)
        image, way = _cut(Image.fromarray(pixels), picture, uv)
        assert way == ("mask" if hole else "none")
        texels = np.asarray(image.convert("RGBA")).astype(float)
        at = (rng.dirichlet([0.4, 0.4, 0.4], 4000)[:, None] * uv[rng.integers(2, size=4000)].swapaxes(1, 2)).sum(axis=2)
        drawn = bilinear(texels, at)
        clear = hole & (at[:, 0] < 0.5)
        sure = np.abs(at[:, 0] - 0.5) * side * scale > 1.5 if hole else np.ones(len(at), bool)
        assert (drawn[sure & ~clear, 3] > 127.5).all() and (drawn[sure & clear, 3] < 127.5).all()
        assert np.abs(drawn[drawn[:, 3] > 127.5][:, :3] - (60, 150, 40)).max() < 3


def numbers(read: Glb) -> Any:
    """The column `n` of a tile's features."""
    (table,) = read.json["extensions"]["EXT_structural_metadata"]["propertyTables"]
    view = read.json["bufferViews"][table["properties"]["n"]["values"]]
    return np.frombuffer(read.body, f"<u{view['byteLength'] // table['count']}", table["count"], view.get("byteOffset", 0))


def bilinear(image: Any, uv: Any) -> Any:
    """(N, 3) colours of an image at (N, 2) texture coordinates, as a client filters them."""
    x, y = (uv * (image.shape[1], image.shape[0]) - 0.5).T
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    total = np.zeros((len(uv), image.shape[2]))
    for i in range(2):
        for j in range(2):
            weight = (x - left if i else left + 1 - x) * (y - top if j else top + 1 - y)
            total += weight[:, None] * image[np.clip(top + j, 0, image.shape[0] - 1), np.clip(left + i, 0, image.shape[1] - 1)]
    return total


@pytest.mark.parametrize("wrap", ["repeat", "mirror", "clamp"])
def test_repeats(tmp_path: Path, lake: Lake, wrap: Wrap) -> None:
    """Three repetitions over the wall keep an image of their own and its mode; whole shifts of a picture go into the atlas."""
    data = quarters(tmp_path / "q.png", 64).read_bytes()
    thrice = [[0, 3], [3, 3], [3, 0], [0, 0]]
    shifted = [[5, -6], [6, -6], [6, -7], [5, -7]]
    contents, document = tiles(tmp_path, lake, walls([data, data], [thrice, shifted], wrap), textures="png")
    (glb,) = contents.values()
    assert_valid(glb)
    read = Glb(glb)
    expected = {10497: [0, 0, 0], 33648: [0, 1, 0], 33071: [0, 1, 1]}  # left half at each third, of the first row of colours
    mode = {"repeat": 10497, "mirror": 33648, "clamp": 33071}[wrap]
    for third, column in enumerate(expected[mode]):
        found = read.drawn(point(document, third * 10 / 3 + 10 / 12, 9.5))
        assert found is not None and found[:3] == QUARTERS[column]
    if wrap == "repeat":
        assert [read.drawn(point(document, x, z, 1))[:3] for z in (7.5, 2.5) for x in (2.5, 7.5)] == list(QUARTERS)  # type: ignore[index]


@pytest.mark.parametrize("form", ["webp", "jpeg"])
def test_a_palette_keeps_its_colours(form: Format) -> None:
    """Cells of four texels, as low-poly models have them; WebP with loss mixes their colours by up to 100 steps."""
    cells = np.random.default_rng(2).integers(0, 256, (8, 8, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    found = np.asarray(Image.open(io.BytesIO(_encoded(Image.fromarray(cells), Quality(format=form)))).convert("RGB"))
    assert np.array_equal(found, cells)


def test_scaled_by_level(tmp_path: Path, lake: Lake) -> None:
    """An inner tile has no more texels than its error needs; leaves have all; every texture decodes."""
    rng = np.random.default_rng(5)
    images = []
    for _ in range(60):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (128, 128, 3), np.uint8)).save(file, "PNG")
        images.append(file.getvalue())
    contents, document = tiles(tmp_path, lake, walls(images, [FULL] * 60, apart=200.0), textures="png", budget=100)
    queue, seen = [document["root"]], {"leaf": 0, "inner": 0}
    while queue:
        tile = queue.pop()
        queue += tile.get("children", [])
        read = Glb(contents[tile["content"]["uri"]])
        texels = sum(int(np.prod(read.image(i)[0].shape[:2])) for i in range(len(read.json.get("textures", []))))
        walls_here = len({tuple(row) for p in read.json["meshes"][0]["primitives"] for row in read.array(p["attributes"]["_FEATURE_ID_0"]).tolist()})
        if tile.get("children"):
            seen["inner"] += 1
            wanted = min(128.0, 10 / (tile["geometricError"] / 16)) if tile["geometricError"] else 128
            assert texels <= walls_here * (wanted + 2 + 2 * THIN) ** 2 * 1.6
        else:
            seen["leaf"] += 1
            assert texels >= walls_here * 128**2
    assert seen["inner"] >= 1 and seen["leaf"] >= 2


def test_same_bytes_and_the_limit(tmp_path: Path, lake: Lake) -> None:
    data = [quarters(tmp_path / f"{i}.png", 256 + 2 * i).read_bytes() for i in range(6)]
    first, _ = tiles(tmp_path, lake, walls(data, [FULL] * 6))
    again, _ = tiles(tmp_path, lake, walls(data, [FULL] * 6))
    assert first == again
    limited, _ = tiles(tmp_path, lake, walls(data, [FULL] * 6), texels=1 << 16)
    (glb,) = limited.values()
    pixels, _ = Glb(glb).image(0)
    assert pixels.shape[0] * pixels.shape[1] < (1 << 16) * 2.5
    plain, _ = tiles(tmp_path, lake, walls(data, [FULL] * 6), textures="none")
    assert all("images" not in Glb(glb).json for glb in plain.values())


def test_clear_images_are_masks(tmp_path: Path, lake: Lake) -> None:
    """An image with clear texels is drawn as a mask; one whose alpha is full everywhere is not."""
    clear, full = io.BytesIO(), io.BytesIO()
    pixels = np.full((32, 32, 4), 255, np.uint8)
    Image.fromarray(pixels).save(full, "PNG")
    pixels[:16, :, 3] = 0
    Image.fromarray(pixels).save(clear, "PNG")
    contents, document = tiles(tmp_path, lake, walls([clear.getvalue(), full.getvalue()], [FULL] * 2), textures="png")
    read = Glb(next(iter(contents.values())))
    assert sorted(m.get("alphaMode", "OPAQUE") for m in read.json["materials"]) == ["MASK", "OPAQUE"]
    assert read.drawn(point(document, 5, 8))[3] == 0 and read.drawn(point(document, 5, 2))[3] == 255  # type: ignore[index]


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("form", ["png", "webp"])
@pytest.mark.parametrize("scale", [1.0, 0.5, 0.13])
def test_clear_texels_darken_no_edge(form: Format, scale: float) -> None:
    """Green disks on black that is clear, drawn as a client draws them: bilinear, cut out at one half. Nothing drawn is darker than the disks (by what WebP and Lanczos lose)."""
    rng = np.random.default_rng(1)
    size = 300
    pixels = np.zeros((size, size, 4), np.uint8)
    rows, columns = np.mgrid[:size, :size]
    for x, y, radius in zip(*rng.uniform(0, size, (2, 40)), rng.uniform(8, 28, 40), strict=True):
        pixels[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = (60, 150, 40, 255)
    picture = _Picture(Texture("disks", (size, size)), np.zeros(0, np.int64), repeats=False, crop=(0, 0, size, size), scale=scale)
    image, way = _cut(_decoded(png(pixels), picture), picture, np.zeros((0, 3, 2)))
    assert way == "mask" and image.size == picture.size
    with Image.open(io.BytesIO(_encoded(image, Quality(format=form)))) as file:
        texels = np.asarray(file.convert("RGBA")).astype(float)
    height, width = texels.shape[:2]
    v, u = rng.uniform(0, height - 1.001, 50_000), rng.uniform(0, width - 1.001, 50_000)
    i, j = v.astype(int), u.astype(int)
    fy, fx = (v - i)[:, None], (u - j)[:, None]
    drawn = (texels[i, j] * (1 - fx) + texels[i, j + 1] * fx) * (1 - fy) + (texels[i + 1, j] * (1 - fx) + texels[i + 1, j + 1] * fx) * fy
    drawn = drawn[drawn[:, 3] >= 127.5]
    assert len(drawn) > 10_000
    assert np.abs(drawn[:, :3] - (60, 150, 40)).max() < (3 if form == "png" else 15)


def test_how_a_camera_was_held_turns_no_texture() -> None:
    """EXIF says that the picture is to be turned by a quarter; coordinates belong to its pixels as they are stored."""
    held = Image.Exif()
    held[274] = 6
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = (250, 0, 0)
    looks = []
    for more in ({}, {"exif": held}):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling=0, **more)
        picture = _Picture(Texture("red", (32, 16)), np.zeros(0, np.int64), repeats=False, crop=(0, 0, 32, 16), scale=1.0)
        looks.append(np.asarray(_cut(_decoded(file.getvalue(), picture), picture, np.zeros((0, 3, 2)))[0]))
    assert looks[1].shape == (16, 32, 3)
    assert np.array_equal(*looks)
    assert looks[1][8, 4, 0] > 230 and looks[1][8, 28, 0] < 20


def test_colours_are_spread_from_the_nearest_that_are_seen() -> None:
    pixels = np.zeros((5, 7, 4), np.uint8)
    pixels[0, 0], pixels[0, 1], pixels[4, 6] = (200, 0, 0, 255), (100, 0, 0, 51), (0, 0, 90, 255)
    found = _spread(pixels)
    assert np.array_equal(found[:, :, 3], pixels[:, :, 3])
    assert np.array_equal(found[0, :2], pixels[0, :2])
    assert found[1, 0].tolist() == found[1, 1].tolist() == [183, 0, 0, 0]  # (200 · 255 + 100 · 51) / 306
    assert found[4, 4].tolist() == [0, 0, 90, 0]
    assert not _spread(np.zeros((3, 2, 4), np.uint8)).any()


def test_half_clear_areas_are_blended(tmp_path: Path, lake: Lake) -> None:
    """A mask would take away a pane of glass (alpha 100) and make a ramp a step; smooth edges of a leaf stay a mask, but below a material that lets light through."""
    pixels = np.full((4, 64, 64, 4), 200, np.uint8)
    pixels[0, :, :, 3] = 100
    pixels[1, :, :, 3] = np.linspace(0, 255, 64)
    pixels[2:, :, :, 3] = np.clip((20 - np.hypot(*(np.indices((64, 64)) - 31.5))) * 128 + 128, 0, 255)  # a disc, its edge two texels wide
    data = [png(one) for one in pixels]
    data[3] = data[3] + b"\0"  # another file of the same pixels
    faint = Material("", (1.0, 1.0, 1.0, 0.4), False, walls(data, [FULL] * 4).materials[3].texture)
    for wrapped_uv in (FULL, [[0, 3], [3, 3], [3, 0], [0, 0]]):
        mesh = walls(data, [wrapped_uv] * 4)
        mesh = Mesh(**{**mesh.__dict__, "materials": (*mesh.materials[:3], faint)})
        contents, document = tiles(tmp_path, lake, mesh, textures="png")
        (glb,) = contents.values()
        assert_valid(glb)
        read = Glb(glb)
        looks = [m for m in read.json["materials"] if "baseColorTexture" in m["pbrMetallicRoughness"]]
        modes = sorted((m.get("alphaMode", "OPAQUE"), m["pbrMetallicRoughness"].get("baseColorFactor", [1])[-1]) for m in looks)
        assert list(dict.fromkeys(modes)) == [("BLEND", 0.4), ("BLEND", 1), ("MASK", 1)]
        assert read.drawn(point(document, 5, 5))[3] == 100  # type: ignore[index]
    assert _clear(pixels[0, :1, :1, 3]) == "blend" and _clear(np.full((5, 5), 255, np.uint8)) == "none"


def test_greys_of_sixteen_bits(tmp_path: Path, lake: Lake) -> None:
    """They keep their upper bytes; all above 255 was white."""
    grey = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(64, axis=0)
    contents, document = tiles(tmp_path, lake, walls([png(grey)], [FULL]), textures="png")
    read = Glb(next(iter(contents.values())))
    for x in (1.0, 4.0, 9.0):
        found = read.drawn(point(document, x, 5))
        assert found is not None and np.abs(np.array(found[:3]) - x / 10 * 255).max() <= 3


def test_a_broken_image_is_reported(tmp_path: Path, lake: Lake) -> None:
    data = quarters(tmp_path / "q.png", 64).read_bytes()
    mesh = walls([data], [FULL])
    broken = {key: value[:80] for key, value in mesh.images.items()}
    version = write_version(lake, "w", "mesh", [Mesh(**{**mesh.__dict__, "images": broken})], Report(), provenance={})
    facts = tiler.tile(version, TileJob(lake, tmp_path / "w.3tz", tiler.Options()))
    assert facts["stats"]["triangles"] == 2 and any("cannot be drawn" in n["reason"] for n in facts["report"]["notes"])


def test_pages_hold_everything_once() -> None:
    """No two images with their rims overlap, none leaves the page, and a page is no larger than a client takes."""
    rng = np.random.default_rng(9)
    sizes = [(int(w), int(h)) for w, h in rng.integers(1, 1500, (60, 2))]
    pages = _pages(sizes, RIM)
    assert sorted(i for page in pages for i, _, _ in page) == list(range(60)) and len(pages) > 1
    for page in pages:
        taken = np.zeros((SIDE, SIDE), bool)
        for i, x, y in page:
            box = taken[y - RIM : y + sizes[i][1] + RIM, x - RIM : x + sizes[i][0] + RIM]
            assert box.shape == (sizes[i][1] + 2 * RIM, sizes[i][0] + 2 * RIM) and not box.any()
            box[:] = True


def test_colours_of_corners(tmp_path: Path, lake: Lake) -> None:
    """Vertex colours come out as COLOR_0, linear (glTF 2.0, 3.7.2.1)."""
    mesh = walls([quarters(tmp_path / "q.png").read_bytes()], [FULL])
    colors = np.zeros((2, 3, 4), np.uint8)
    colors[:] = (128, 0, 255, 255)
    plain = Mesh(**{**mesh.__dict__, "uv": None, "images": {}, "materials": (Material("", (1, 1, 1, 1)),), "colors": colors})
    contents, _ = tiles(tmp_path, lake, plain)
    read = Glb(next(iter(contents.values())))
    found = read.array(read.json["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"])
    assert set(map(tuple, found.tolist())) == {(55, 0, 255, 255)}  # 128 in sRGB is 21.6 % of light


@pytest.mark.parametrize(("kind", "said"), [("png", 1), ("none", 1), ("jpeg", 0)])
def test_a_quality_that_has_no_effect_is_said(tmp_path: Path, lake: Lake, kind: str, said: int) -> None:
    version = write_version(lake, "w", "mesh", [walls([png(np.full((8, 8, 3), 200, np.uint8))], [FULL])], Report(), provenance={})
    told = tiler.tile(version, TileJob(lake, tmp_path / "q.3tz", tiler.Options(textures=kind, texture_quality=40)))
    assert sum("texture_quality=40 has no effect" in note["reason"] for note in told["report"]["notes"]) == said
