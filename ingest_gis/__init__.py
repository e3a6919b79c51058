"""Readers of geographic data: vectors, node-link graphs, point clouds, terrain and imagery. One reader a file.

`footprints`, `vector`, `points`, `terrain` and `raster` are the readers that the registry names. The others are what
several of them share: `sniff` (which format a file really is), `ogr`, `geoparquet` and `nodelink` (open a vector
source as rows), `ids`, `columns` and `geometry` (make rows into features and report what was done).
"""
