"""Small images, and what a mesh draws at a place: for the tests of all readers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from twin.model import Mesh

#: Left upper, right upper, left lower, right lower quarter of `quarters`.
QUARTERS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))


def quarters(path: Path, size: int = 16, kind: str = "PNG") -> Path:
    """An image of four colours, so that a flip or a turn is seen."""
    pixels = np.zeros((size, size, 3), np.uint8)
    half = size // 2
    for i, color in enumerate(QUARTERS):
        pixels[(i // 2) * half : (i // 2 + 1) * half, (i % 2) * half : (i % 2 + 1) * half] = color
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, kind)
    return path


def drawn_at(mesh: Mesh, point: tuple[float, float, float], feature: int | None = None) -> tuple[int, int, int] | None:
    """The colour of the texture at a place on the mesh (by hand: barycentric coordinates, nearest pixel); None where it is plain."""
    assert mesh.uv is not None
    for i, (p, matrix) in enumerate(zip(mesh.instance_prototype, mesh.transforms, strict=True)):
        if feature is not None and mesh.instance_feature[i] != feature:
            continue
        corners = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]] @ matrix[:3, :3].T + matrix[:3, 3] - point
        for t in range(mesh.triangle_start[p], mesh.triangle_start[p + 1]):
            a, b, c = corners[mesh.triangles[t]]
            weights, *_ = np.linalg.lstsq(np.vstack([np.column_stack([a, b, c]), [1, 1, 1]]), np.array([0, 0, 0, 1.0]), rcond=None)
            if (weights < -1e-6).any() or np.abs(weights @ np.array([a, b, c])).max() > 1e-3 * max(1.0, np.abs([a, b, c]).max()):
                continue
            texture = mesh.materials[mesh.triangle_material[t]].texture
            if texture is None:
                return None
            u, v = weights @ mesh.uv[t]
            with Image.open(io.BytesIO(mesh.images[texture.image])) as image:
                x, y = int(np.floor((u % 1) * image.width)), int(np.floor((v % 1) * image.height))
                red, green, blue = image.convert("RGB").getpixel((x, y))  # type: ignore[misc]
                return red, green, blue
    raise AssertionError(f"nothing is drawn at {point}")
