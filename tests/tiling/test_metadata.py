"""tiling.encoding.metadata: every Arrow type through a glb and back by tiling.check, which shares no code with it."""

from __future__ import annotations

import datetime as dt
import json
import math
import sys
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiling.blocks import tiler as blocks
from tiling.check import decode_glb
from tiling.encoding.drawables import Primitive
from tiling.encoding.gltf import glb
from tiling.encoding.metadata import NO_DATA, enum_code, plan, schema_of
from tiling.encoding.slug import property_ids, slug
from tiling.encoding.survey import merge, survey
from tiling.sums import exact_sum
from twin.archive import Archive
from twin.lake import Lake
from twin.model import Column, Features, Reference, Report
from twin.parts import write_version
from twin.registry import TileJob

sys.path.insert(0, str(Path(__file__).parent))
from tiling_helpers import assert_valid


def through(table: pa.Table, data: bytes | None = None) -> dict[str, list[Any]]:
    """The table's columns after encoding and decoding, nulls restored by the class's own noData and `known` columns."""
    data = data or encode(table)
    (primitive,) = decode_glb(data)
    decoded = primitive.tables[0]
    document = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    properties = next(iter(document["extensions"]["EXT_structural_metadata"]["schema"]["classes"].values()))["properties"]
    known = {v["name"].removesuffix(" known"): k for k, v in properties.items() if v["name"].endswith(" known")}
    result: dict[str, list[Any]] = {}
    for name, about in properties.items():
        if name in known.values():
            continue
        values = [v.tolist() if isinstance(v, np.ndarray | np.generic) else v for v in decoded.columns[name]]
        if about["type"] == "SCALAR" and ("count" in about or not about.get("array")):
            nothing = about.get("noData")
            if about["componentType"] == "FLOAT32" and nothing is not None:
                nothing = float(np.float32(nothing))
            values = [None if v == nothing else v for v in values]
        if about["name"] in known:
            values = [v if k else None for v, k in zip(values, decoded.columns[known[about["name"]]], strict=True)]
        result[about["name"]] = values
    return result


def encode(table: pa.Table) -> bytes:
    points = Primitive(np.zeros((len(table), 3)), feature_ids=np.arange(len(table)))
    return glb([points], (), schema_of("test", table).encode(table))


TEXT = st.text(max_size=12) | st.sampled_from(["", "\0", "\0\0", NO_DATA, "五邑", "蓬江区", "x"])
NUMBERS = {
    **{f"int{b}": st.integers(-(1 << (b - 1)), (1 << (b - 1)) - 1) for b in (8, 16, 32, 64)},
    **{f"uint{b}": st.integers(0, (1 << b) - 1) for b in (8, 16, 32, 64)},
    "float32": st.floats(width=32), "float64": st.floats(),
}  # fmt: skip
SCALARS = [(getattr(pa, name)(), values) for name, values in NUMBERS.items()] + [(pa.string(), TEXT), (pa.bool_(), st.booleans())]


@st.composite
def columns(draw: st.DrawFn) -> pa.Array:
    kind, values = draw(st.sampled_from(SCALARS))
    low = draw(st.booleans())
    if pa.types.is_integer(kind) and low:
        info = np.iinfo(str(kind))
        values = values | st.sampled_from([int(info.min), int(info.max)])
    return pa.array(draw(st.lists(values | st.none(), min_size=7, max_size=7)), kind)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(columns(), min_size=1, max_size=4))
