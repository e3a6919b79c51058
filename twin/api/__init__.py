"""The HTTP side of the city: OGC APIs (Features, Processes), 3D Tiles, terrain and map tiles. `create_app` makes it."""

from twin.api.app import create_app

__all__ = ["create_app"]
