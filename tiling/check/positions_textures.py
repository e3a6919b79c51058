"""Textures of the finest tiles against the images in the lake: the mean colour of every feature, looked up at the same places of all of its triangles.

Exchanged, darkened or otherwise wrong images and coordinates change it; a shift by some texels that leaves the mean as it is does not show.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .glb import Model
from .issues import Where
from .positions import listed, table_of
from .scene import Primitive
from .surfaces import areas

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
STEPS = 6
"""Rows of places in a triangle: 21 places."""
ROOM, CHANCE = 0.06, 5.0
"""What images lose when they are written, and by how many times what texels are off by chance the mean of some of a scaled image may be."""
EDGE = 0.01
"""Share of an image beside it that still counts as in it."""
_WRAPS = {10497: "repeat", 33648: "mirror", 33071: "clamp"}
_i, _j = (a.ravel() for a in np.meshgrid(np.arange(STEPS), np.arange(STEPS), indexing="ij"))
PLACES: F64 = np.column_stack([_i, _j, STEPS - 1 - _i - _j])[_i + _j < STEPS]
PLACES = (PLACES + 1 / 3) / STEPS
"""(21, 3) shares of a triangle's corners."""


class Textures:
    """Adds up what contents draw, (F, 6): Σ weight × (1, red, green, blue, their mean squared), and how many texels; and compares it in the end."""

    def __init__(self, count: int) -> None:
        self.drawn = np.zeros((count, 6))

    def see(self, model: Model, rows_of: Callable[[list[str]], I64]) -> None:
        """A finest content; `rows_of`: rows of ids, −1 for unknown ones."""
        found = dict[int, NDArray[np.uint8] | None]()
        for primitive in model.primitives:
            _, _, mesh, _, number = primitive.pointer.split("/")
            material = model.gltf.json["meshes"][int(mesh)]["primitives"][int(number)].get("material")
            info = {} if material is None else model.gltf.json["materials"][material].get("pbrMetallicRoughness", {}).get("baseColorTexture", {})
            uv, table = primitive.attributes.get(f"TEXCOORD_{info.get('texCoord', 0)}"), table_of(primitive)
            names = None if table is None else table.columns.get(table.semantics.get("ID", "id"))
            if "index" not in info or uv is None or not isinstance(names, list) or "KHR_texture_transform" in info.get("extensions", {}):
                continue
            texture = model.gltf.json["textures"][info["index"]]
            source = texture.get("extensions", {}).get("EXT_texture_webp", texture).get("source")
            if source is not None and source not in found:
                found[source] = _image(model, source)
            pixels = found.get(source)
            if pixels is None:
                continue
            sampler = model.gltf.json["samplers"][texture["sampler"]] if "sampler" in texture else {}
            wrap = tuple(_WRAPS[sampler.get(name, 10497)] for name in ("wrapS", "wrapT"))
            rows = rows_of([name or "" for name in names])
            self._add(primitive, np.asarray(uv, np.float64), pixels, (wrap[0], wrap[1]), rows)

    def _add(self, primitive: Primitive, uv: F64, pixels: NDArray[np.uint8], wrap: tuple[str, str], rows: I64) -> None:
        triangles = primitive.triangles()
        if not len(triangles):
            return
        sets = primitive.instance_feature_ids or primitive.feature_ids
        area = np.linalg.norm(areas((primitive.local @ primitive.transforms[0][:3, :3].T)[triangles])[0], axis=1)
        sums = looked(pixels, uv[triangles], area, wrap)
        if primitive.instance_feature_ids:
            np.add.at(self.drawn, rows[sets[0].ids][rows[sets[0].ids] >= 0], sums.sum(axis=0))
        else:
            own = rows[sets[0].ids[triangles[:, 0]]]
            np.add.at(self.drawn, own[own >= 0], sums[own >= 0])

    def finish(self, source_of: Callable[[int], F64], whole: NDArray[np.bool_], names: Callable[[I64], list[str]], where: Where) -> None:
        """Features that are drawn as a `whole` in other colours than the source's (`source_of`: the same sums of a row)."""
        wrong, worst = list[int](), 0.0
        for row in np.flatnonzero(whole & (self.drawn[:, 0] > 0)).tolist():
            drawn, source = self.drawn[row], source_of(row)
            if source[0] <= 0:
                continue
            mean = source[1:4] / source[0]
            spread = np.sqrt(max(source[4] / source[0] - float((mean**2).mean()), 0.0))
            off = float(np.abs(drawn[1:4] / drawn[0] - mean).max())
            if off > ROOM + CHANCE * spread / np.sqrt(min(source[5], drawn[5])):
                wrong.append(row)
                worst = max(worst, off)
        if wrong:
            where.error("TEXTURE_WRONG", f"{len(wrong)} features are drawn in other colours than their images have, by up to {worst:.0%} in the mean: {listed(names(np.array(wrong)))}")


