"""CQL2: every operator against the same condition written in Python, three-valued logic, and what is refused."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest
import shapely

from twin import cql2, parts, query
from twin.errors import BadOption, OverLimit
from twin.model import Bounds, Features, Reference, Report

ROWS = [
    {"id": "a", "n": 3, "h": 12.5, "name": "Café", "flag": True, "day": date(2020, 1, 1), "at": datetime(2020, 1, 1, 8, tzinfo=UTC), "text_day": "2020-06-01", "tags": ["x", "y"], "用途": "住宅"},
    {"id": "b", "n": -4, "h": 30.0, "name": "a%b", "flag": False, "day": date(2021, 5, 5), "at": datetime(2021, 5, 5, tzinfo=UTC), "text_day": "2021-06-01T00:00:00Z", "tags": ["x"], "用途": "school"},
    {"id": "c", "n": None, "h": None, "name": None, "flag": None, "day": None, "at": None, "text_day": None, "tags": None, "用途": None},
    {"id": "d", "n": 0, "h": float("nan"), "name": "ABC", "flag": True, "day": date(1999, 12, 31), "at": datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), "text_day": "no date", "tags": [], "用途": "住宅"},
]  # fmt: skip
SCHEMA = pa.schema([
    ("id", pa.string()), ("n", pa.int64()), ("h", pa.float64()), ("name", pa.string()), ("flag", pa.bool_()), ("day", pa.date32()),
    ("at", pa.timestamp("ms", tz="UTC")), ("text_day", pa.string()), ("tags", pa.list_(pa.string())), ("用途", pa.string()),
])  # fmt: skip
TABLE = pa.Table.from_pylist(ROWS, SCHEMA)
TYPES = {f.name: f.type for f in SCHEMA}
SHAPES = np.array([shapely.Point(1, 1), shapely.box(0, 0, 2, 2), None, shapely.LineString([(0, 0), (4, 4)])], dtype=object)


def matches(text: str, language: str = "cql2-text") -> str:
    found = cql2.parse(text, TYPES, language)
    mask = found.mask(TABLE, SHAPES)
    return "".join(row["id"] for row, yes in zip(ROWS, mask, strict=True) if yes)


@pytest.mark.parametrize(("text", "expected"), [
    ("n > 0", "a"), ("n >= 0", "ad"), ("n <> 3", "bd"), ("n = 3.0", "a"), ("NOT n = 3", "bd"), ("h < 20", "a"),
    ("n > h - 10", "a"), ("h = 30 OR n IS NULL", "bc"), ("h IS NULL", "cd"), ("h IS NOT NULL", "ab"),
    ("n BETWEEN -4 AND 0", "bd"), ("n NOT BETWEEN -4 AND 0", "a"), ("n IN (3, 0)", "ad"), ("n NOT IN (3, 0)", "b"),
    ("flag", "ad"), ("NOT flag", "b"), ("flag = FALSE", "b"), ("n > 0 OR flag", "ad"), ("n > 0 AND flag", "a"), ("true", "abcd"), ("false", ""),
    ("name LIKE 'a%'", "b"), ("CASEI(name) LIKE CASEI('A%')", "bd"), ("name LIKE 'a\\%b'", "b"), ("name LIKE '___'", "bd"), ("name NOT LIKE 'a%'", "ad"),
    ("ACCENTI(name) = ACCENTI('Cafe')", "a"), ("ACCENTI(CASEI(name)) = 'cafe'", "a"), ('"用途" = \'住宅\'', "ad"), ("用途 IN ('school')", "b"),
    ("n + 1 = 4", "a"), ("n * 2 < -7", "b"), ("7 / n > 2", "a"), ("n % 2 = 1", "a"), ("n ^ 2 = 16", "b"), ("n div 2 = 1", "a"), ("-n = 4", "b"),
    ("day > DATE('2020-01-01')", "b"), ("day >= DATE('2020-01-01')", "ab"), ("at < TIMESTAMP('2020-01-01T00:00:00Z')", "d"),
    ("at = TIMESTAMP('2020-01-01T16:00:00+08:00')", "a"), ("text_day < DATE('2021-01-01')", "a"),
    ("T_AFTER(day, DATE('2020-06-01'))", "b"), ("T_BEFORE(at, DATE('2000-01-01'))", "d"), ("T_DURING(at, INTERVAL('2019-01-01','2020-12-31'))", "a"),
    ("T_INTERSECTS(day, INTERVAL('2020-01-01','..'))", "ab"), ("T_DISJOINT(day, INTERVAL('..','2020-01-01'))", "b"),
    ("T_EQUALS(day, DATE('2021-05-05'))", "b"), ("T_CONTAINS(INTERVAL('1990-01-01','2020-06-01'), day)", "ad"),
    ("A_CONTAINS(tags, ('x','y'))", "a"), ("A_OVERLAPS(tags, ('y','z'))", "a"), ("A_EQUALS(tags, ('x'))", "b"), ("A_CONTAINEDBY(tags, ('x','y'))", "abd"),
    ("S_INTERSECTS(geometry, POINT(1 1))", "abd"), ("S_WITHIN(geometry, BBOX(0,0,3,3))", "ab"), ("S_DISJOINT(geometry, BBOX(1.5,0,3,0.5))", "ad"),
    ("S_CONTAINS(geometry, POINT(1.5 0.5))", "b"), ("S_CROSSES(geometry, POLYGON((0 0,2 0,2 2,0 2,0 0)))", "d"),
    ("S_TOUCHES(geometry, POLYGON((2 0,3 0,3 2,2 2,2 0)))", "bd"), ("S_EQUALS(geometry, POINT(1 1))", "a"), ("geometry IS NULL", "c"),
    ("S_INTERSECTS(geometry, BBOX(0,0,1,1)) AND n > 0", "a"), ("NOT S_INTERSECTS(geometry, POINT(1 1))", ""),
])  # fmt: skip
def test_operators(text, expected):
    assert matches(text) == expected


def test_json_says_the_same():
    assert matches('{"op":"and","args":[{"op":">","args":[{"property":"h"},10]},{"op":"=","args":[{"property":"flag"},false]}]}', "cql2-json") == "b"


@pytest.mark.parametrize("op", ["=", "<>", "<", "<=", ">", ">="])
def test_unknown_is_neither_true_nor_false(op):
    """Kleene's tables: for every row, the condition and its negation never both hold, and nulls match neither."""
    yes, no = set(matches(f"n {op} 0")), set(matches(f"NOT (n {op} 0)"))
    assert not yes & no and yes | no == {"a", "b", "d"}
    assert set(matches(f"n {op} 0 OR NOT n {op} 0 OR n IS NULL")) == set("abcd")
    assert "c" not in matches(f"n {op} 0 AND true")


