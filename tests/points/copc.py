"""COPC files (Cloud Optimized Point Cloud 1.0; Hobu, 2021) written by hand: chunk by node, hierarchy in pages, nodes without points, the chunk of nothing that some writers end with."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import laspy
import lazrs
import numpy as np

Key = tuple[int, int, int, int]
LEVELS = 4


def write_copc(path: Path, xyz: np.ndarray[Any, Any], *, point_format: int = 7, scales: tuple[float, float, float] = (0.001, 0.001, 0.001),
               offsets: tuple[float, float, float] = (500_000.0, 2_500_000.0, 0.0), paged: bool = True, seed: int = 1, **columns: Any) -> Path:  # fmt: skip
    """Points (N, 3) in nodes of `LEVELS` levels, each point on a level by lot; `columns` as laspy names them."""
    header = laspy.LasHeader(point_format=point_format, version="1.4")
    header.scales, header.offsets = scales, offsets
    las = laspy.LasData(header)
    las.x, las.y, las.z = xyz.T
    for name, values in columns.items():
        setattr(las, name, values)
    rows = las.points.array
    middle, half = (xyz.min(axis=0) + xyz.max(axis=0)) / 2, float(np.ptp(xyz, axis=0).max()) / 2 * 1.01 + scales[0]
    nodes = _nodes((xyz - middle + half) / (2 * half), np.random.default_rng(seed))
    how = lazrs.LazVlr.new_for_compression(point_format, 0, use_variable_size_chunks=True)
    body = io.BytesIO()
    compressor = lazrs.LasZipCompressor(body, how)
    for key in sorted(key for key in nodes if nodes[key]):
        compressor.compress_many(np.ascontiguousarray(rows[nodes[key]]).view(np.uint8))
        compressor.finish_current_chunk()
    compressor.done()  # writes a last chunk of no points and no bytes
    body.seek(0)
    lengths = iter([length for _, length in lazrs.read_chunk_table(body, how)])
    start = 375 + 54 + 160 + 54 + len(how.record_data())
    entries, at = [], start + 8
    for key in sorted(nodes):
        length = next(lengths) if nodes[key] else 0
        entries.append((key, at if length else 0, length, len(nodes[key])))
        at += length
    data = body.getvalue()
    behind = start + len(data)
    root, pages = _hierarchy(entries, behind + 60, paged=paged)
    info = struct.pack("<5d2Q2d88x", *middle, half, half / 64, behind + 60, len(root), 0, 0)
    head = bytearray(375)
    head[:4], head[24:26] = b"LASF", bytes([1, 4])
    struct.pack_into("<H", head, 6, 16)
    struct.pack_into("<HIIBHI", head, 94, 375, start, 2, point_format | 0x80, rows.dtype.itemsize, 0)
    low, high = xyz.min(axis=0), xyz.max(axis=0)
    struct.pack_into("<12d", head, 131, *scales, *offsets, high[0], low[0], high[1], low[1], high[2], low[2])
    struct.pack_into("<QIQ", head, 235, behind, 1, len(rows))
    records = b"".join(b"\0\0" + user.ljust(16, b"\0") + struct.pack("<HH32x", number, len(record)) + record
                       for user, number, record in ((b"copc", 1, info), (b"laszip encoded", 22204, how.record_data())))  # fmt: skip
    table = struct.pack("<q", start + struct.unpack("<q", data[:8])[0])
    last = b"\0\0" + b"copc".ljust(16, b"\0") + struct.pack("<HQ32x", 1000, len(root + pages)) + root + pages
    path.write_bytes(bytes(head) + records + table + data[8:] + last)
    return path


def _nodes(unit: np.ndarray[Any, Any], rng: np.random.Generator) -> dict[Key, list[int]]:
    """(level, x, y, z) → rows; every node has its parents, some of them without points."""
    nodes: dict[Key, list[int]] = {}
    for row, level in enumerate(rng.integers(1, LEVELS, len(unit))):
        x, y, z = (int(v) for v in unit[row] * 2**level)
        nodes.setdefault((int(level), x, y, z), []).append(row)
        for up in range(1, level + 1):
            nodes.setdefault((int(level) - up, x >> up, y >> up, z >> up), [])
    return nodes


def _hierarchy(entries: list[tuple[Key, int, int, int]], at: int, *, paged: bool) -> tuple[bytes, bytes]:
    """The root page and the pages behind it: one for each subtree of level 2."""
    def entry(key: Key, offset: int, length: int, count: int) -> bytes:
        return struct.pack("<4iQ2i", *key, offset, length, count)

    if not paged:
        return b"".join(entry(*one) for one in entries), b""
    tops = [one for one in entries if one[0][0] < 2]
    subtrees: dict[Key, list[bytes]] = {}
    for (level, x, y, z), *rest in entries:
        if level >= 2:
            up = level - 2
            subtrees.setdefault((2, x >> up, y >> up, z >> up), []).append(entry((level, x, y, z), *rest))
    root, pages = b"".join(entry(*one) for one in tops), b""
    behind = at + len(root) + 32 * len(subtrees)
    for key, page in subtrees.items():
        root += entry(key, behind + len(pages), 32 * len(page), -1)
        pages += b"".join(page)
    return root, pages
