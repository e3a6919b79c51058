"""The textures of one tile: images cut to what the tile shows, scaled to its level, packed into few atlases.

A tile that may be off by some metres needs no finer texels, so each image is scaled until a texel is as large as the tile's
own detail (`Quality.texel`); a leaf keeps what was delivered, up to a stated number of texels. Images whose triangles stay within one
repetition go into atlases, with a rim of their own edge pixels against bleeding; those that repeat keep an image of their
own and its wrap mode. What is clear is cut out (a mask) where it is clear or not, and blended where whole areas are half clear. The same input gives the same bytes: order is by digest, packing is by shelves, encoders have fixed settings.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiling.encoding.drawables import Surface
from tiling.meshes.charts import around, by_box, charts, filled
from twin.model import Material, Texture

if TYPE_CHECKING:
    from PIL import Image

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Format = Literal["webp", "png", "jpeg", "none"]
PALETTE, SPARE = 256, 256
"""Colours up to which an image is written without loss, if that takes no more bytes than so many on top."""
SIDE = 4096
"""Pixels of an atlas' side at most: what WebGL guarantees in practice."""
RIM = 8
"""Pixels around each image of a leaf's atlas: mipmaps up to 1/8 do not bleed."""
THIN = 2
"""The same of an inner tile, which is drawn at about the size of its pixels."""
PATCHES = 1 << 18
"""Texels of a picture whose patches lie apart; where they would take more, and twice what the picture takes as a whole, it stays whole."""
SLACK = 1e-3
"""Repetitions that coordinates may be outside of 0–1 and still mean the edge."""
OPAQUE = 250
"""Alpha from which a texel counts as opaque."""
UNSEEN = 5
"""Alpha up to which a texel counts as not there."""
GLASS = 0.05
"""Share of the seen texels that may lie within half clear areas of an image that is cut out; a mask would take such areas away or make them solid."""
Clear = Literal["none", "mask", "blend"]


@dataclass(frozen=True)
class Quality:
    """How textures are written: `texel`, metres that a texel may span (0: as delivered); texels a tile may hold at most; WebP or JPEG quality."""

    texel: float = 0.0
    format: Format = "webp"
    most: int = 1 << 25
    quality: int = 80

    @property
    def rim(self) -> int:
        """Pixels around each image."""
        return THIN if self.texel > 0 else RIM


@dataclass(frozen=True)
class Dressed:
    """(T,) `surface` of each triangle in `surfaces`, −1 for those that keep their plain material; (T, 3, 2) `uv` on it; what went wrong."""

    surface: I64
    uv: NDArray[np.float32]
    surfaces: list[Surface]
    problems: list[str]


@dataclass
class _Picture:
    """One image of the tile, or a patch of it: its triangles, the pixels of it that they show (left, top, right, bottom) and how it is scaled."""

    texture: Texture
    rows: I64
    repeats: bool
    crop: tuple[int, int, int, int]
    scale: float
    patch: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Pixels it takes in the tile."""
        width, height = self.crop[2] - self.crop[0], self.crop[3] - self.crop[1]
        return max(1, round(width * self.scale)), max(1, round(height * self.scale))


def dress(corners: F64, uv: NDArray[np.float32], material: I64, materials: list[Material], images: Mapping[str, bytes], how: Quality) -> Dressed:
    """Lay out the textures of a tile.

    Args:
        corners: (T, 3, 3) metres. uv: (T, 3, 2), NaN where there is none. material: (T,) numbers in `materials`.
        images: files by `Texture.image`.
    """
    result = Dressed(np.full(len(uv), -1, np.int64), np.zeros(uv.shape, np.float32), [], [])
    if how.format == "none":
        return result
    flat, pictures = _pictures(corners, uv, material, materials, how)
    groups: dict[tuple[Any, ...], list[tuple[_Picture, Image.Image]]] = {}
    kept: tuple[str, Image.Image] | None = None  # of the picture whose patches follow each other
    for picture, look in pictures:
        try:
            if kept is None or not picture.patch or kept[0] != picture.texture.image:
                kept = picture.texture.image, _decoded(images[picture.texture.image], picture)
            image, clear = _cut(kept[1], picture, flat[picture.rows])
        except (OSError, ValueError, KeyError, SyntaxError) as error:
            problem = f"the texture {picture.texture.image[:12]} cannot be drawn ({str(error)[:80]})"
            if problem not in result.problems[-1:]:  # once for all patches
                result.problems.append(problem)
            continue
        surface = _surface(look, clear)
        if picture.repeats:
            _own(result, picture, surface, image, flat, how)
        else:
            groups.setdefault((surface.color, surface.double_sided, surface.cutoff, surface.blend), []).append((picture, image))
    for (color, double, cutoff, blend), members in groups.items():
        for page in _pages([picture.size for picture, _ in members], how.rim):
            _atlas(result, [(*members[i], x, y) for i, x, y in page], Surface(color, double_sided=double, cutoff=cutoff, blend=blend), flat, how)
    return result


def _surface(look: Material, clear: Clear) -> Surface:
    """Without the image; a material that lets light through is blended whatever its image: the mask's cutoff is compared with the product of both."""
    solid = look.color[3] >= 1
    return Surface(look.color, double_sided=look.double_sided, cutoff=0.5 if clear == "mask" and solid else None, blend=clear == "blend" or (clear == "mask" and not solid))


