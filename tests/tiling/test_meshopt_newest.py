"""What KHR_meshopt_compression adds: vertex columns of version 1 and the filter COLOR, against a plain writer and the reference codec."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import Any

import numpy as np
import pytest

from tiling.check.issues import Report, Where
from tiling.check.meshopt import decode_view
from tiling.encoding import meshopt
from twin.errors import BadTileset

from .test_meshopt import rows_of
from .tiling_helpers import VALIDATOR, node

REFERENCE = VALIDATOR.parent / "meshoptimizer"
ENCODE = """
import { readFileSync } from "fs";
const { MeshoptEncoder: e } = await import(process.argv[1] + "/meshopt_encoder.js"), { MeshoptDecoder: d } = await import(process.argv[1] + "/meshopt_decoder.mjs");
await e.ready; await d.ready;
const text = (a) => Buffer.from(a.buffer, a.byteOffset, a.byteLength).toString("base64");
console.log(JSON.stringify(JSON.parse(readFileSync(0)).map((c) => {
  const rows = Buffer.from(c.rows, "base64"), out = new Uint8Array(c.count * c.stride);
  const packed = c.filter ? e.encodeVertexBufferLevel(rows, c.count, c.stride, 2, 1) : e.encodeVertexBufferLevel(rows, c.count, c.stride, c.level, 1);
  d.decodeGltfBuffer(out, c.count, c.stride, packed, "ATTRIBUTES", c.filter);
  return { packed: text(packed), out: text(out) }; })));
