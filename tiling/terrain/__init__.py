"""Terrain: heights, triangles, quantized-mesh tiles and the same ground as 3D Tiles."""
