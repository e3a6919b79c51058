"""The OpenAPI definition tells the truth: every answer is what its schema says, and nothing more."""

from __future__ import annotations

import re

import jsonschema
import pytest

from twin.jobs import Jobs


@pytest.fixture(scope="module")
def definition(sample):
    return sample.client.get("/openapi.json").json()


def answer_schema(definition, path, status=200, method="get"):
    """(media type, JSON Schema) that the definition states for an answer."""
    for template, methods in definition["paths"].items():
        if method in methods and re.fullmatch(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(template)), path):
            [(media_type, content)] = methods[method]["responses"][str(status)]["content"].items()
            return media_type, {"components": definition["components"], **content.get("schema", {})}
    raise AssertionError(f"{path} is not in the definition")


@pytest.mark.parametrize("path", [
    "/", "/conformance", "/city", "/collections", "/collections/buildings", "/collections/bim", "/collections/dem", "/collections/%E9%81%93%E8%B7%AF",
    "/collections/buildings/items", "/collections/bim/items", "/collections/buildings/items/b1", "/collections/bim/items/0wall%24A",
    "/tiles3d/buildings/tileset.json", "/processes", "/processes/inundation", "/jobs",
])  # fmt: skip
def test_answers_are_as_defined(sample, definition, path):
    answer = sample.client.get(path)
    media_type, schema = answer_schema(definition, path)
    assert answer.headers["content-type"] == media_type
    assert "$ref" in schema, "a document without a schema is an undocumented one"
    jsonschema.validate(answer.json(), schema, jsonschema.Draft202012Validator)


def test_jobs_are_as_defined_in_every_state(sample, definition):
    inputs = {"terrain": "dem", "level": 3.0, "source_point": [113.08, 22.58]}
    created = sample.client.post("/processes/inundation/execution", json={"inputs": inputs})
    jsonschema.validate(created.json(), answer_schema(definition, "/processes/inundation/execution", 201, "post")[1])
    identity = created.json()["jobID"]
    jobs = Jobs(sample.city.catalog)
    jobs.run(jobs.claim(identity), lambda _context: {"outputs": {"depth": {"layer": "x", "version": 1}}, "report": {}})
    for path in (f"/jobs/{identity}", f"/jobs/{identity}/results", "/jobs"):
        jsonschema.validate(sample.client.get(path).json(), answer_schema(definition, path)[1])


def test_every_operation_states_its_answers_and_errors(definition):
    assert "HTTPValidationError" not in definition["components"]["schemas"]
    for path, methods in definition["paths"].items():
        for method, one in methods.items():
            responses = one["responses"]
            assert set(responses) == {"201" if method == "post" else "200", "default"}, path
            assert list(responses["default"]["content"]) == ["application/problem+json"]
            assert all(response["description"] for response in responses.values()), path
            assert one["tags"], path
            assert one["description"], path
    text = str(definition)
    assert "#/components/schemas/Problem" in text
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in definition["components"]["schemas"], name


def test_problems_are_as_defined(sample, definition):
    schema = {"components": definition["components"], "$ref": "#/components/schemas/Problem"}
    for path in ("/nix", "/collections/nix", "/city?x=1", "/collections/buildings/items?limit=0"):
        jsonschema.validate(sample.client.get(path).json(), schema)