def test_scalars_come_back_with_their_nulls(arrays: list[pa.Array]) -> None:
    table = pa.table({"id": [f"编号{i}" for i in range(7)], **{f"列 {i}": a for i, a in enumerate(arrays)}})
    back = through(table)
    assert next(iter(back)) == "id"
    for name in table.column_names:
        expected = [None if isinstance(v, float) and math.isnan(v) else v for v in table.column(name).to_pylist()]
        got = back[name]
        if pa.types.is_boolean(table.schema.field(name).type):
            got = [{"true": True, "false": False, None: None}.get(v, v) for v in got]  # nullable booleans are enums
        assert got == expected, name


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_lists_come_back(data: st.DataObject) -> None:
    """Null, empty, with members of every kind, of any and of one length: as they were, whatever a tile holds of them."""
    kind, values = data.draw(st.sampled_from([s for s in SCALARS if str(s[0]) not in ("float", "double")]))
    count = data.draw(st.sampled_from([0, 0, 2, 3]))
    lists = st.lists(values, min_size=count, max_size=count or 4)
    rows = data.draw(st.lists(st.none() | lists, min_size=3, max_size=6))
    table = pa.table({"id": [str(i) for i in range(len(rows))], "l": pa.array(rows, pa.list_(kind, count) if count else pa.list_(kind))})
    data_of = encode(table)
    document = json.loads(data_of[20 : 20 + int.from_bytes(data_of[12:16], "little")])
    about = document["extensions"]["EXT_structural_metadata"]["schema"]["classes"]["test"]["properties"]["l"]
    got = through(table, data_of)["l"]
    if "" in [member for row in rows for member in row or ()]:
        assert "array" not in about
        got = [None if v is None else json.loads(v) for v in got]
    else:
        assert (about["array"], about.get("count", 0)) == (True, count)
    assert got == rows


def test_the_rest_of_arrow() -> None:
    when = dt.datetime(2026, 1, 2, 3, 4, 5)
    table = pa.table({
        "id": ["1", "2"],
        "date": pa.array([dt.date(2020, 2, 29), None]),
        "time": pa.array([when, None], pa.timestamp("s")),
        "zoned": pa.array([when, None], pa.timestamp("s", "UTC")),
        "price": pa.array([Decimal("12.34"), None], pa.decimal128(9, 2)),
        "big": pa.array([Decimal("12345678901234567890.12"), None], pa.decimal128(30, 2)),
        "half": pa.array([np.float16(1.5), None], pa.float16()),
        "dict": pa.array(["a", None]).dictionary_encode(),
        "struct": pa.array([{"层": 3}, None]),
        "holes": pa.array([[1, None], None]),
        "bytes": pa.array([b"\xff\0", None]),
        "none": pa.nulls(2),
        "large": pa.array(["甲", None], pa.large_string()),
        "deep": pa.array([[[1], [2]], None]),
    })  # fmt: skip
    back = through(table)
    assert {name: values[0] for name, values in back.items()} == {
        "id": "1", "date": "2020-02-29", "time": "2026-01-02T03:04:05", "zoned": "2026-01-02T03:04:05Z", "price": 12.34,
        "big": "12345678901234567890.12", "half": 1.5, "dict": "a", "struct": '{"层": 3}', "holes": "[1, null]", "bytes": "ff00",
        "none": None, "large": "甲", "deep": "[[1], [2]]",
    }  # fmt: skip
    assert all(values[1] is None for name, values in back.items() if name != "id")


def test_three_hundred_attributes_and_clashing_names() -> None:
    names = [f"属性 {i}" for i in range(300)] + ["a b", "a_b", "1st", "A-B", "id_known", "é"]
    table = pa.table({"x": ["1"], **{name: [i] for i, name in enumerate(names)}}).rename_columns(["id", *names])
    back = through(table)
    assert [back[name] for name in names] == [[i] for i in range(306)]
    ids = property_ids(["id", *names])
    assert len(set(ids.values())) == 307
    assert ids["a b"] == "a_b"
    assert ids["a_b"] == "a_b_2"
    assert slug("1st") == "_1st"
    assert_valid(encode(table))


def test_enums_are_local_and_pinned() -> None:
    """Codes depend on the text alone; a tile's schema lists what occurs in it, the layer's lists all."""
    rows = pa.table({"id": [str(i) for i in range(8)], "use": ["住宅", "商业", None, "住宅"] * 2})
    schema = schema_of("l", rows)
    assert [v["name"] for v in schema.to_json()["enums"]["use"]["values"]] == ["住宅", "商业", NO_DATA]
    tile = schema.encode(rows.slice(0, 1))
    assert tile.schema["enums"]["use"]["values"] == [{"name": "住宅", "value": enum_code("住宅")}, {"name": NO_DATA, "value": 0}]
    assert through(rows, glb([Primitive(np.zeros((8, 3)))], (), schema.encode(rows)))["use"] == rows["use"].to_pylist()


