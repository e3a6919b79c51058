"""Processes and jobs: descriptions come from the scenarios' own models; a run is checked, queued, followed, read and dismissed."""

from __future__ import annotations

import jsonschema
import pytest

from twin import registry
from twin.jobs import Jobs

GOOD = {"terrain": "dem", "level": 5.0, "source_point": [113.08, 22.58]}


@pytest.fixture
def jobs(sample):
    return Jobs(sample.city.catalog)


def start(sample, inputs=None, **more):
    return sample.client.post("/processes/inundation/execution", json={"inputs": GOOD | (inputs or {})} | more, headers={"prefer": "respond-async"})


def test_every_scenario_is_described_by_its_own_model(sample):
    listed = {one["id"]: one for one in sample.client.get("/processes").json()["processes"]}
    assert set(listed) == set(registry.scenarios())
    for name, entry in registry.scenarios().items():
        module = entry.load()
        body = sample.client.get(f"/processes/{name}").json()
        assert (body["title"], body["x-title-zh"]) == (module.TITLE["en"], module.TITLE["zh"])
        assert set(body["inputs"]) == set(module.Params.model_fields)
        assert set(body["outputs"]) == {output.name for output in module.OUTPUTS}
        assert "async-execute" in body["jobControlOptions"]
        for field, info in module.Params.model_fields.items():
            described = body["inputs"][field]
            jsonschema.Draft202012Validator.check_schema(described["schema"])
            assert "$ref" not in str(described["schema"])
            assert described["minOccurs"] == int(info.is_required())
            assert described["title"]


def test_layer_inputs_say_which_kinds_they_take(sample):
    inputs = sample.client.get("/processes/inundation").json()["inputs"]
    assert inputs["terrain"]["schema"]["x-layer-kinds"] == ["terrain"]
    assert inputs["terrain"]["x-title-zh"]


def test_a_form_can_be_made_of_what_the_inputs_say(sample):
    for name, entry in registry.scenarios().items():
        fields = entry.load().Params.model_fields
        for field, described in sample.client.get(f"/processes/{name}").json()["inputs"].items():
            schema = described["schema"]
            if "enum" in schema:
                assert set(schema["x-choices"]) == set(schema["enum"]), field
            assert set(schema.get("x-when", {})) | {schema.get("x-column-of", field)} <= set(fields), field
            for other, values in schema.get("x-when", {}).items():
                assert values is True or set(values) <= set(sample.client.get(f"/processes/{name}").json()["inputs"][other]["schema"]["enum"]), field
    flood = sample.client.get("/processes/flood").json()["inputs"]
    assert [flood[field]["x-group"]["zh"] for field in ("cell", "rain", "storm_a", "gauges")] == ["范围与网格", "降雨", "降雨", "输出"]


def test_a_run_is_queued_followed_and_dismissed(sample, jobs):
    answer = start(sample)
    assert answer.status_code == 201, answer.text
    assert answer.headers["preference-applied"] == "respond-async"
    body = answer.json()
    assert answer.headers["location"].endswith(f"/jobs/{body['jobID']}")
    assert (body["status"], body["processID"], body["type"], body["progress"]) == ("accepted", "inundation", "process", 0)
    assert start(sample).json()["jobID"] == body["jobID"], "the same unfinished run is not queued twice"

    stored = jobs.get(body["jobID"])
    assert stored.kind == "run"
    assert stored.params == {"scenario": "inundation", "inputs": GOOD, "name": "inundation"}

    assert body["jobID"] in {one["jobID"] for one in sample.client.get("/jobs").json()["jobs"]}
    early = sample.client.get(f"/jobs/{body['jobID']}/results")
    assert early.status_code == 404
    assert early.json()["type"].endswith("result-not-ready")

    gone = sample.client.delete(f"/jobs/{body['jobID']}")
    assert gone.status_code == 200
    assert gone.json()["status"] == "dismissed"
    assert sample.client.get(f"/jobs/{body['jobID']}").json()["status"] == "dismissed"
    assert sample.client.delete(f"/jobs/{body['jobID']}").status_code == 409
    assert sample.client.get(f"/jobs/{body['jobID']}/results").status_code == 410


