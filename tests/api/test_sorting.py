"""Order on request: against Python's own stable sort, page by page; nulls and NaN last; what cannot be sorted by is refused."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
import shapely

from tests.api.conftest import publish
from twin import query, sorting
from twin.errors import OverLimit
from twin.model import Features, Reference


@pytest.fixture(scope="module")
def sorted_layer(sample):
    """Values with ties, nulls, NaN; many of them."""
    rng = np.random.default_rng(3)
    count = 700
    numbers = [None if i % 11 == 0 else float("nan") if i % 13 == 0 else float(rng.integers(0, 9)) for i in range(count)]
    texts = [None if i % 7 == 0 else "楼高ab"[int(rng.integers(0, 4))] for i in range(count)]
    table = pa.table({"n": numbers, "t": texts, "flag": [bool(i % 3) for i in range(count)], "many": [[i] for i in range(count)]})
    points = shapely.points(404_000 + rng.uniform(0, 4000, count), 2_497_000 + rng.uniform(0, 4000, count))
    publish(sample.city, "sorted", "vector", [Features(Reference("EPSG:4547"), pa.array([f"s{i}" for i in range(count)]), points, table)])
    return sample


def pages(client, url):
    found = []
    while url:
        body = client.get(url).json()
        found += body["features"]
        url = next((one["href"] for one in body["links"] if one["rel"] == "next"), None)
    return found


def wanted(features, keys):
    """Python's stable sort, the lightest key first."""
    for name, down in reversed(keys):
        values = {one["id"]: one["properties"].get(name, one["id"]) for one in features}
        known = [one for one in features if values[one["id"]] is not None]
        features = sorted(known, key=lambda one: values[one["id"]], reverse=down) + [one for one in features if values[one["id"]] is None]
    return [one["id"] for one in features]


@pytest.mark.parametrize(("text", "keys"), [("n", [("n", False)]), ("-n", [("n", True)]), ("+t", [("t", False)]), ("-t,+flag", [("t", True), ("flag", False)]),
                                            ("flag,-id", [("flag", False), ("id", True)]), ("-flag,t,-id", [("flag", True), ("t", False), ("id", True)])])
@pytest.mark.parametrize("limit", [37, 10_000])
def test_order_is_that_of_a_stable_sort_through_all_pages(sorted_layer, text, keys, limit):
    client = sorted_layer.client
    asked = "&filter=n%20%3C%20100" if "n" in text else ""  # JSON writes NaN as null: the two are told apart below
    plain = pages(client, f"/collections/sorted/items?limit=10000{asked}")
    got = [one["id"] for one in pages(client, f"/collections/sorted/items?sortby={text}&limit={limit}{asked}")]  # + as a browser sends it: a space
    assert got == wanted(plain, keys)
    assert len(set(got)) == len(got) > 500


@pytest.mark.parametrize("text", ["n", "-n"])
def test_what_is_no_number_stands_before_nulls_at_the_end(sorted_layer, text):
    _, version, _ = sorted_layer.city.published("sorted")
    lake = sorted_layer.city.lake
    values = query.items(lake, version, limit=700, columns=["n"], sort=query.sort_of(lake, version, text)).features.attributes.column("n").to_pylist()
    kinds = [2 if v is None else 1 if math.isnan(v) else 0 for v in values]
    assert kinds == sorted(kinds)
    assert set(kinds) == {0, 1, 2}


def test_a_sorted_page_is_whole(sorted_layer):
    """Ids, geometry and attributes move together."""
    client = sorted_layer.client
    for one in client.get("/collections/sorted/items?sortby=-t,n&limit=5&offset=300").json()["features"]:
        alone = client.get(f"/collections/sorted/items/{one['id']}").json()
        assert {key: alone[key] for key in ("geometry", "properties")} == {key: one[key] for key in ("geometry", "properties")}
    bare = client.get("/collections/sorted/items?sortby=-id&limit=2&properties=").json()["features"]
    assert [one["id"] for one in bare] == ["s99", "s98"]
    boxed = client.get("/collections/sorted/items?sortby=-id&bbox=113.07,22.57,113.09,22.59&limit=10000").json()["features"]
    assert [one["id"] for one in boxed] == sorted((one["id"] for one in boxed), reverse=True) != []


@pytest.mark.parametrize("text", ["nix", "many", "n,n", "n,-n", "", "+", "-", "n,", "geometry", "++n"])
def test_what_cannot_be_sorted_by_is_refused(sorted_layer, text):
    answer = sorted_layer.client.get("/collections/sorted/items", params={"sortby": text})
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("sortby: ")
    assert "twice" in answer.json()["detail"] or "Sortable: id, parent, n, t, flag" in answer.json()["detail"]


def test_sortables(sorted_layer):
    answer = sorted_layer.client.get("/collections/sorted/sortables")
    assert answer.headers["content-type"].startswith("application/schema+json")
    assert list(answer.json()["properties"]) == ["id", "parent", "n", "t", "flag"]
    assert {"geometry", "many"} <= set(sorted_layer.client.get("/collections/sorted/queryables").json()["properties"])


def test_memory_is_bounded():
    tables = (pa.table({"t": ["x" * 1000] * 1000}) for _ in range(10**9))
    with pytest.raises(OverLimit, match="sortby"):
        sorting.order(tables, (sorting.Key("t", down=False),), 5 << 20)
