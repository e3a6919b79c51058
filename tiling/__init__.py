"""Tilers: layer versions → 3D Tiles 1.1 and terrain archives. One file a kind of layer.

partition (a pure plan) → blocks/mesh/points (geometry of one tile) → gltf + metadata (its bytes) → tileset (the tree)
→ `twin.archive` (one file). A tiler's module has ``Options``, ``CODE_VERSION`` and ``tile(version, job) -> dict``.
It may have ``ids(lake, sidecars, part)``: what it left says where the ids of a part are (`twin.parts.Known`).
"""