def test_progress_message_and_results(sample, jobs):
    identity = start(sample, {"level": 6.0}, **{"twin:name": "暴雨"}).json()["jobID"]
    claimed = jobs.claim(identity)
    seen = []

    def task(context):
        context.stage("running", "flood")
        context.progress(0.5)
        context._written = 0.0
        context.progress(0.42, "t = 10 s")
        seen.append(sample.client.get(f"/jobs/{identity}").json())
        return {"outputs": {"depth": {"layer": "暴雨-depth", "version": 1}}, "report": {"facts": {"wet_cells": 3}}}

    jobs.run(claimed, task)
    assert (seen[0]["status"], seen[0]["progress"], seen[0]["twin:stage"]) == ("running", 42, "running")
    assert "t = 10 s" in seen[0]["message"]
    done = sample.client.get(f"/jobs/{identity}").json()
    assert (done["status"], done["progress"]) == ("successful", 100)
    assert done["created"] <= done["started"] <= done["finished"]
    results = next(one["href"] for one in done["links"] if one["rel"].endswith("/results"))
    body = sample.client.get(results).json()
    assert body["outputs"]["depth"]["layer"] == "暴雨-depth"
    assert body["outputs"]["depth"]["href"].endswith("/collections/%E6%9A%B4%E9%9B%A8-depth")
    assert body["report"]["facts"] == {"wet_cells": 3}


@pytest.mark.parametrize(("error", "status"), [("user", 400), ("bug", 500)])
def test_a_failed_run_says_why(sample, jobs, error, status):
    from twin.errors import BadOption

    identity = start(sample, {"level": 7.0 if error == "user" else 8.0}).json()["jobID"]

    def task(_context):
        raise BadOption("level: too high.") if error == "user" else ZeroDivisionError("oops")

    jobs.run(jobs.claim(identity), task)
    assert sample.client.get(f"/jobs/{identity}").json()["status"] == "failed"
    answer = sample.client.get(f"/jobs/{identity}/results")
    assert answer.status_code == status
    assert ("too high" if error == "user" else "Internal error") in answer.json()["detail"]


@pytest.mark.parametrize(("body", "named"), [
    ({"inputs": GOOD | {"levl": 3}}, "levl"), ({"inputs": {"terrain": "dem"}}, "level"), ({"inputs": GOOD | {"level": "high"}}, "level"),
    ({"inputs": GOOD | {"level": 1e9}}, "level"), ({"inputs": GOOD | {"terrain": "buildings"}}, "terrain"), ({"input": GOOD}, "input"),
    ({"inputs": GOOD, "response": "raw"}, "response"), ({"inputs": []}, "inputs"), ({"inputs": GOOD, "twin:name": "../x"}, "../x"),
    ({"inputs": GOOD | {"terrain": ""}}, "terrain: no layer is named"), ({"inputs": GOOD, "twin:name": ""}, "'' cannot be a layer name"),
])  # fmt: skip
def test_wrong_inputs_are_refused_by_name_and_nothing_is_queued(sample, jobs, body, named):
    before = len(jobs.list())
    answer = sample.client.post("/processes/inundation/execution", json=body)
    assert answer.status_code == 400, answer.text
    assert named in answer.json()["detail"]
    assert len(jobs.list()) == before


def test_an_unknown_layer_or_process_is_not_found(sample):
    missing = start(sample, {"terrain": "nix"})
    assert missing.status_code == 404
    assert "terrain: There is no layer 'nix'" in missing.json()["detail"]
    answer = sample.client.post("/processes/nix/execution", json={"inputs": {}})
    assert answer.status_code == 404
    assert answer.json()["type"].endswith("no-such-process")
    assert sample.client.get("/jobs/nix").json()["type"].endswith("no-such-job")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_only_json_starts_a_run(sample, jobs, content_type):
    """A page of another origin can send these types without asking first; they must not start anything."""
    before = len(jobs.list())
    headers = {"content-type": content_type} if content_type else {}
    answer = sample.client.post("/processes/inundation/execution", content='{"inputs": {"terrain": "dem", "level": 9, "source_point": [113.08, 22.58]}}',
                                headers=headers)  # fmt: skip
    assert answer.status_code == 400
    assert len(jobs.list()) == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"inputs":' + b"[" * 100_000])
