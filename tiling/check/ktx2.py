"""KTX 2.0 textures of KHR_texture_basisu: header, level index, data format descriptor, key/values, supercompression, sizes.

Pixels are not transcoded: that is the client's work. What is checked is all that a client relies on before it does, and that what is
said of sizes is so; levels packed with Zstandard are unpacked.

Sources: KTX File Format Specification 2.0 (header 3, level index 3.9, supercompression 3.10 and 5, type by sizes 4.1); Khronos Data Format 1.3
(basic descriptor block, 5); KHR_texture_basisu (glTF 2.0, ratified).
"""

from __future__ import annotations

import struct
from typing import Any, Literal

import pyarrow as pa

from .gltf import Gltf
from .issues import Where

IDENTIFIER = b"\xabKTX 20\xbb\r\n\x1a\n"
NAME = "KHR_texture_basisu"
Usage = Literal["color", "other", "unknown"]
_HEADER = struct.Struct("<12s9I4I2Q")
_LEVEL = struct.Struct("<3Q")
_NONE, _BASIS, _ZSTD = 0, 1, 2
_ETC1S, _UASTC = 163, 166
_MODELS = {_ETC1S: "ETC1S", _UASTC: "UASTC"}
_CHANNELS = {_ETC1S: ([0], [0, 15]), _UASTC: ([0], [3])}
_EXPECTED = {"color": (1, 2, "BT.709 and sRGB"), "other": (0, 1, "unspecified primaries and linear")}
_BLOCK = 16  # bytes of a UASTC block of 4 × 4 texels
_TEXELS = 1 << 28


class _Header:
    """The fields of the header; `dfd`, `kvd`, `sgd`: offset and length of the descriptor, the key/values and the global data."""

    def __init__(self, fields: tuple[int, ...], dfd: tuple[int, ...], kvd: tuple[int, ...], sgd: tuple[int, ...]) -> None:
        self.format, self.type_size, self.width, self.height, self.depth, self.layers, self.faces, self.levels, self.scheme = fields
        self.dfd, self.kvd, self.sgd = (dfd[0], dfd[1]), (kvd[0], kvd[1]), (sgd[0], sgd[1])


def check_basisu(gltf: Gltf) -> None:
    """Every texture of the extension: its reference, the image's type, the file itself."""
    usage = _usages(gltf.json.get("materials", []))
    seen: dict[int, set[Usage]] = {}
    for number, texture in enumerate(gltf.json.get("textures", [])):
        found = texture.get("extensions", {}).get(NAME)
        if found is None:
            continue
        at = gltf.where / "textures" / number / "extensions" / NAME
        source = found.get("source") if isinstance(found, dict) else None
        images = gltf.json.get("images", [])
        if not isinstance(source, int) or isinstance(source, bool) or not 0 <= source < len(images):
            at.error("GLTF_REFERENCE", f"the source {source!r} is not an image that exists")
            continue
        seen.setdefault(source, set()).add(usage.get(number, "unknown"))
    for source, uses in seen.items():
        image, at = gltf.json["images"][source], gltf.where / "images" / source
        if image.get("mimeType", "image/ktx2") != "image/ktx2":
            at.error("KTX2_MIME_TYPE", f"mimeType is {image['mimeType']!r}, must be image/ktx2")
        data = gltf.read(image["uri"], at / "uri") if "uri" in image else gltf.view(image["bufferView"]) if "bufferView" in image else None
        if data is not None:
            check_ktx2(data, at, "unknown" if len(uses) > 1 else next(iter(uses)))


def _usages(materials: list[Any]) -> dict[int, Usage]:
    """What the materials use each texture for."""
    found: dict[int, Usage] = {}
    for material in materials:
        if not isinstance(material, dict):
            continue
        metallic = material.get("pbrMetallicRoughness", {})
        slots = [(metallic, "baseColorTexture", "color"), (material, "emissiveTexture", "color"), (metallic, "metallicRoughnessTexture", "other"),
                 (material, "normalTexture", "other"), (material, "occlusionTexture", "other")]  # fmt: skip
        for holder, name, use in slots:
            info = holder.get(name) if isinstance(holder, dict) else None
            if isinstance(info, dict) and isinstance(info.get("index"), int):
                known = found.setdefault(info["index"], use)  # type: ignore[arg-type]
                if known != use:
                    found[info["index"]] = "unknown"
    return found


