"""The depth at moments of a run, appended to a Zarr array on disk while the run goes on: memory holds one moment, a killed run loses none that its checkpoint names.

Zarr storage specification 2: one zlib chunk a moment, uint16 millimetres; any Zarr reader follows the run (`.zarray` grows after the chunk
is whole). `sealed` in its attributes says that the run has ended.
"""

from __future__ import annotations

import json
import os
import tempfile
import weakref
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from twin import scratch

FOLDER = "frames.zarr"
Moment = tuple[float, NDArray[np.uint16]]


class Moments(Sequence[Moment]):
    """(time s, (rows, columns) uint16 mm) pairs, read from disk one at a time.

    Attributes:
        place: the Zarr group: arrays `depth` (time, row, column) and `time`.
        times: s; wet: whether any moment held water.
    """

    def __init__(self, folder: Path | None, shape: tuple[int, int]) -> None:
        if folder is None:
            folder = Path(tempfile.gettempdir(), scratch.TWIN + scratch.name("frames"))
            folder.mkdir(mode=0o700)
            weakref.finalize(self, scratch.remove, folder)
        self.place = folder / FOLDER
        self.shape, self.times, self.wet = shape, list[float](), False

    def append(self, time: float, millimetres: NDArray[np.uint16]) -> None:
        """Write one more moment; the array grows only when its chunk is on disk."""
        number = len(self.times)
        self._put(f"depth/{number}.0.0", zlib.compress(millimetres.astype("<u2").tobytes(), 1))
        self.times.append(time)
        self.wet = self.wet or bool(millimetres.any())
        self._describe()

    def seal(self) -> None:
        """Say that the run has ended."""
        if self.times:
            self._describe(sealed=True)

    def restore(self, times: NDArray[np.float64], *, wet: bool) -> int:
        """Go on after the moments at `times`; returns how many are left out because some are no longer on disk (0, unless the state was moved without its folder)."""
        whole = all((self.place / f"depth/{i}.0.0").exists() for i in range(len(times)))
        self.times, self.wet, lost = (times.tolist() if whole else []), wet, 0 if whole else len(times)
        if self.times:
            self._describe()
        return lost

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[Moment]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Moment: ...

    @overload
    def __getitem__(self, index: slice) -> list[Moment]: ...

    def __getitem__(self, index: int | slice) -> Moment | list[Moment]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = range(len(self.times))[index]
        data = zlib.decompress((self.place / f"depth/{number}.0.0").read_bytes())
        return self.times[number], np.frombuffer(data, "<u2").reshape(self.shape)

    def _describe(self, *, sealed: bool = False) -> None:
        count, form = len(self.times), {"zarr_format": 2, "order": "C", "filters": None}
        zipped = {"id": "zlib", "level": 1}
        self._put("time/0", np.array(self.times, "<f8").tobytes())
        self._tell("time/.zarray", {**form, "shape": [count], "chunks": [count], "dtype": "<f8", "compressor": None, "fill_value": None})
        self._tell("time/.zattrs", {"_ARRAY_DIMENSIONS": ["time"], "units": "s", "long_name": "seconds after the start of the run"})
        self._tell("depth/.zattrs", {"_ARRAY_DIMENSIONS": ["time", "row", "column"], "units": "m", "scale_factor": 0.001, "long_name": "depth of water"})
        self._tell(".zattrs", {"sealed": sealed})
        self._tell(".zgroup", {"zarr_format": 2})
        self._tell("depth/.zarray", {**form, "shape": [count, *self.shape], "chunks": [1, *self.shape], "dtype": "<u2", "compressor": zipped, "fill_value": 0})

    def _tell(self, name: str, value: dict[str, Any]) -> None:
        self._put(name, json.dumps(value).encode())

    def _put(self, name: str, data: bytes) -> None:
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.tmp")
        fresh.write_bytes(data)
        if name.startswith("depth/") and not name.endswith((".zarray", ".zattrs")):  # a checkpoint may name it, which is on disk
            scratch.publish(fresh, path)
        else:
            os.replace(fresh, path)