@pytest.mark.parametrize(("text", "said"), [
    ("nothing = 3", "no property 'nothing'"), ("n = 'x'", "compares a number with a text"), ("name > 3", "compares a text with a number"),
    ("n", "not a condition"), ("'x'", "not a condition"), ("buffer(geometry, 3) = 2", "no operator or function 'buffer'"), ("n >", "no cql2-text"),
    ("name LIKE name", "pattern in quotes"), ("n AND flag", "AND takes boolean"), ("day > DATE('20x')", "no RFC 3339"), ("geometry > 3", "not a geometry"),
    ("S_INTERSECTS(n, POINT(1 1))", "takes geometry"), ("n = 9007199254740995", "too large to be exact"), ("tags = 'x'", "not a array"),
    ("S_INTERSECTS(geometry, POLYGON((0 0,1 1,0 1,1 0,0 0)))", "Self-intersection"), ("n = 1; DROP TABLE x", "no cql2-text"),
])  # fmt: skip
def test_refused(text, said):
    with pytest.raises(BadOption, match="filter") as raised:
        cql2.parse(text, TYPES)
    assert said in str(raised.value)


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"op":"and"}', '{"op":"evil","args":[]}', '{"op":"and","args":[{"property":"flag"}]}', "null", "3"])
def test_bad_json(text):
    with pytest.raises(BadOption):
        cql2.parse(text, TYPES, "cql2-json")


