"""Mesh files: OBJ, glTF, PLY and STL."""
