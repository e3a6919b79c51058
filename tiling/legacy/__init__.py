"""3D Tiles 1.0 for old clients."""
