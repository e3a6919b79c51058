"""Whether a GeoTIFF that was just written is whole.

GDAL writes much of a file while it is closed (of a cloud-optimised one everything), and nobody is told that this failed: on a full disk rasterio returns as if the file were there.
"""

from __future__ import annotations

from pathlib import Path

from twin.errors import StorageError


def check_written(path: Path, least: int | None = None) -> None:
    """Look whether all blocks of the finest level lie within the file, or, where it may lack empty ones, at least so many. Overviews lie before them in a cloud-optimised file.

    Raises:
        StorageError: they do not.
    """
    import rasterio  # noqa: PLC0415  GDAL takes 0.1 s to load; only rasters need it

    try:
        size, found, missing = path.stat().st_size, 0, 0
        with rasterio.open(path) as file:
            bands = file.indexes if file.interleaving is not None and file.interleaving.name == "band" else file.indexes[:1]
            for band in bands:
                for (row, column), _ in file.block_windows(band):
                    at, length = (file.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=band) for what in ("OFFSET", "SIZE"))
                    inside = at is not None and length is not None and int(at) + int(length) <= size
                    found, missing = found + inside, missing + (not inside)
        whole = not missing if least is None else found >= least
    except (OSError, rasterio.errors.RasterioIOError):  # not even its directory
        whole = False
    if not whole:
        raise StorageError("What is made of the raster cannot be written: the disk is full.", "Nothing was published. Free space (twin gc; TMPDIR, where temporary files lie) and run the command again.")
