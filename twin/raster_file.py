"""Writing rasters where the disk may be full: one error for all the ways in which GDAL fails, and whether a GeoTIFF that was just written is whole.

GDAL writes much of a file while it is closed (of a cloud-optimised one everything), and nobody is told that this failed: on a full disk rasterio returns as if the file were there.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from twin.errors import StorageError
from twin.lake import FULL

_LOG = logging.getLogger("rasterio._env")
"""Where GDAL's warnings go."""


@lru_cache(maxsize=1)
def quiet() -> None:
    """Keep libtiff from printing what the disk says; GDAL, which writes through it, raises an error of the same.

    GDAL hands each file an error handler, and its own reading and writing functions ask the library's general one, which prints.
    """
    from rasterio import _base  # noqa: PLC0415  as slow as below

    with suppress(OSError, AttributeError):  # the library is another's, or it has no such function
        ctypes.CDLL(_base.__file__).TIFFSetErrorHandler(ctypes.c_void_p(None))


@contextmanager
def writing() -> Iterator[None]:
    """Around the writing and the closing of a raster, of which `check_written` says afterwards whether it is whole. What is read in here is of ours too.

    Raises:
        StorageError: the disk is full.
    """
    import rasterio  # noqa: PLC0415
    from rasterio._err import CPLE_BaseError  # noqa: PLC0415  where closing fails it comes as it is

    quiet()
    level = _LOG.level
    try:
        _LOG.setLevel(logging.ERROR)  # what it warns of in a file of ours it warns of where the disk is full, which is said below
        yield
    except (CPLE_BaseError, rasterio.errors.RasterioIOError) as error:
        detail = str(error.__cause__ or error).splitlines()[0].rstrip(".")
        if any(os.strerror(number) in detail for number in errno.errorcode if number not in FULL):
            raise StorageError(f"What is made of the raster cannot be written: {detail}.", "Nothing was published. Check the folder of the city and TMPDIR.") from error
        raise _full(f" ({detail})") from error
    finally:
        _LOG.setLevel(level)


def copy(source: Path, path: Path, **creation: Any) -> None:
    """Copy a whole raster into a new one with GDAL's creation options.

    Raises:
        StorageError: the disk is full.
    """
    from rasterio import shutil  # noqa: PLC0415

    with writing():
        shutil.copy(source, path, **creation)
    check_written(path)


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
        raise _full()


def _full(detail: str = "") -> StorageError:
    return StorageError(f"What is made of the raster cannot be written: the disk is full{detail}.",
                        "Nothing was published. Free space (twin gc; TMPDIR, where temporary files lie) and run the command again.")  # fmt: skip
