"""What a source gives in its one pass, kept in a temporary file for the passes that follow."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import pyarrow as pa

from twin.lake import storage_errors

Batch = tuple[dict[str, Any], pa.RecordBatch]
"""What is said of a table, and some of its rows."""
Batches = Generator[Batch, None, None]


class Decoded:
    """Batches of a source that takes long to read. Passes read the source until they are kept, then the file that they are kept in.

    Args:
        read: starts a pass over the source; of the first batch the schema counts, rows or none.
    """

    def __init__(self, read: Callable[[], Batches]) -> None:
        self._read = read
        self._about: dict[str, Any] = {}
        self._kept: pa.ipc.RecordBatchFileReader | None = None

    def __call__(self) -> Batches:
        """Start a pass."""
        if self._kept is None:
            yield from self._read()
            return
        for number in range(self._kept.num_record_batches):
            yield self._about, self._kept.get_batch(number)

    def keep(self) -> Batch:
        """Keep all, and return the first.

        Raises:
            StorageError: the disk is full. Else as reading.
        """
        if self._kept is None:
            with tempfile.TemporaryFile(prefix="twin-decoded-") as file, closing(self._read()) as batches, storage_errors("keeping what was read of a source"):
                self._about, first = next(batches)
                with pa.ipc.new_file(file, first.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
                    writer.write_batch(first)
                    for _, batch in batches:
                        writer.write_batch(batch)
                file.flush()
                self._kept = pa.ipc.open_file(pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
        return self._about, self._kept.get_batch(0)