def _pictures(corners: F64, uv: NDArray[np.float32], material: I64, materials: list[Material], how: Quality) -> tuple[F64, list[tuple[_Picture, Material]]]:
    """((T, 3, 2) coordinates moved into the first repetition where that is possible; the images of the tile, in order)."""
    flat = uv.astype(np.float64)
    wrapped = [m.texture is not None and m.texture.wrap == ("repeat", "repeat") for m in materials]
    whole: NDArray[np.bool_] = np.asarray(np.isfinite(flat).all(axis=(1, 2)))
    floor = np.where(whole[:, None], np.floor(np.nan_to_num(flat.min(axis=1)) + SLACK), 0.0) * np.array(wrapped)[material][:, None]
    flat -= floor[:, None, :]
    found: list[tuple[_Picture, Material]] = []
    by_look: dict[tuple[Any, ...], list[int]] = {}
    for m in np.unique(material[whole]).tolist():
        texture = materials[m].texture
        if texture is not None:
            by_look.setdefault((texture.image, texture.wrap, materials[m].color, materials[m].double_sided), []).append(m)
    order = np.flatnonzero(whole)[np.argsort(material[whole], kind="stable")]
    sorted_by = material[order]
    for key in sorted(by_look):
        look = materials[by_look[key][0]]
        rows = np.sort(np.concatenate([order[slice(*np.searchsorted(sorted_by, (m, m + 1)))] for m in by_look[key]]))
        assert look.texture is not None  # only those that have one are listed
        found += [(picture, look) for picture in _patches(_picture(look.texture, rows, flat[rows], corners[rows], how), flat, corners, how)]
    total = sum(p.size[0] * p.size[1] for p, _ in found)
    if total > how.most:  # equally, so that no building is sharper than its neighbour
        for picture, _ in found:
            picture.scale *= (how.most / total) ** 0.5
    return flat, found


def _patches(whole: _Picture, flat: F64, corners: F64, how: Quality) -> list[_Picture]:
    """The patches of a picture of an inner tile, each scaled by itself; or the picture where there is but one, or where they would take much more room."""
    if how.texel <= 0 or whole.repeats or whole.scale >= 1:
        return [whole]
    size = whole.texture.size
    pixels = np.clip(flat[whole.rows], 0, 1) * size
    boxes = by_box(charts(corners[whole.rows], pixels), pixels, size)
    parts = []
    for box, rows in boxes if len(boxes) > 1 else []:
        mine = whole.rows[rows]
        scale = min(1.0, _texel(pixels[rows], corners[mine]) / how.texel, (SIDE - 2 * RIM) / max(box[2] - box[0], box[3] - box[1]))
        parts.append(_Picture(whole.texture, mine, False, box, scale, patch=True))
    taken, before = (sum((p.size[0] + 2 * how.rim) * (p.size[1] + 2 * how.rim) for p in some) for some in (parts, [whole]))
    return parts if parts and taken <= max(PATCHES, 2 * before) else [whole]


def _picture(texture: Texture, rows: I64, uv: F64, corners: F64, how: Quality) -> _Picture:
    width, height = texture.size
    low, high = uv.min(axis=(0, 1)), uv.max(axis=(0, 1))
    repeats = bool((low < -SLACK).any() or (high > 1 + SLACK).any())
    low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
    left, top = min(int(low[0] * width), width - 1), min(int(low[1] * height), height - 1)
    right, bottom = max(int(np.ceil(high[0] * width)), left + 1), max(int(np.ceil(high[1] * height)), top + 1)
    crop = (0, 0, width, height) if repeats else (left, top, right, bottom)
    scale = min(1.0, _texel(uv * (width, height), corners) / how.texel) if how.texel > 0 else 1.0
    longest = max(crop[2] - crop[0], crop[3] - crop[1])
    return _Picture(texture, rows, repeats, crop, min(scale, (SIDE - 2 * RIM) / longest))


