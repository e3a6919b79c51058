"""Meshes in the lake: textures, UVs and colours come back as they went in, each image once."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twin.lake import Lake
from twin.meshes import IMAGES, IMAGES_A_GROUP, Images, read_meshes
from twin.model import Material, Mesh, Reference, Report, Texture
from twin.parts import from_json, to_json, write_version


def textured(names: list[str], images: list[bytes], *, plain: bool = False) -> Mesh:
    """One triangle a feature, each with its image."""
    count = len(names)
    keys = [hashlib.sha256(data).hexdigest() for data in images]
    uv = np.random.default_rng(3).random((count, 3, 2)).astype(np.float32)
    uv[0] = np.nan
    materials = [Material(f"m{i}", texture=None if plain else Texture(key, (4, 2), ("clamp", "mirror"))) for i, key in enumerate(keys)]
    return Mesh(
        Reference("EPSG:4547", "EPSG:5737"), pa.array(names), pa.table({"n": list(range(count))}), np.tile(np.eye(3) * 10, (count, 1)),
        np.tile(np.arange(3, dtype=np.int32), (count, 1)), np.arange(count, dtype=np.int32), np.arange(0, 3 * count + 1, 3), np.arange(count + 1),
        np.arange(count, dtype=np.int32), np.arange(count, dtype=np.int32), np.tile(np.eye(4), (count, 1, 1)) + np.array([[0, 0, 0, 405_000], [0, 0, 0, 2_498_000], [0] * 4, [0] * 4]),
        tuple(materials), None, None if plain else uv, None if plain else np.arange(count * 12, dtype=np.uint8).reshape(count, 3, 4), dict(zip(keys, images, strict=True)),
    )  # fmt: skip


@pytest.mark.parametrize("plain", [False, True])
def test_round_trip(lake: Lake, plain: bool) -> None:
    images = [bytes([i]) * (100 + i) for i in range(3 * IMAGES_A_GROUP)]
    sources = [textured([f"{batch}-{i}" for i in range(len(images))], images, plain=plain) for batch in range(2)]
    version = from_json(to_json(write_version(lake, "m", "mesh", sources, Report(), provenance={})))
    back = list(read_meshes(lake, version))
    assert len(back) == 2
    for source, found in zip(sources, back, strict=True):
        order = [found.ids.to_pylist().index(name) for name in source.ids.to_pylist()]
        assert [found.instance_feature[i] for i in range(len(order))] == order and found.materials == source.materials
        assert np.array_equal(found.positions, source.positions) and np.array_equal(found.triangles, source.triangles)
        if plain:
            assert found.uv is None and found.colors is None and not found.images
            continue
        assert found.uv is not None and found.colors is not None and source.uv is not None and source.colors is not None
        assert np.array_equal(found.uv, source.uv, equal_nan=True) and found.uv.dtype == np.float32 and np.array_equal(found.colors, source.colors)
        assert all(found.images[m.texture.image] == source.images[m.texture.image] for m in found.materials if m.texture)
    stored = [part for part in version.parts if part.role == IMAGES]
    assert [part.count for part in stored] == ([] if plain else [len(images)])  # the second batch stores none again
    assert version.count == 2 * len(images)


def test_images_are_read_in_groups(lake: Lake) -> None:
    """Getting at one image reads a few, not all."""
    images = [bytes([i]) * 100 for i in range(5 * IMAGES_A_GROUP)]
    version = write_version(lake, "m", "mesh", [textured([str(i) for i in range(len(images))], images)], Report(), provenance={})
    (part,) = (p for p in version.parts if p.role == IMAGES)
    assert pq.ParquetFile(lake.path(part.key)).num_row_groups == 5
    found = Images(lake, version)
    assert len(found) == len(images) and sorted(found) == sorted(hashlib.sha256(data).hexdigest() for data in images)
    assert all(found[hashlib.sha256(data).hexdigest()] == data for data in images)
    assert len(found._groups) <= Images.KEPT  # noqa: SLF001  what memory depends on
    assert all(a < b for a, b in pairwise(sorted(found)))
