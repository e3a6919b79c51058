"""What a row of masses holds (`tiling.blocks.masses`), told apart from the loops over them, whose compiler takes half a second to load."""

LON, LAT, AREA, HEIGHT, FOOT, COUNT, WEST, SOUTH, EAST, NORTH, TOP, BACK, NEAR = range(13)
"""Columns of a row: area-weighted place (degrees), area (m²), area-weighted height, lowest foot (ellipsoidal, m), number of buildings; the
box around them (degrees) and the highest roof; metres from any place of its shape to a building at most; the larger of both ways."""
COLUMNS = 13