def check_ktx2(data: bytes, where: Where, usage: Usage = "unknown") -> None:
    """Check the bytes of one KTX2 file as the extension wants them."""
    if len(data) < _HEADER.size or data[:12] != IDENTIFIER:
        where.error("KTX2_HEADER", f"starts with {data[:12]!r} ({len(data)} bytes): no KTX 2.0 file")
        return
    values = _HEADER.unpack_from(data)[1:]
    header = _Header(values[:9], values[9:11], values[11:13], values[13:15])
    if not _check_header(header, where):
        return
    first = _HEADER.size + _LEVEL.size * header.levels
    if len(data) < first:
        where.error("KTX2_LEVELS", f"{header.levels} levels need an index of {first} bytes, the file has {len(data)}")
        return
    model = _check_descriptor(data, header, where, usage) if _inside(header.dfd, first, data, "data format descriptor", where) else None
    if header.kvd[1] and _inside(header.kvd, first, data, "key/value data", where):
        _check_keys(data[header.kvd[0] : sum(header.kvd)], where)
    levels = [_LEVEL.unpack_from(data, _HEADER.size + _LEVEL.size * k) for k in range(header.levels)]
    if _check_ranges(levels, max(first, sum(header.dfd), sum(header.kvd), sum(header.sgd)), data, where):
        _check_levels(data, header, levels, model, where)


def _check_header(h: _Header, where: Where) -> bool:
    sound = True
    if h.format or h.type_size != 1:
        where.error("KTX2_FORMAT", f"vkFormat is {h.format} and typeSize {h.type_size}, Basis Universal needs 0 and 1")
    if h.depth or h.layers or h.faces != 1 or not h.width or not h.height:
        where.error("KTX2_TYPE", f"has {h.width} × {h.height} × {h.depth} texels, {h.layers} layers, {h.faces} faces; must be two-dimensional")
        sound = bool(h.width and h.height)
    elif h.width % 4 or h.height % 4:
        where.error("KTX2_SIZE", f"is {h.width} × {h.height} texels, must be multiples of 4")
    most = max(h.width, h.height).bit_length()
    if not 1 <= h.levels <= most:
        where.error("KTX2_LEVELS", f"has {h.levels} levels, {h.width} × {h.height} texels have 1 to {most}")
        return False
    if h.levels not in (1, most):
        where.warning("KTX2_LEVELS", f"has {h.levels} of {most} levels: neither one nor a full pyramid")
    if h.scheme not in (_NONE, _BASIS, _ZSTD):
        where.error("KTX2_SUPERCOMPRESSION", f"the scheme is {h.scheme}, must be 0 (none), 1 (BasisLZ) or 2 (Zstandard)")
        return False
    return sound


def _inside(span: tuple[int, int], first: int, data: bytes, what: str, where: Where) -> bool:
    if span[0] < first or span[0] + span[1] > len(data) or span[0] % 4:
        where.error("KTX2_RANGE", f"the {what} is said to be at bytes {span[0]} to {sum(span)} of {first} to {len(data)}, at a multiple of 4")
        return False
    return True