def test_broken_json_is_told_where_and_by_an_example_in_json():
    with pytest.raises(BadOption, match="line 1 column 13") as raised:
        cql2.parse('{"op": ">", }', TYPES, "cql2-json")
    assert '"args"' in str(raised.value)


def test_too_long():
    with pytest.raises(BadOption, match="more than"):
        cql2.parse("n = 1 OR " * 10_000 + "n = 1", TYPES)


@pytest.mark.parametrize("text", ["(" * 9000 + "flag" + ")" * 9000, "NOT " * 4000 + "flag", "n" + "-1" * 9000 + "=1", "n" + "^n" * 9000 + "=1", "-" * 15000 + "n=1"])
def test_deep_nesting_does_not_end_the_process(text):
    try:
        cql2.parse(text, TYPES)
    except BadOption as error:
        assert "nested more than" in str(error)  # noqa: PT017  brackets alone are no depth
    else:
        assert text.startswith("(")


@pytest.fixture
def layer(lake, monkeypatch):
    """2,000 squares of 10 m on a lattice of 20 m, in parts of 700."""
    monkeypatch.setattr(parts, "PART_ROWS", 700)
    monkeypatch.setattr(parts, "ROW_GROUP", 128)
    i = np.arange(2000)
    x, y = 405_000.0 + i % 50 * 20, 2_497_000.0 + i // 50 * 20
    table = pa.table({"row": i, "height": np.where(i % 7 == 0, np.nan, i % 50 * 1.5), "use": [("住宅", "school", None)[k % 3] for k in i]})
    batch = Features(Reference("EPSG:4547"), pa.array([f"f{k}" for k in i]), shapely.box(x, y, x + 10, y + 10), table)
    return parts.write_version(lake, "squares", "vector", [batch], Report("test"), provenance={})


def test_pages_of_a_filtered_layer(lake, layer):
    where = query.filter_of(lake, layer, "height > 30 AND use = '住宅'")
    expected = {f"f{k}" for k in range(2000) if k % 7 and k % 50 * 1.5 > 30 and k % 3 == 0}
    got: list[str] = []
    while True:
        page = query.items(lake, layer, where=where, limit=100, offset=len(got))
        assert page.matched == len(expected) == query.count(lake, layer, where=where)
        got += page.features.ids.to_pylist()
        if len(got) >= page.matched:
            break
    assert set(got) == expected and len(got) == len(expected)


def test_a_place_and_a_box_and_an_attribute(lake, layer):
    """The same polygon as filter and by hand with shapely over everything; `bbox` narrows it further."""
    everything = query.to_wgs84(query.items(lake, layer, limit=10_000).features)
    west, south, east, north = shapely.total_bounds(everything.geometry)
    ring = [(west, south), (east, south), ((west + east) / 2, north), (west, south)]
    wkt = shapely.to_wkt(shapely.Polygon(ring), rounding_precision=-1)
    where = query.filter_of(lake, layer, f"S_WITHIN(geometry, {wkt}) AND row < 1500")
    assert where.box is not None and math.isclose(where.box.minx, west)
    inside = shapely.within(everything.geometry, shapely.Polygon(ring)) & (everything.attributes["row"].to_numpy() < 1500)
    assert set(query.items(lake, layer, where=where, limit=10_000).features.ids.to_pylist()) == set(np.array(everything.ids.to_pylist())[inside])
    middle = Bounds(west, south, (west + east) / 2, north)
    touched = inside & shapely.intersects(everything.geometry, shapely.box(middle.minx, middle.miny, middle.maxx, middle.maxy))
    assert query.count(lake, layer, middle, where) == int(touched.sum()) > 0


def test_the_time_cap_holds(lake, layer):
    with pytest.raises(OverLimit, match="took more than"):
        query.count(lake, layer, where=query.filter_of(lake, layer, "height > 1"), caps=query.Caps(seconds=-1))
