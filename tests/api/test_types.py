"""The viewer's types of the API are those that its definition gives."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import orjson
import pytest

VIEWER = Path(__file__).resolve().parents[2] / "viewer"


def test_the_viewer_knows_the_api_as_it_is(sample, tmp_path):
    node = shutil.which("node")
    if node is None or not (VIEWER / "node_modules/json-schema-to-typescript").is_dir():
        pytest.skip("needs Node.js and the viewer's packages: cd viewer && npm ci")
    definition = tmp_path / "openapi.json"
    definition.write_bytes(orjson.dumps(sample.client.get("/openapi.json").json()))
    made = subprocess.run([node, "scripts/api-types.mjs", str(definition)], cwd=VIEWER, capture_output=True, text=True, check=True, timeout=120).stdout
    kept = (VIEWER / "src/api/openapi.ts").read_text("utf-8")
    assert made == kept, f"Make it again: node scripts/api-types.mjs {definition} > src/api/openapi.ts"