def test_surveys_merge_as_if_it_were_one() -> None:
    rng = np.random.default_rng(3)
    table = pa.table({"id": [str(i) for i in range(90)], "n": rng.integers(-9, 9, 90), "t": [f"t{i % 70}" for i in range(90)],
                      "u": [["a", None, "c"][i % 3] for i in range(90)]})  # fmt: skip
    parts = merge(survey(table.slice(i, 30)) for i in (60, 0, 30))
    whole = survey(table)
    assert plan("l", table.schema, parts) == plan("l", table.schema, whole)
    assert parts["t"].texts is None
    statistics = plan("l", table.schema, parts).statistics(parts)["classes"]["l"]
    assert statistics["properties"]["u"] == {"occurrences": {"a": 30, "c": 30}}
    n = table["n"].to_numpy()
    assert statistics["properties"]["n"] == {"min": int(n.min()), "max": int(n.max()), "mean": pytest.approx(n.mean()), "sum": int(n.sum())}


ANY = st.floats(allow_nan=False, allow_infinity=False) | st.floats(-1e6, 1e6) | st.integers(-(1 << 40), 1 << 40).map(float)


@settings(max_examples=300, deadline=None)
@given(st.lists(ANY, min_size=1, max_size=40), st.randoms())
def test_sums_are_exact_in_any_order(values: list[float], random: Any) -> None:
    """Against rational numbers; each value may lose what lies below 2^-20."""
    mixed = list(values)
    random.shuffle(mixed)
    total = exact_sum(np.array(values))
    assert total == exact_sum(np.array(mixed)) == sum(exact_sum(np.array([v])) for v in values)
    expected = sum(map(Fraction, values))
    assert abs(Fraction(total, 1 << 20) - expected) <= Fraction(len(values), 1 << 21)


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_sums_of_whole_numbers(kind: str) -> None:
    info = np.iinfo(kind)
    values = [int(info.min), int(info.max), int(info.max), 7, int(info.max) - 3]
    assert exact_sum(np.array(values, kind)) == sum(values) << 20


def test_statistics_against_pandas() -> None:
    rng = np.random.default_rng(8)
    count = 3000
    height = np.where(rng.random(count) < 0.1, np.nan, rng.gamma(3, 9, count))
    table = pa.table({
        "id": [str(i) for i in range(count)], "height": pa.array(height, from_pandas=True), "big": pa.array(rng.integers(-(1 << 62), 1 << 62, count)),
        "floors": pa.array([None if i % 9 == 0 else i % 40 for i in range(count)], pa.int16()), "old": [None if i % 4 == 0 else i % 3 == 0 for i in range(count)],
        "use": [["住宅", "商业", None, "学校"][i % 4] for i in range(count)], "nothing": pa.nulls(count, pa.float64()),
    })  # fmt: skip
    schema = schema_of("l", table)
    told = schema.statistics(merge(survey(table.slice(i, 700)) for i in range(0, count, 700)))["classes"]["l"]["properties"]
    frame = table.to_pandas()
    for name in ("height", "floors"):
        column = frame[name].dropna()
        assert told[name]["min"] == column.min()
        assert told[name]["max"] == column.max()
        assert told[name]["mean"] == pytest.approx(column.mean(), rel=1e-6)
        assert told[name]["sum"] == pytest.approx(column.sum(), rel=1e-6)
    assert told["big"]["sum"] == pytest.approx(sum(table["big"].to_pylist()), rel=1e-12)
    assert told["use"]["occurrences"] == frame["use"].value_counts().to_dict()
    assert told["old"]["occurrences"] == {str(k).lower(): n for k, n in frame["old"].value_counts().to_dict().items()}
    assert "nothing" not in told


def test_units_and_titles() -> None:
    table = pa.table({"h": [1.0], "id": ["a"]})
    schema = schema_of("l", table, [Column("h", "double", "m", {"zh": "高度", "en": "Height"})]).to_json()
    assert schema["classes"]["l"]["properties"]["h"]["description"] == "高度 / Height [m]"
    assert schema["classes"]["l"]["properties"]["id"]["semantic"] == "ID"


