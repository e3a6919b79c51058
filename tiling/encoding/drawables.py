"""What a glb draws: materials, primitives, parts that repeat, and triangles that are stored as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.model import Wrap

Array = NDArray[Any]
LATTICE = 10
"""Positions lie on multiples of 2^-LATTICE metres, as far as `gltf.TOLERANCE` allows."""


@dataclass(frozen=True, slots=True)
class Surface:
    """A glTF material. `color` is sRGB r, g, b and opacity, 0–1; opacity below 1 is drawn blended.

    `texture` is a PNG, JPEG (or, with EXT_texture_webp, WebP) file drawn over it; `cutoff` makes it an alpha mask, `blend` blends what is clear in it;
    `wrap` is what lies outside of the texture's 0–1, along u and v.
    """

    color: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    metallic: float = 0.0
    roughness: float = 0.9
    double_sided: bool = False
    unlit: bool = False
    texture: bytes | None = None
    cutoff: float | None = None
    blend: bool = False
    name: str = ""
    wrap: tuple[Wrap, Wrap] = ("clamp", "clamp")


@dataclass(frozen=True)
class Primitive:
    """Vertices drawn with one material.

    Attributes:
        positions: (V, 3) float64 metres in the tile's frame, z up.
        indices: (T, 3) triangles (counter-clockwise from outside), (L, 2) lines, or None for points.
        normals: (V, 3) unit vectors, z up.
        colors: (V, 3 or 4) uint8, sRGB; stored linear, as glTF asks.
        texcoords: (V, 2), v downwards as in glTF.
        feature_ids: (V,) rows of the property table.
        surface: index into the list of surfaces, None for the default material.
        attributes: further per-vertex columns by glTF name (`_INTENSITY`, …), each (V,) or (V, k).
    """

    positions: NDArray[np.float64]
    indices: Array | None = None
    normals: Array | None = None
    colors: Array | None = None
    texcoords: Array | None = None
    feature_ids: Array | None = None
    surface: int | None = None
    attributes: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Instanced:
    """Primitives drawn many times (EXT_mesh_gpu_instancing), each time for one feature (EXT_instance_features).

    Attributes:
        primitives: about their own middle, metres, z up, within some hundred metres of it; their `feature_ids` are not used.
        translation: (K, 3) in the tile's frame; rotation: (K, 4) unit quaternions x y z w; scale: (K, 3) > 0; all float32.
        feature_ids: (K,) rows of the property table.
    """

    primitives: Sequence[Primitive]
    translation: Array
    rotation: Array
    scale: Array
    feature_ids: Array


@dataclass(frozen=True)
class Ready:
    """Triangles whose columns are what is stored, y up; a node of their own.

    Attributes:
        origin: (3,) metres, a multiple of the lattice's step. steps: (V, 3) int32 of 2^-`LATTICE` metres from it, within ±2^23.
        normals: (V, 4) int8, the fourth 0. feature_ids: (V,). triangles: (T, 3). surface: index into the list of surfaces.
    """

    origin: NDArray[np.float64]
    steps: NDArray[np.int32]
    normals: NDArray[np.int8]
    feature_ids: Array
    triangles: Array
    surface: int = 0