def looked(pixels: NDArray[np.uint8], uv: F64, area: F64, wrap: tuple[str, str]) -> F64:
    """(T, 6) what triangles with coordinates (T, 3, 2; v downwards) show of an image (H, W, 4): see `Textures`."""
    at = np.nan_to_num(np.einsum("pc,tcd->tpd", PLACES, uv))
    inside: NDArray[np.bool_] = np.ones(at.shape[:2], bool)
    for k, way in enumerate(wrap):
        if way == "clamp":  # a few texels at the edge, drawn over and over, tell nothing of a scaled image: such triangles are left out
            inside &= (at[..., k] >= -EDGE) & (at[..., k] <= 1 + EDGE)
            at[..., k] = np.clip(at[..., k], 0, 1)
        elif way == "mirror":
            at[..., k] = 1 - np.abs(at[..., k] % 2 - 1)
        else:
            at[..., k] %= 1.0
    height, width = pixels.shape[:2]
    x, y = (np.clip((at[..., k] * size).astype(np.int64), 0, size - 1) for k, size in ((0, width), (1, height)))
    color = pixels[y, x] / 255.0
    weight = (area / len(PLACES))[:, None] * color[..., 3] * np.all(inside, axis=1, keepdims=True)
    texel = np.sort(np.where(weight > 0, y * width + x, -1), axis=1)
    other = (np.diff(texel, axis=1, prepend=-1) > 0).astype(np.float64)
    columns = (weight, *(weight * color[..., k] for k in range(3)), weight * (color[..., :3] ** 2).mean(axis=2), other)
    return np.stack([column.sum(axis=1) for column in columns], axis=1)


def decoded(data: bytes) -> NDArray[np.uint8] | None:
    """(H, W, 4) of an image file; None where it cannot be decoded, or has more than eight bits."""
    from PIL import Image  # noqa: PLC0415  most layers have no images

    try:
        with Image.open(io.BytesIO(data)) as image:
            return None if image.mode.startswith(("I", "F")) else np.asarray(image.convert("RGBA"))
    except Exception:  # noqa: BLE001  Pillow raises whatever its many decoders do; `materials` says it
        return None


def _image(model: Model, number: int) -> NDArray[np.uint8] | None:
    image = model.gltf.json["images"][number]
    data = model.gltf.view(image["bufferView"]) if "bufferView" in image else None
    return None if data is None else decoded(bytes(data))


class Images:
    """The images of a version by name, as pixels; the last few of them are kept."""

    def __init__(self, tables: list[Any]) -> None:
        self._data = {name: (table, k) for table in tables for k, name in enumerate(table.column("image").to_pylist())}
        self.pixels = lru_cache(maxsize=8)(self._pixels)

    def _pixels(self, name: str) -> NDArray[np.uint8] | None:
        table, row = self._data[name]
        return decoded(table.column("data")[row].as_py())
