"""Meshes with features (IFC, city models, OBJ): elements, levels of detail, textures, tiles."""
