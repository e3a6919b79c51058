"""The meshopt codec: round trips, a plain reading of the specification, the reference codec both ways, and broken bytes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tiling.check.issues import Report, Where
from tiling.check.meshopt import decode_view
from tiling.encoding import meshopt
from twin.errors import BadTileset

STRIDES = [4, 8, 12, 16, 64, 160, 256]


@pytest.fixture
def reference() -> Any:
    """The package that the format comes from, set to the version that glTF allows."""
    package = pytest.importorskip("meshoptimizer", reason="the reference codec is not installed (it needs a C++ compiler)")
    package.encode_vertex_version(0)
    return package


def rows_of(kind: str, count: int, stride: int) -> np.ndarray:
    """Vertex rows: noise, walks with small and medium steps, long constant runs."""
    rng = np.random.default_rng([count, stride])
    if kind == "noise":
        return rng.integers(0, 256, (count, stride)).astype(np.uint8)
    step = {"steps": 4, "strides": 30}.get(kind)
    change = rng.integers(-step, step + 1, (count, stride)) if step else rng.random((count, stride)) < 0.03
    return np.cumsum(change, axis=0).astype(np.uint8)


def plain_decode(data: bytes, count: int, stride: int) -> np.ndarray:
    """Appendix A, mode 0, read literally: byte by byte, with Python's own numbers."""
    assert data[0] == 0xA0
    previous, at = list(data[len(data) - stride :]), 1
    rows: list[list[int]] = []
    while len(rows) < count:
        n = min(count - len(rows), min((8192 // stride) & ~15, 256))
        groups, columns = -(-n // 16), []
        for k in range(stride):
            header, at = data[at : at + -(-groups // 4)], at + -(-groups // 4)
            deltas: list[int] = []
            for g in range(groups):
                mode = header[g // 4] >> (g % 4 * 2) & 3
                if mode in (0, 3):
                    deltas += [0] * 16 if mode == 0 else data[at : at + 16]
                    at += 16 if mode == 3 else 0
                    continue
                bits = 2 * mode
                packed = int.from_bytes(data[at : at + 2 * bits], "big")
                at += 2 * bits
                for i in range(16):
                    value = packed >> (15 - i) * bits & (1 << bits) - 1
                    if value == (1 << bits) - 1:
                        value, at = data[at], at + 1
                    deltas.append(value)
            column = []
            for delta in deltas[:n]:
                previous[k] = (previous[k] + (-(delta + 1) // 2 if delta & 1 else delta // 2)) % 256
                column.append(previous[k])
            columns.append(column)
        rows += [list(row) for row in zip(*columns, strict=True)]
    assert at == len(data) - max(32, stride)
    return np.array(rows, np.uint8)


def test_the_specification_s_own_example() -> None:
    """The 4-bit group that appendix A spells out, as the only column of sixteen rows that changes."""
    body = bytes.fromhex("175ff0bc77a9210034b5")
    header = bytes([2]) + body + b"\0" * 3  # column 0 in 4 bits, columns 1–3 without a change
    rows = meshopt.decode_vertices(b"\xa0" + header + bytes(32), 16, 4)
    expected = np.cumsum([-1, -4, -3, 26, -91, 0, -6, 6, -4, -4, 5, -5, 1, -1, 0, 0]).astype(np.uint8)
    np.testing.assert_array_equal(rows[:, 0], expected)
    assert not rows[:, 1:].any()


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("kind", ["noise", "steps", "strides", "still"])
def test_vertices_against_a_plain_reading(kind: str, stride: int) -> None:
    for count in (1, 15, 16, 17, 257, 600):
        rows = rows_of(kind, count, stride)
        data = meshopt.encode_vertices(rows)
        np.testing.assert_array_equal(plain_decode(data, count, stride), rows)
        np.testing.assert_array_equal(meshopt.decode_vertices(data, count, stride), rows)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("kind", ["noise", "steps", "strides", "still"])
def test_vertices_against_the_reference_codec(reference: Any, kind: str, stride: int) -> None:
    for count in (1, 16, 300, 2000):
        rows = rows_of(kind, count, stride)
        ours, theirs = meshopt.encode_vertices(rows), bytes(reference.encode_vertex_buffer(rows, count, stride))
        assert len(ours) <= 1.02 * len(theirs)
        np.testing.assert_array_equal(meshopt.decode_vertices(theirs, count, stride), rows)
        back = reference.decode_vertex_buffer(count, stride, ours, dtype=np.dtype(f"V{stride}"))
        np.testing.assert_array_equal(back.view(np.uint8).reshape(count, stride), rows)


def grid(n: int) -> np.ndarray:
    place = np.arange(n * n).reshape(n, n)
    corners = np.stack([place[:-1, :-1], place[:-1, 1:], place[1:, 1:], place[1:, :-1]], -1).reshape(-1, 4)
    return corners[:, [0, 1, 2, 0, 2, 3]].reshape(-1)


def lists() -> dict[str, np.ndarray]:
    """Lists of triangles of many kinds."""
    rng = np.random.default_rng(3)
    quads = (np.arange(400).reshape(-1, 4))[:, [0, 1, 2, 0, 2, 3]].reshape(-1)
    return {
        "one": np.array([0, 1, 2]), "grid": grid(40), "quads": quads, "restarted": np.tile(quads, 3),
        "noise": rng.integers(0, 300, 9000), "large": rng.integers(0, 1 << 30, 900), "shuffled": rng.permutation(grid(30).reshape(-1, 3)).reshape(-1),
        "without area": np.array([0, 0, 0, 1, 1, 2, 5, 5, 5, 0, 1, 0] * 4), "backwards": grid(20)[::-1].copy(), "none": np.zeros(0, np.int64),
    }  # fmt: skip


def turned(indices: Any) -> list[tuple[int, ...]]:
    """Triangles, each turned so that its least form comes first: winding and order kept."""
    return [min((a, b, c), (b, c, a), (c, a, b)) for a, b, c in np.asarray(indices).reshape(-1, 3).tolist()]


@pytest.mark.parametrize("name", lists())
def test_triangles_and_sequences_come_back(name: str) -> None:
    indices = lists()[name]
    assert turned(meshopt.decode_triangles(meshopt.encode_triangles(indices), len(indices))) == turned(indices)
    np.testing.assert_array_equal(meshopt.decode_indices(meshopt.encode_indices(indices), len(indices)), indices)


@pytest.mark.parametrize("name", [n for n in lists() if n != "none"])
def test_indices_against_the_reference_codec(reference: Any, name: str) -> None:
    indices = lists()[name].astype(np.uint32)
    count, vertices = len(indices), int(indices.max()) + 1
    ours, theirs = meshopt.encode_triangles(indices), bytes(reference.encode_index_buffer(indices, count, vertices))
    assert len(ours) <= 1.1 * len(theirs)
    assert turned(meshopt.decode_triangles(theirs, count)) == turned(indices)
    assert turned(np.asarray(reference.decode_index_buffer(count, 4, ours)).view(np.uint32)[:count]) == turned(indices)
    ours, theirs = meshopt.encode_indices(indices), bytes(reference.encode_index_sequence(indices, count, vertices))
    assert len(ours) <= 1.1 * len(theirs)
    np.testing.assert_array_equal(meshopt.decode_indices(theirs, count), indices)
    np.testing.assert_array_equal(np.asarray(reference.decode_index_sequence(count, 4, ours)).view(np.uint32)[:count], indices)


def test_walls_take_a_byte_a_triangle() -> None:
    quads = (np.arange(4000).reshape(-1, 4))[:, [0, 1, 2, 0, 2, 3]]
    assert len(meshopt.encode_triangles(quads)) == 1 + 2000 + 16


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_anything_comes_back(data: st.DataObject) -> None:
    stride = 4 * data.draw(st.integers(1, 64))
    rows = data.draw(hnp.arrays(np.uint8, (data.draw(st.integers(1, 70)), stride), elements=st.integers(0, 255), fill=st.integers(0, 9)))
    np.testing.assert_array_equal(meshopt.decode_vertices(meshopt.encode_vertices(rows), *rows.shape), rows)
    top = data.draw(st.sampled_from([3, 40, 70_000, (1 << 32) - 1]))
    triangles = np.array(data.draw(st.lists(st.tuples(*[st.integers(0, top)] * 3), max_size=80)), np.int64).reshape(-1, 3)
    packed = meshopt.encode_triangles(triangles)
    assert turned(meshopt.decode_triangles(packed, triangles.size)) == turned(triangles)


# --- broken bytes -----------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_broken_bytes_raise_or_decode_but_never_crash(data: st.DataObject) -> None:
    """Cut, changed and random streams: BadTileset or a full result, nothing else."""
    first, decode = data.draw(st.sampled_from([
        (meshopt.encode_vertices(rows_of("strides", 40, 8)), lambda b: meshopt.decode_vertices(b, 40, 8)),
        (meshopt.encode_triangles(grid(8)), lambda b: meshopt.decode_triangles(b, 294, 2)),
        (meshopt.encode_indices(grid(8)), lambda b: meshopt.decode_indices(b, 294, 2)),
    ]))  # fmt: skip
    broken = bytearray(first)
    for _ in range(data.draw(st.integers(0, 4))):
        broken[data.draw(st.integers(1, len(broken) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(-3, len(broken)))
    broken = broken[:cut] if cut >= 0 else broken + bytes(-cut)
    if data.draw(st.booleans()):
        broken = bytearray([first[0]]) + data.draw(st.binary(max_size=400))
    with suppress(BadTileset):
        assert len(decode(bytes(broken))) in (40, 294)


def _triangles(code: int, data: bytes = b"", table: bytes = bytes(16)) -> bytes:
    return b"\xe1" + bytes([code]) + data + table


@pytest.mark.parametrize(
    ("decode", "what"),
    [
        (lambda: meshopt.decode_vertices(b"", 1, 4), "begins with nothing"),
        (lambda: meshopt.decode_vertices(b"\xa1" + bytes(50), 1, 4), "begins with a1"),
        (lambda: meshopt.decode_vertices(b"\xa0" + bytes(36), 10**12, 4), "cannot hold"),
        (lambda: meshopt.decode_vertices(b"\xa0" + bytes(36), 1, 6), "not possible"),
        (lambda: meshopt.decode_vertices(b"\xa0" + bytes(37), 1, 4), "1 bytes are left over"),
        (lambda: meshopt.decode_vertices(b"\xa0\x03" + bytes(35), 1, 4), "ends too early"),
        (lambda: meshopt.decode_triangles(_triangles(0xF0), 6), "cannot hold"),
        (lambda: meshopt.decode_triangles(_triangles(0x00), 3), "not stored yet"),
        (lambda: meshopt.decode_triangles(_triangles(0xFE, b"\x20"), 3), "not stored yet"),
        (lambda: meshopt.decode_triangles(_triangles(0xFE), 3), "ends too early"),
        (lambda: meshopt.decode_triangles(_triangles(0xFF, b"\xff" + b"\x80" * 6 + b"\x01"), 3), "more than five bytes"),
        (lambda: meshopt.decode_triangles(_triangles(0xFF, b"\xff\x80\x80\x08\x00\x00"), 3, 2), "does not fit"),
        (lambda: meshopt.decode_triangles(_triangles(0xF0, table=b"\0\xf0" + bytes(14)), 3), "not allowed"),
        (lambda: meshopt.decode_triangles(_triangles(0xF0, table=bytes(15) + b"\1"), 3), "not allowed"),
        (lambda: meshopt.decode_triangles(_triangles(0xF0, b"\0"), 3), "left over"),
        (lambda: meshopt.decode_indices(b"\xd1" + bytes(4), 1), "cannot hold"),
        (lambda: meshopt.decode_indices(b"\xd1\x80" + bytes(4), 1), "ends too early"),
        (lambda: meshopt.decode_indices(b"\xd1\x02" + bytes(4), 1, 2), "does not fit"),
    ],
)  # fmt: skip
def test_what_is_broken_is_said(decode: Callable[[], Any], what: str) -> None:
    with pytest.raises(BadTileset, match=what):
        decode()


def test_what_cannot_be_encoded_is_refused() -> None:
    for rows in (np.zeros((0, 4), np.uint8), np.zeros((2, 6), np.uint8), np.zeros((2, 260), np.uint8)):
        with pytest.raises(ValueError, match="row"):
            meshopt.encode_vertices(rows)
    with pytest.raises(ValueError, match="three"):
        meshopt.encode_triangles(np.arange(4))
    with pytest.raises(ValueError, match="above"):
        meshopt.encode_indices(np.array([1 << 30]))


# --- filters ----------------------------------------------------------------------------------------------------------


def filtered(name: str, bits: int) -> np.ndarray:
    """Rows that the filter is defined for, made as appendix B describes them."""
    rng = np.random.default_rng(bits)
    one = (1 << (bits - 1)) - 1
    if name == "EXPONENTIAL":
        return ((rng.integers(-100, 101, (300, 2)) << 24) | (rng.integers(-(1 << 23), 1 << 23, (300, 2)) & 0xFFFFFF)).astype("<u4").view(np.uint8)
    v = rng.integers(-one, one + 1, (300, 4))
    if name == "OCTAHEDRAL":
        v[:, 2] = one
        return v.astype("i1" if bits <= 8 else "<i2").view(np.uint8)
    unit = rng.normal(size=(300, 4))
    unit /= np.abs(unit).max(axis=1)[:, None] * 2
    v[:, :3] = np.rint(unit[:, :3] * one)
    v[:, 3] = (one & ~3) | rng.integers(0, 4, 300)
    return v.astype("<i2").view(np.uint8)


@pytest.mark.parametrize(("name", "bits"), [("OCTAHEDRAL", 8), ("OCTAHEDRAL", 5), ("OCTAHEDRAL", 12), ("OCTAHEDRAL", 16),
                                            ("QUATERNION", 8), ("QUATERNION", 16), ("EXPONENTIAL", 32)])  # fmt: skip
def test_filters_against_the_reference_codec(reference: Any, name: str, bits: int) -> None:
    """The specification allows one unit in the last place."""
    rows = filtered(name, bits)
    count, stride = rows.shape
    kind = {("OCTAHEDRAL", 4): "i1", ("EXPONENTIAL", 8): "<f4"}.get((name, stride), "<i2")
    decode = {"OCTAHEDRAL": reference.decode_filter_oct, "QUATERNION": reference.decode_filter_quat, "EXPONENTIAL": reference.decode_filter_exp}[name]
    theirs = np.ascontiguousarray(decode(rows.copy().view(f"V{stride}").reshape(-1), count, stride)).view(np.uint8).reshape(count, stride).view(kind)
    ours = meshopt.unfilter(rows, name).view(kind)
    if kind == "<f4":
        np.testing.assert_array_equal(ours, theirs)
    else:
        assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


def test_filters_by_hand() -> None:
    up = np.array([[0, 0, 127, 7], [127, 0, 127, -7], [0, -127, 127, 0], [127, 127, 127, 0]], np.int8).view(np.uint8)
    assert meshopt.unfilter(up, "OCTAHEDRAL").view(np.int8).tolist() == [[0, 0, 127, 7], [127, 0, 0, -7], [0, -127, 0, 0], [0, 0, -127, 0]]
    still = np.array([[0, 0, 0, 0x7FFC | 3], [0, 0, 0x7FFF, 0x7FFC]], "<i2").view(np.uint8)
    assert meshopt.unfilter(still, "QUATERNION").view("<i2").tolist() == [[0, 0, 0, 32767], [23170, 0, 0, 23170]]
    number = np.array([[(-2 & 0xFF) << 24 | 5, 0]], "<u4").view(np.uint8)
    assert meshopt.unfilter(number, "EXPONENTIAL").view("<f4").tolist() == [[1.25, 0]]


@pytest.mark.parametrize(("name", "rows"), [
    ("OCTAHEDRAL", np.zeros((2, 12), np.uint8)), ("QUATERNION", np.zeros((2, 4), np.uint8)), ("OTHER", np.zeros((2, 4), np.uint8)),
    ("OCTAHEDRAL", np.zeros((2, 4), np.uint8)), ("QUATERNION", np.zeros((2, 8), np.uint8)), ("EXPONENTIAL", np.full((1, 4), 127, np.uint8)),
])  # fmt: skip
def test_rows_that_a_filter_is_not_defined_for(name: str, rows: np.ndarray) -> None:
    with pytest.raises(BadTileset, match=name):
        meshopt.unfilter(rows, name)


def test_the_checker_decodes_filtered_views_and_refuses_filters_elsewhere() -> None:
    rows = filtered("EXPONENTIAL", 32)
    packed = meshopt.encode_vertices(rows)
    view = {"buffer": 0, "byteLength": len(packed), "byteStride": 8, "count": 300, "mode": "ATTRIBUTES", "filter": "EXPONENTIAL"}
    report = Report()
    assert decode_view(view, 2400, lambda _, __: packed, Where(report, "x")) == meshopt.unfilter(rows, "EXPONENTIAL").tobytes()
    assert not report.findings
    triangles = meshopt.encode_triangles(np.arange(300))
    view |= {"mode": "TRIANGLES", "byteStride": 2, "byteLength": len(triangles)}
    assert decode_view(view, 600, lambda _, __: triangles, Where(report, "x")) is None
    assert report.codes() == {"MESHOPT_INVALID"}
