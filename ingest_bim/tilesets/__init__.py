"""3D Tiles tilesets that others made, taken over as they are."""
