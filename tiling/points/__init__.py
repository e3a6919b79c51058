"""Point clouds: runs, octree, tiles."""