"""


def written(rows: np.ndarray, rng: np.random.Generator) -> bytes:
    """A stream of version 1 as appendix A describes it: every mode that can say what is to be said, by chance."""
    count, stride = rows.shape
    base = rng.integers(0, 256, stride).astype(np.uint8)
    channels = [int(rng.choice([0, 1, 2 + 16 * int(rng.integers(0, 16))])) for _ in range(stride // 4)]
    out, before = bytearray([0xA1]), base
    for start in range(0, count, min((8192 // stride) & ~15, 256)):
        part = rows[start : start + min((8192 // stride) & ~15, 256)]
        deltas = np.zeros((len(part), stride), np.uint8)
        for i, row in enumerate(part):
            for c, channel in enumerate(channels):
                size = (1, 2, 4)[channel & 3]
                for k in range(4 * c, 4 * c + 4, size):
                    new, old, whole = (int.from_bytes(bytes(r[k : k + size]), "little") for r in (row, before, np.full(stride, 255, np.uint8)))
                    if size == 4:
                        turn, value = channel >> 4, new ^ old
                        value = (value << turn | value >> (32 - turn)) & whole
                    else:
                        step = (new - old) & whole
                        value = ~(step << 1) & whole if step > whole // 2 else step << 1
                    deltas[i, k : k + size] = list(value.to_bytes(size, "little"))
            before = row
        control, body = [0] * (stride // 4), bytearray()
        for k in range(stride):
            column = deltas[:, k].tolist()
            mode = 2 if not any(column) and rng.random() < 0.5 else int(rng.choice([0, 1, 3]))
            control[k // 4] |= mode << k % 4 * 2
            if mode == 3:
                body += bytes(column)
            elif mode < 2:
                body += _groups(column, (0, 1, 2, 4) if mode == 0 else (1, 2, 4, 8), rng)
        out += bytes(control) + body
    tail = base.tobytes() + bytes(channels)
    return bytes(out) + bytes(max(0, 24 - len(tail))) + tail


def _groups(column: list[int], widths: tuple[int, ...], rng: np.random.Generator) -> bytes:
    groups = [(column[i : i + 16] + [0] * 16)[:16] for i in range(0, len(column), 16)]
    header, body = [0] * -(-len(groups) // 4), bytearray()
    for g, values in enumerate(groups):
        choice = int(rng.choice([i for i, bits in enumerate(widths) if bits or not any(values)]))
        header[g // 4] |= choice << g % 4 * 2
        bits = widths[choice]
        if bits == 8:
            body += bytes(values)
        elif bits:
            top, packed = (1 << bits) - 1, 0
            for i, value in enumerate(values):
                packed |= min(value, top) << (i if bits == 1 else (15 - i) * bits)
            body += packed.to_bytes(2 * bits, "little" if bits == 1 else "big") + bytes(v for v in values if v >= top)
    return bytes(header) + bytes(body)


@pytest.mark.parametrize("stride", [4, 8, 12, 64, 256])
@pytest.mark.parametrize("kind", ["noise", "steps", "runs"])
def test_a_stream_of_every_mode_is_read(stride: int, kind: str) -> None:
    rng = np.random.default_rng([stride, len(kind)])
    for count in (1, 15, 17, 300):
        rows = rows_of(kind, count, stride)
        data = written(rows, rng)
        np.testing.assert_array_equal(meshopt.decode_vertices(data, count, stride, newest=True), rows)
        with pytest.raises(BadTileset):
            meshopt.decode_vertices(data, count, stride)
        for cut in (data[:-1], data[: len(data) // 2], data[:1] + data[2:]):
            try:
                meshopt.decode_vertices(cut, count, stride, newest=True)
            except BadTileset:
                continue


def test_channels_that_are_not_defined_are_refused() -> None:
    rows = rows_of("steps", 20, 4)
    data = written(rows, np.random.default_rng(0))
    for channel in (3, 0x10, 0x21, 0x0F):
        with pytest.raises(BadTileset, match="not defined"):
            meshopt.decode_vertices(data[:-1] + bytes([channel]), 20, 4, newest=True)
    with pytest.raises(BadTileset, match="cannot hold"):
        meshopt.decode_vertices(data, 1 << 40, 4, newest=True)


def by_reference(cases: list[dict[str, Any]]) -> list[tuple[bytes, np.ndarray]]:
    if not (REFERENCE / "meshopt_encoder.js").is_file():
        pytest.skip("viewer/node_modules/meshoptimizer is absent: run npm ci in viewer/")
    sent = json.dumps([case | {"rows": base64.b64encode(case["rows"].tobytes()).decode(), "count": len(case["rows"]), "stride": case["rows"].shape[1]} for case in cases])
    done = subprocess.run([node(), "--input-type=module", "-e", ENCODE, str(REFERENCE)], input=sent, capture_output=True, text=True, check=True)
    return [(base64.b64decode(one["packed"]), np.frombuffer(base64.b64decode(one["out"]), np.uint8).reshape(case["rows"].shape))
            for one, case in zip(json.loads(done.stdout), cases, strict=True)]  # fmt: skip


def test_what_the_reference_codec_writes_is_read() -> None:
    cases: list[dict[str, Any]] = [{"rows": rows_of(kind, count, stride), "level": level} for kind in ("noise", "steps", "strides", "runs") for stride in (4, 12, 16, 64)
                                   for count in (1, 100, 700) for level in (0, 2, 3)]  # fmt: skip
    walk = np.cumsum(np.random.default_rng(1).normal(0, 1e-3, (900, 3)), axis=0).astype("<f4").view(np.uint8)
    short = np.cumsum(np.random.default_rng(2).integers(-300, 300, (900, 4)), axis=0).astype("<u2").view(np.uint8)
    cases += [{"rows": rows, "level": level} for rows in (walk, short) for level in (0, 2, 3)]
    modes = set()
    for case, (packed, _) in zip(cases, by_reference(cases), strict=True):
        rows = case["rows"]
        assert packed[0] == 0xA1
        modes |= {channel & 15 for channel in packed[-(rows.shape[1] // 4) :]}
        np.testing.assert_array_equal(meshopt.decode_vertices(packed, *rows.shape, newest=True), rows)
    assert modes == {0, 1, 2}


@pytest.mark.parametrize("stride", [4, 8])
def test_colours(stride: int) -> None:
    """Of every number of bits; the reference may differ by one unit in the last place, as the specification allows."""
    kind, most = ("u1", 8) if stride == 4 else ("<u2", 16)
    rng, rows, wanted = np.random.default_rng(stride), [], []
    for bits in range(2, most + 1):
        top = (1 << bits) - 1
        half = 1 << (bits - 1)
        for luma, alpha, orange, green in np.column_stack([rng.integers(0, s, 400) for s in (top + 1, half, half, half)]).tolist():
            orange, green = int(rng.choice([-1, 1])) * orange, int(rng.choice([-1, 1])) * green  # noqa: PLW2901
            exact = [luma + orange - green, luma + green, luma - orange - green, alpha << 1 | alpha & 1]
            if min(exact) >= 0 and max(exact) <= top:
                rows.append([luma, orange % (1 << most), green % (1 << most), alpha | half])
                wanted.append([v * ((1 << most) - 1) / top for v in exact])
    raw = np.array(rows, kind).view(np.uint8)
    found = meshopt.unfilter(raw, "COLOR").view(kind).astype(float)
    assert np.abs(found - np.array(wanted)).max() <= 0.51
    with pytest.raises(BadTileset, match="how many bits"):
        meshopt.unfilter(np.zeros((1, stride), np.uint8), "COLOR")
    ((packed, out),) = by_reference([{"rows": raw, "filter": "COLOR"}])
    ours = meshopt.unfilter(meshopt.decode_vertices(packed, *raw.shape, newest=True), "COLOR").view(kind).astype(int)
    assert len(rows) > 300 and np.abs(ours - out.view(kind).astype(int)).max() <= 1


def test_the_check_knows_both_names() -> None:
    """Version 1 and COLOR are the newer extension's alone."""
    rows = rows_of("steps", 100, 8)
    data = written(rows, np.random.default_rng(4))
    packed = {"buffer": 0, "byteLength": len(data), "byteStride": 8, "count": 100, "mode": "ATTRIBUTES"}
    for newest in (True, False):
        report = Report()
        found = decode_view(packed, 800, lambda *_: data, Where(report, "x"), newest=newest)
        assert (found == rows.tobytes()) == newest and bool(report.findings) != newest
    report = Report()
    assert decode_view(packed | {"filter": "COLOR"}, 800, lambda *_: data, Where(report, "x")) is None and report.findings