def _texel(pixels: F64, corners: F64) -> float:
    """Metres that a pixel spans, on average over some triangles; as large as can be where they have no pixels at all."""
    a, b = pixels[:, 1] - pixels[:, 0], pixels[:, 2] - pixels[:, 0]
    shown = float(np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum())
    real = float(np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum())
    return float(np.sqrt(real / shown)) if shown > 0 else np.inf


def _decoded(data: bytes, picture: _Picture) -> Image.Image:
    """The pixels of a picture's image, RGBA only where some may be clear; of one that is scaled down as a whole maybe fewer than the file has.

    Pixels are taken as they are stored. How a camera was held (EXIF) turns photographs, not textures: coordinates belong to the stored pixels, glTF's JPEG is JFIF
    (KhronosGroup/glTF#1878), and WebGL ignores it too.
    """
    from PIL import Image  # noqa: PLC0415  most models have no textures

    with Image.open(io.BytesIO(data)) as file:
        if file.size != picture.texture.size:
            raise ValueError(f"it has {file.size[0]} by {file.size[1]} pixels, not {picture.texture.size[0]} by {picture.texture.size[1]}")
        if picture.scale < 0.5 and picture.crop == (0, 0, *file.size) and not picture.patch:
            file.draft("RGB", picture.size)  # JPEG decodes at 1/2, 1/4 or 1/8 for less
        clear = file.mode in ("RGBA", "LA", "PA") or "transparency" in file.info
        return _bytes(file).convert("RGBA" if clear else "RGB")


def _cut(image: Image.Image, picture: _Picture, uv: F64) -> tuple[Image.Image, Clear]:
    """A picture of its image, cropped and scaled, RGBA only where some of its pixels are clear; how those are drawn. `uv`: (T, 3, 2) of its triangles."""
    from PIL import Image  # noqa: PLC0415  most models have no textures

    if image.size == picture.texture.size and picture.crop != (0, 0, *image.size):
        image = image.crop(picture.crop)
    if picture.patch:
        image = Image.fromarray(filled(np.asarray(image), np.clip(uv, 0, 1) * picture.texture.size - picture.crop[:2]))
    way: Clear = _clear(np.asarray(image)[:, :, 3]) if image.mode == "RGBA" else "none"  # before it is scaled, which makes edges half clear
    if way != "none":
        return Image.fromarray(_spread(_scaled(np.asarray(image), picture.size))), way
    image = image.convert("RGB")
    return image if image.size == picture.size else image.resize(picture.size, Image.Resampling.LANCZOS), way


def _scaled(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 4) at another size, colours weighed by alpha. In floats: Pillow's own way rounds their products, so that colours of alpha 6 have twelve values."""
    from PIL import Image  # noqa: PLC0415  most models have no textures

    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    alpha = pixels[:, :, 3].astype(np.float32)
    weight = np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.LANCZOS))
    result = np.zeros((*weight.shape, 4), np.uint8)
    result[:, :, 3] = np.rint(np.clip(weight, 0, 255))
    seen = result[:, :, 3] > UNSEEN
    for channel in range(3):
        weighed = np.asarray(Image.fromarray(pixels[:, :, channel] * alpha).resize(size, Image.Resampling.LANCZOS))
        result[:, :, channel][seen] = np.rint(np.clip(weighed[seen] / weight[seen], 0, 255))
    return result