def test_malformed_bodies_are_refused(sample, body):
    answer = sample.client.post("/processes/inundation/execution", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("body", "said"), [
    (b'{"inputs": {"level": 1,}}', "is not JSON: line 1, column 24, at '}}': Expecting property name"),
    (b'{\n  "inputs": {"level": tru}\n}', "is not JSON: line 2, column 23, at 'tru}"),
    ('{"twin:name": "堤", "inputs": ‘x’}'.encode(), "is not JSON: line 1, column 30, at '‘x’}'"),  # counted in characters, as an editor does
    (b'{"inputs":', "is not JSON: line 1, column 11, at its end: Expecting value"),
    (b"{} {}", "is not JSON: line 1, column 4, at '{}': Extra data"),
    (b"", "is empty"), (b" \n", "is empty"), (b"[]", "is JSON, but no object"), (b"null", "is JSON, but no object"),
    ('{"twin:name": "堤"}'.encode("gbk"), "is not text in UTF-8: byte 16 (0xB5)"),
    (b'{"inputs":' + b"[" * 100_000, "is nested too deeply"), (b'{"inputs": {"level": ' + b"1" * 5000 + b"}}", "too many digits"),
])  # fmt: skip
def test_of_a_malformed_body_is_said_which_where_and_what_is_expected(sample, body, said):
    """Users read `1: JSON decode error.`"""
    answer = sample.client.post("/processes/inundation/execution", content=body, headers={"content-type": "application/json"})
    detail = answer.json()["detail"]
    assert answer.status_code == 400
    assert detail.startswith("The body of POST /processes/inundation/execution ")
    assert said in detail
    assert "Send a JSON object with inputs, twin:name, as Content-Type application/json" in detail


def test_every_route_with_a_body_says_what_is_wrong_with_one(sample):
    """All operations of the definition that take a body, whatever they are."""
    found = 0
    for path, methods in sample.client.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            if "requestBody" in operation:
                found += 1
                answer = sample.client.request(method, path.replace("{", "").replace("}", ""), content=b'{"a"\n 1}', headers={"content-type": "application/json"})
                assert answer.status_code == 400
                assert f"The body of {method.upper()} /" in answer.json()["detail"]
                assert "line 2, column 2, at '1}': Expecting ':' delimiter" in answer.json()["detail"]
                assert all(name in answer.json()["detail"] for name in ("Send a JSON object with ", "application/json", "/openapi.json"))
    assert found >= 2


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", None])
def test_a_body_of_another_type_is_told_so(sample, kind):
    """`curl -d` without a header sends it as a form."""
    answer = sample.client.post("/processes/inundation/execution", content=b"{}", headers={"content-type": kind} if kind else {})
    assert (f"comes as Content-Type {kind!r}" if kind else "comes without a Content-Type") in answer.json()["detail"]


@pytest.mark.parametrize("stated", [True, False])
def test_large_bodies_are_refused(sample, stated):
    def chunks():
        for _ in range(40):
            yield b" " * 65_536

    content = b" " * (2 << 20) if stated else chunks()
    answer = sample.client.post("/processes/inundation/execution", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("kind", "status"), [("BadOption", 400), ("NotFound", 404), ("Conflict", 409), ("OverLimit", 422), ("StorageError", 503)])
def test_a_failed_run_answers_with_the_status_of_its_own_error(sample, jobs, kind, status):
    """All were told as bad input."""
    from twin import errors

    identity = start(sample, {"level": 7.0}).json()["jobID"]

    def task(_context):
        raise getattr(errors, kind)("It did not work.")

    jobs.run(jobs.claim(identity), task)
    answer = sample.client.get(f"/jobs/{identity}/results")
    assert (answer.status_code, answer.json()["detail"]) == (status, "It did not work.")


@pytest.mark.parametrize("body", [
    '{"inputs": {"terrain": "dem", "level": 7.0, "level": 9.0}}', '{"inputs": {"terrain": "dem", "level": 7.0}, "inputs": {}}',
    '{"inputs": {"terrain": "dem", "level": 7.0}, "twin:name": [{"a": 1, "a": 1}]}',
])  # fmt: skip
def test_a_key_twice_in_a_body_is_refused(sample, jobs, body):
    """The last one won, and the other was ignored in silence."""
    before = len(jobs.list())
    answer = sample.client.post("/processes/inundation/execution", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "twice in one object" in answer.json()["detail"]
    assert len(jobs.list()) == before
