"""KTX2 textures: files written by ktx-parse (npm, which CesiumJS reads them with) are clean, and each damage is named."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tiling.check import Report, Where, load_model
from tiling.check.ktx2 import check_ktx2

PARSER = Path(__file__).resolve().parents[2] / "viewer" / "node_modules" / "ktx-parse"
SCRIPT = """
const k = require(process.argv[1] + '/dist/ktx-parse.cjs');
const make = (scheme, levels) => {
  const c = k.createDefaultContainer(), uastc = scheme !== 1, d = c.dataFormatDescriptor[0];
  c.vkFormat = 0; c.typeSize = 1; c.pixelWidth = 8; c.pixelHeight = 16; c.pixelDepth = 0; c.faceCount = 1; c.layerCount = 0;
  c.supercompressionScheme = scheme; c.levelCount = levels;
  Object.assign(d, {colorModel: uastc ? 166 : 163, colorPrimaries: 1, transferFunction: 2, flags: 0, texelBlockDimension: [3, 3, 0, 0], bytesPlane: [uastc ? 16 : 8, 0, 0, 0, 0, 0, 0, 0]});
  d.samples = [{bitOffset: 0, bitLength: uastc ? 127 : 63, channelType: uastc ? 3 : 0, samplePosition: [0, 0, 0, 0], sampleLower: 0, sampleUpper: 4294967295}];
  c.keyValue = {KTXorientation: 'rd', KTXwriter: 'test'};
  c.levels = [];
  for (let i = 0; i < levels; i++) {
    const size = 16 * Math.max(1, (8 >> i) / 4) * Math.max(1, (16 >> i) / 4), raw = new Uint8Array(Math.ceil(size)).fill(i + 1);
    const packed = scheme === 0 ? raw : scheme === 2 ? new Uint8Array(Buffer.from(process.argv[2], 'hex')) : new Uint8Array(12).fill(7);
    c.levels.push({levelData: packed, uncompressedByteLength: scheme === 1 ? 0 : raw.length});
  }
  if (scheme === 1) c.globalData = {endpointCount: 1, selectorCount: 1, endpointsData: new Uint8Array(5), selectorsData: new Uint8Array(6), tablesData: new Uint8Array(7), extendedData: new Uint8Array(0),
    imageDescs: c.levels.map(() => ({imageFlags: 0, rgbSliceByteOffset: 0, rgbSliceByteLength: 12, alphaSliceByteOffset: 0, alphaSliceByteLength: 0}))};
  return Buffer.from(k.write(c)).toString('hex');
};
const out = {};
for (const [name, scheme, levels] of [['none', 0, 5], ['basis', 1, 5], ['zstd', 2, 1]]) out[name] = make(scheme, levels);
console.log(JSON.stringify(out));
"""


@cache
def written() -> dict[str, bytes]:
    node = shutil.which("node")
    if node is None or not PARSER.exists():
        pytest.skip("Node.js or viewer/node_modules/ktx-parse is absent: run npm ci in viewer/")
    done = subprocess.run([node, "-e", SCRIPT, str(PARSER), pa.compress(b"\1" * 128, codec="zstd", asbytes=True).hex()], capture_output=True, text=True, check=True)
    return {name: bytes.fromhex(text) for name, text in json.loads(done.stdout).items()}


def said(data: bytes, usage: Any = "color") -> set[str]:
    report = Report()
    check_ktx2(data, Where(report, "a.ktx2"), usage)
    return report.codes() | report.codes("warning")


@pytest.mark.parametrize("name", ["none", "basis", "zstd"])
def test_what_ktx_parse_writes_is_clean(name: str) -> None:
    assert said(written()[name]) == set()
    assert said(written()[name], "other") == {"KTX2_COLOR_SPACE"}


def put(at: int, kind: str, value: int) -> Any:
    def change(data: bytearray) -> None:
        struct.pack_into(kind, data, at, value)

    return change


def behind(field: int, plus: int, kind: str, value: int) -> Any:
    """At an offset that a field of the header tells."""
    def change(data: bytearray) -> None:
        struct.pack_into(kind, data, struct.unpack_from("<I", data, field)[0] + plus, value)

    return change


@pytest.mark.parametrize(("name", "change", "code"), [
    ("none", put(0, "<B", 1), "KTX2_HEADER"), ("none", put(12, "<I", 37), "KTX2_FORMAT"), ("none", put(20, "<I", 6), "KTX2_SIZE"),
    ("none", put(28, "<I", 2), "KTX2_TYPE"), ("none", put(36, "<I", 6), "KTX2_TYPE"), ("none", put(40, "<I", 9), "KTX2_LEVELS"),
    ("none", put(40, "<I", 0), "KTX2_LEVELS"), ("none", put(44, "<I", 3), "KTX2_SUPERCOMPRESSION"), ("none", put(44, "<I", 1), "KTX2_DESCRIPTOR"),
    ("none", put(48, "<I", 4), "KTX2_RANGE"), ("none", put(88, "<Q", 77), "KTX2_LEVELS"), ("none", put(96, "<Q", 77), "KTX2_LEVELS"),
    ("none", put(80, "<Q", 10**9), "KTX2_LEVELS"), ("none", put(64, "<Q", 300), "KTX2_SUPERCOMPRESSION"), ("none", behind(48, 12, "<B", 1), "KTX2_DESCRIPTOR"),
    ("none", behind(48, 15, "<B", 1), "KTX2_DESCRIPTOR"), ("none", behind(48, 31, "<B", 5), "KTX2_DESCRIPTOR"), ("none", behind(48, 14, "<B", 1), "KTX2_COLOR_SPACE"),
    ("none", behind(56, 0, "<I", 10**6), "KTX2_KEY_VALUE"), ("none", behind(56, 4 + len("KTXorientation") + 1, "<B", ord("l")), "KTX2_KEY_VALUE"),
    ("basis", behind(64, 0, "<H", 0), "KTX2_SUPERCOMPRESSION"), ("basis", behind(64, 4, "<I", 99), "KTX2_SUPERCOMPRESSION"),
    ("basis", behind(64, 20 + 8, "<I", 99), "KTX2_SUPERCOMPRESSION"), ("basis", put(96, "<Q", 5), "KTX2_LEVELS"), ("zstd", put(-12, "<B", 0), "KTX2_SUPERCOMPRESSION"),
])  # fmt: skip
def test_damage_is_named(name: str, change: Any, code: str) -> None:
    data = bytearray(written()[name])
    change(data)
    assert code in said(bytes(data))


def test_cut_files_are_findings_never_tracebacks() -> None:
    for data in written().values():
        for length in range(0, len(data), 7):
            assert said(data[:length])
        for at in range(len(data)):  # every byte turned over once
            said(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])


def test_textures_of_a_glb_are_followed(tmp_path: Path) -> None:
    ktx = bytearray(written()["none"])
    document = {
        "asset": {"version": "2.0"}, "extensionsUsed": ["KHR_texture_basisu"], "images": [{"uri": "a.ktx2"}, {"uri": "b.ktx2", "mimeType": "image/png"}],
        "textures": [{"extensions": {"KHR_texture_basisu": {"source": 0}}}, {"extensions": {"KHR_texture_basisu": {"source": 1}}}, {"extensions": {"KHR_texture_basisu": {"source": 7}}}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}, "normalTexture": {"index": 1}}],
    }  # fmt: skip
    report = Report()
    load_model(json.dumps(document).encode(), lambda uri, where: bytes(ktx), Where(report, "m.gltf"))
    assert {(f.code, f.path.partition("#")[2]) for f in report.errors} == {
        ("GLTF_REFERENCE", "/textures/2/extensions/KHR_texture_basisu"), ("KTX2_MIME_TYPE", "/images/1"), ("KTX2_COLOR_SPACE", "/images/1"), ("IMAGE_INVALID", "/images/1")}  # fmt: skip