def _spread(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 4) the same image with the colours of what is seen in the texels that are not: where it is drawn, a client mixes a texel with those beside it.

    Scaling leaves black there, and images come with black there: the edges of leaves and railings were dark. Each such texel takes the average of the smallest
    block of 2, 4, 8, … texels around it that holds any that are seen.
    """
    seen = np.where(pixels[:, :, 3:] > UNSEEN, pixels[:, :, 3:], 0).astype(np.int32)
    color = around(np.concatenate([pixels[:, :, :3] * seen, seen], axis=2))  # sums of colour times alpha, and of alpha
    result = pixels.copy()
    result[:, :, :3] = np.where(seen > 0, pixels[:, :, :3], np.rint(color).astype(np.uint8))
    return result


def _bytes(image: Image.Image) -> Image.Image:
    """An image whose channels are bytes: greys of 16 bits lose their lower half (Pillow would draw all above 255 white)."""
    if not image.mode.startswith("I;16"):
        return image
    from PIL import Image  # noqa: PLC0415  most models have no textures

    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _clear(alpha: NDArray[np.uint8]) -> Clear:
    """How an image of (H, W) alpha is drawn. Half clear texels at an edge, one or two wide, smooth a mask; areas of them are glass."""
    if int(alpha.min()) >= OPAQUE:
        return "none"
    seen = alpha > UNSEEN
    half = np.pad(seen & (alpha < OPAQUE), 1, mode="edge")
    rows = half[:-2] & half[1:-1] & half[2:]
    inside = rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
    return "blend" if int(inside.sum()) > GLASS * int(seen.sum()) else "mask"


def _own(result: Dressed, picture: _Picture, surface: Surface, image: Image.Image, flat: F64, how: Quality) -> None:
    """An image that repeats: drawn with its own wrap mode."""
    result.surface[picture.rows] = len(result.surfaces)
    result.uv[picture.rows] = flat[picture.rows]
    result.surfaces.append(replace(surface, texture=_encoded(image, how), wrap=picture.texture.wrap))


def _atlas(result: Dressed, members: list[tuple[_Picture, Image.Image, int, int]], surface: Surface, flat: F64, how: Quality) -> None:
    """Paste images at their places, each with a rim of its own edge pixels, and move their coordinates there."""
    from PIL import Image  # noqa: PLC0415  most models have no textures

    rim = how.rim
    width = max(x + p.size[0] + rim for p, _, x, _ in members)
    height = max(y + p.size[1] + rim for p, _, _, y in members)
    mode = members[0][1].mode
    pixels = np.zeros((height, width, len(mode)), np.uint8)
    for picture, image, x, y in members:
        w, h = picture.size
        pixels[y - rim : y + h + rim, x - rim : x + w + rim] = np.pad(np.asarray(image), ((rim, rim), (rim, rim), (0, 0)), mode="edge")
        left, top, right, bottom = picture.crop
        inside = (np.clip(flat[picture.rows], 0, 1) * picture.texture.size - (left, top)) / (right - left, bottom - top)
        result.uv[picture.rows] = (inside * (w, h) + (x, y)) / (width, height)
        result.surface[picture.rows] = len(result.surfaces)
    texture = _encoded(Image.fromarray(pixels, mode), how)
    result.surfaces.append(replace(surface, texture=texture))


def _pages(sizes: list[tuple[int, int]], rim: int) -> list[list[tuple[int, int, int]]]:
    """Places of images: pages of (number, x, y), by shelves, the highest first. Around each there is room for its rim."""
    order = sorted(range(len(sizes)), key=lambda i: (-sizes[i][1], -sizes[i][0], i))
    area = sum((w + 2 * rim) * (h + 2 * rim) for w, h in sizes)
    widest = max(w for w, _ in sizes) + 2 * rim
    limit = min(SIDE, max(widest, int(np.ceil(area**0.5 * 1.05))))
    pages: list[list[tuple[int, int, int]]] = [[]]
    x = y = shelf = 0
    for i in order:
        w, h = sizes[i][0] + 2 * rim, sizes[i][1] + 2 * rim
        if x + w > limit:
            x, y, shelf = 0, y + shelf, 0
        if y + h > SIDE:
            pages.append([])
            x = y = shelf = 0
        pages[-1].append((i, x + rim, y + rim))
        x, shelf = x + w, max(shelf, h)
    return pages


def _encoded(image: Image.Image, how: Quality) -> bytes:
    """An image file, of few colours without loss: lossy ones halve the resolution of colours, so that the cells of a palette run into each other.

    JPEG has no transparency, so clear images become PNG there.
    """
    if how.format == "webp":
        lossy = _file(image, "WEBP", quality=how.quality, method=4, exact=True)  # exact, or colours of clear texels are lost again
    elif how.format == "jpeg" and image.mode == "RGB":
        lossy = _file(image, "JPEG", quality=how.quality, optimize=True)
    else:
        return _file(image, "PNG", optimize=True)
    if image.getcolors(PALETTE) is None:
        return lossy
    whole = _file(image, "WEBP", lossless=True, exact=True) if how.format == "webp" else _file(image, "PNG", optimize=True)
    return whole if len(whole) <= len(lossy) + SPARE else lossy


def _file(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