def test_a_null_nobody_announced_is_an_error_not_a_wrong_value() -> None:
    schema = schema_of("l", pa.table({"id": ["a"], "h": [1.0]}))
    with pytest.raises(ValueError, match="did not see"):
        schema.encode(pa.table({"id": ["a"], "h": pa.array([None], pa.float64())}))


def test_statistics_of_three_hundred_attributes_without_reading_the_tiles(lake: Lake) -> None:
    """What tileset.json says of a tiled layer, told in two batches, against NumPy over the source: infinities and what is not a number count as not known, as nulls do."""
    rng, count = np.random.default_rng(12), 240
    words = ["住宅", "商业", "no data", "学校"]

    def column(k: int) -> pa.Array:
        clear = rng.random(count) < (0, 0.1, 1)[k % 3 if k % 21 == 20 else k % 2]
        kinds: list[Any] = [
            lambda: pa.array(np.where(rng.random(count) < 0.1, rng.choice([np.nan, np.inf, -np.inf], count), rng.normal(0, 10.0 ** (k % 9), count)), mask=clear),
            lambda: pa.array(rng.choice([-(1 << 63), (1 << 63) - 1, *range(-5, 6)], count), pa.int64(), mask=clear),
            lambda: pa.array(rng.choice(np.array([0, (1 << 64) - 1, 1 << 63, 7], np.uint64), count), mask=clear),
            lambda: pa.array(rng.random(count) < 0.3, mask=clear), lambda: pa.array(np.array(words, object)[rng.integers(0, 4, count)], mask=clear),
            lambda: pa.array(rng.integers(-30_000, 30_000, count).astype(np.int32)).cast(pa.date32()), lambda: pa.array([[1.5, k][: i % 3] for i in range(count)]),
        ]  # fmt: skip
        return kinds[k % 7]()

    source = pa.table({"height": rng.uniform(3, 60, count), **{f"属性{k}": column(k) for k in range(301)}})
    shapes = np.array([shapely.box(x, 2_498_000, x + 9, 2_498_009) for x in 405_000.0 + 12 * np.arange(count)], object)
    ids, half = pa.array([f"b{i}" for i in range(count)]), count // 2
    batches = [Features(Reference("EPSG:4547"), ids[rows], shapes[rows], source.slice(rows.start, half)) for rows in (slice(0, half), slice(half, count))]
    version = write_version(lake, "h", "blocks", batches, Report("h"), provenance={}, style={"height": "height"})
    blocks.tile(version, TileJob(lake, lake.root / "out.3tz", blocks.Options(ground=5.0, budget=2000)))
    with Archive(lake.root / "out.3tz") as archive:
        document = json.loads(archive.read("tileset.json"))
    told = document["statistics"]["classes"][document["schema"]["id"]]
    names = {field.get("name"): key for key, field in document["schema"]["classes"][document["schema"]["id"]]["properties"].items()}
    assert told["count"] == count
    numbers = said = 0
    for name in source.column_names:
        values, found = source[name].drop_null(), told["properties"].get(names[name])
        if pa.types.is_floating(values.type) or pa.types.is_integer(values.type):
            known = values.to_numpy()
            known = known[np.isfinite(known)] if known.dtype.kind == "f" else known
            assert (found is None) == (len(known) == 0), name
            if found:
                assert (found["min"], found["max"]) == (known.min().item(), known.max().item()), name
                total = sum(known.tolist()) if known.dtype.kind != "f" else math.fsum(known)
                assert found["sum"] == pytest.approx(total, rel=1e-6, abs=1e-6 * float(np.abs(known.astype(float)).sum())), name
                numbers += 1
        elif pa.types.is_string(values.type) or (pa.types.is_boolean(values.type) and source[name].null_count):  # the standard counts enums alone
            expected = {str(v).lower() if isinstance(v, bool) else v: n for v, n in Counter(values.to_pylist()).items()}
            assert (found or {}).get("occurrences", {}) == expected, name
            said += 1
    assert numbers > 100 and said > 50