def _check_descriptor(data: bytes, h: _Header, where: Where, usage: Usage) -> int | None:
    """The basic descriptor block; returns its colour model."""
    at, length = h.dfd
    if length < 44 or struct.unpack_from("<I", data, at)[0] != length or struct.unpack_from("<I", data, at + 4)[0] or struct.unpack_from("<H", data, at + 10)[0] > length - 4:
        where.error("KTX2_DESCRIPTOR", "is not a data format descriptor with a basic block of its length")
        return None
    (size,) = struct.unpack_from("<H", data, at + 10)
    model, primaries, transfer, flags = data[at + 12 : at + 16]
    if model not in _MODELS or (model == _ETC1S) != (h.scheme == _BASIS):
        where.error("KTX2_DESCRIPTOR", f"colour model {model} with supercompression {h.scheme}: must be 163 (ETC1S) with 1, or 166 (UASTC) with 0 or 2")
        return None
    if data[at + 16 : at + 20] != b"\3\3\0\0":
        where.error("KTX2_DESCRIPTOR", "a block of texels must be 4 × 4")
    channels = [data[at + 28 + 16 * k + 3] & 15 for k in range((size - 24) // 16)]
    if channels not in _CHANNELS[model]:
        where.error("KTX2_DESCRIPTOR", f"the channels {channels} of {_MODELS[model]} are neither RGB nor RGBA")
    if flags & 1:
        where.error("KTX2_DESCRIPTOR", "alpha is premultiplied")
    if usage in _EXPECTED and (primaries, transfer) != _EXPECTED[usage][:2]:
        where.error("KTX2_COLOR_SPACE", f"has primaries {primaries} and transfer function {transfer}, its use needs {_EXPECTED[usage][2]}")
    return model


def _check_keys(data: bytes, where: Where) -> None:
    """Key/value pairs: each ends within the data, and orientation and swizzle are as the extension wants them."""
    at, keys = 0, list[bytes]()
    while at + 4 <= len(data):
        (length,) = struct.unpack_from("<I", data, at)
        pair = data[at + 4 : at + 4 + length]
        key, end, value = pair.partition(b"\0")
        if len(pair) < length or not end or not key:
            where.error("KTX2_KEY_VALUE", f"the pair at byte {at} is cut short or has no key")
            return
        keys.append(key)
        wanted = {b"KTXswizzle": b"rgba", b"KTXorientation": b"rd"}.get(key)
        if wanted is not None and value.rstrip(b"\0") != wanted:
            where.error("KTX2_KEY_VALUE", f"{key.decode()} is {value.rstrip(bytes(1))!r}, must be {wanted.decode()} or absent")
        at += 4 + length + -length % 4
    if keys != sorted(set(keys)):
        where.error("KTX2_KEY_VALUE", "the keys are not in order, or one is there twice")


def _check_ranges(levels: list[tuple[int, int, int]], first: int, data: bytes, where: Where) -> bool:
    """Levels lie behind all else, the smallest first, and do not overlap."""
    end = first
    for k in range(len(levels) - 1, -1, -1):
        start, length, _ = levels[k]
        if not length or start < end or start + length > len(data):
            where.error("KTX2_LEVELS", f"level {k} is said to be at bytes {start} to {start + length}, of {end} to {len(data)}")
            return False
        end = start + length
    return True


def _check_levels(data: bytes, h: _Header, levels: list[tuple[int, int, int]], model: int | None, where: Where) -> None:
    """Lengths as the texels need them, packed and unpacked."""
    if h.scheme == _BASIS:
        _check_basis(data, h, levels, where)
        return
    if h.sgd != (0, 0):
        where.error("KTX2_SUPERCOMPRESSION", f"has global data at {h.sgd}, which only BasisLZ has")
    for k, (start, length, unpacked) in enumerate(levels):
        blocks = -(-max(h.width >> k, 1) // 4) * -(-max(h.height >> k, 1) // 4)
        if model == _UASTC and unpacked != _BLOCK * blocks:
            where.error("KTX2_LEVELS", f"level {k} has {unpacked} bytes unpacked, {blocks} blocks need {_BLOCK * blocks}")
        elif h.scheme == _NONE and length != unpacked:
            where.error("KTX2_LEVELS", f"level {k} has {length} bytes, {unpacked} unpacked, but is not packed")
        elif h.scheme == _ZSTD and unpacked <= _TEXELS:
            try:
                pa.decompress(data[start : start + length], unpacked, codec="zstd")
            except (OSError, pa.ArrowException) as error:
                where.error("KTX2_SUPERCOMPRESSION", f"level {k} is not {unpacked} bytes in Zstandard: {str(error)[:80]}")


def _check_basis(data: bytes, h: _Header, levels: list[tuple[int, int, int]], where: Where) -> None:
    """Global data of BasisLZ: a header, a description of each level's slices, codebooks and tables that fill the rest."""
    if not _inside(h.sgd, _HEADER.size, data, "global data of BasisLZ", where):
        return
    at, length = h.sgd
    if length < 20 + 20 * h.levels:
        where.error("KTX2_SUPERCOMPRESSION", f"the global data of BasisLZ has {length} bytes, {h.levels} levels need more")
        return
    endpoints, selectors, *sizes = struct.unpack_from("<2H4I", data, at)
    if not endpoints or not selectors or sizes[3] or 20 + 20 * h.levels + sum(sizes) != length:
        where.error("KTX2_SUPERCOMPRESSION", f"{endpoints} endpoints, {selectors} selectors and sizes {sizes} do not make {length} bytes of global data")
    for k, (_, size, unpacked) in enumerate(levels):
        if unpacked:
            where.error("KTX2_LEVELS", f"level {k} says {unpacked} bytes unpacked, with BasisLZ it must be 0")
        _, start, own, alpha_start, alpha = struct.unpack_from("<5I", data, at + 20 + 20 * k)
        if not own or start + own > size or alpha_start + alpha > size:
            where.error("KTX2_SUPERCOMPRESSION", f"the slices of level {k} lie outside of its {size} bytes")
