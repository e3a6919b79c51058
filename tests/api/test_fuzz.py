"""Whatever is asked: an answer or a problem document, never a failure of the server."""

from __future__ import annotations

import re
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LAYERS = st.sampled_from(["buildings", "道路", "islands", "bim", "dem"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.one_of(st.integers(-(10**30), 10**30), st.floats()).map(str)
VALUES = {
    "bbox": st.one_of(TEXT, st.lists(st.one_of(st.floats(-200, 200), st.floats()), min_size=3, max_size=6).map(lambda numbers: ",".join(map(str, numbers)))),
    "limit": st.one_of(NUMBERS, st.integers(1, 50).map(str), TEXT), "offset": st.one_of(NUMBERS, st.integers(0, 500).map(str), TEXT),
    "datetime": st.one_of(TEXT, st.sampled_from(["../..", "2020-01-01/..", "2020-13-45"])), "layer": st.one_of(LAYERS, TEXT),
    "z": NUMBERS, "x": NUMBERS, "y": NUMBERS,
}  # fmt: skip


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_no_request_breaks_the_server(sample, data):
    paths = sample.client.get("/openapi.json").json()["paths"]
    template = data.draw(st.sampled_from(sorted(path for path, methods in paths.items() if "get" in methods)))

    def fill(match):
        return quote(data.draw(VALUES.get(match[1], TEXT), label=match[1]), safe="")

    path = re.sub(r"\{(\w+)\}", fill, template)
    known = [one["name"] for one in paths[template]["get"].get("parameters", []) if one["in"] == "query"]
    query = {name: data.draw(VALUES.get(name, TEXT), label=name) for name in known if data.draw(st.booleans())}
    answer = sample.client.get(path, params=query, follow_redirects=False)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]
    elif answer.status_code == 200 and "json" in answer.headers["content-type"]:
        assert "NaN" not in answer.text
        assert "Infinity" not in answer.text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.sampled_from(["inputs", "terrain", "level", "bbox"]), inner, max_size=4)))  # fmt: skip
def test_no_body_breaks_the_server(sample, body):
    answer = sample.client.post("/processes/inundation/execution", json=body)
    assert answer.status_code in (400, 404), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
