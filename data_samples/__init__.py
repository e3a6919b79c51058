"""A small district that is generated, not downloaded: `python -m data_samples OUT [--seed N]`.

It writes the files that a city's offices would deliver (each in its own format and with its own habits) and a manifest
saying how to ingest each.  The product knows nothing of it: the files go through the ordinary readers.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["SEED", "generate"]
SEED = 20250601


def generate(out: Path, seed: int = SEED) -> Path:
    """Write the sample district into the folder `out` (made if missing) and return the path of its manifest.json.

    The same seed gives the same bytes with the same library versions.  Heights are in the 1985 datum (EPSG:5737),
    horizontal coordinates in EPSG:4547 (easting, northing), except the GeoJSON files (WGS 84 longitude, latitude).
    """
    from data_samples.deliver import deliver  # noqa: PLC0415  (heavy, and it imports this package)

    return deliver(Path(out), seed)
