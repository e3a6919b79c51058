"""The central directory of one of our archives as columns: an update copies thousands of files, and looks at all of them at once.

Formats as in `twin.archive`, which writes what is read here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
_CENTRAL, _LOCAL = 46, 30
_MAX32 = 0xFFFFFFFF
_REPEATED = 22
"""Bytes of a local header, from its flags to the length of the name, that the central directory repeats (from 8 on; from 6 on in the header)."""


@dataclass(frozen=True)
class Directory:
    """N files in the order in which they were written, the index last.

    Attributes:
        data: bytes of the directory. at: (N + 1,) where the record of each begins, and the end.
        start, body, end: (N,) where its local header, its bytes and what is behind them begin in the archive. named: (N,) bytes of its name.
    """

    data: U8
    at: I64
    start: I64
    body: I64
    end: I64
    named: I64

    def __len__(self) -> int:
        return len(self.start)

    @staticmethod
    def of(data: bytes) -> Directory | None:
        """The columns; None where a record is not as `twin.archive` writes it."""
        found = np.frombuffer(data, np.uint8)
        mark = np.frombuffer(b"PK\1\2", np.uint8)
        at = np.flatnonzero(np.logical_and.reduce([found[k : len(found) - 3 + k] == mark[k] for k in range(4)])) if len(found) >= _CENTRAL else np.zeros(0, int)
        at = at[at + _CENTRAL <= len(found)]
        named, extra = _number(found, at + 28, 2), _number(found, at + 30, 2)
        ends = at + _CENTRAL + named + extra
        if not len(at) or at[0] or (at[1:] != ends[:-1]).any() or ends[-1] != len(found) or found[at[:, None] + np.arange(32, 42)].any():
            return None
        start, far = _number(found, at + 42, 4), np.flatnonzero(extra)
        if (start[far] != _MAX32).any() or (extra[far] != 12).any() or (found[at + 4] != np.where(extra > 0, 45, 20)).any():
            return None
        start[far] = _number(found, (at + _CENTRAL + named + 4)[far], 8)
        body = start + _LOCAL + named
        return Directory(found, np.append(at, ends[-1]), start, body, body + _number(found, at + 20, 4), named)

    def names(self, first: int, last: int) -> bytes:
        """The names of files `first` to `last`, one behind the other."""
        return self.data[_runs(self.at[first:last] + _CENTRAL, self.named[first:last])].tobytes()

    def headers_stand(self, archive: Any) -> bool:
        """Whether all local headers stand in the bytes of the archive as they were written, each behind the file before."""
        file = np.frombuffer(archive, np.uint8)
        if self.start[0] != 0 or (self.start[1:] != self.end[:-1]).any() or self.end[-1] > len(file):
            return False
        head, repeated = file[self.start[:, None] + np.arange(_LOCAL)], self.data[self.at[:-1, None] + 8 + np.arange(_REPEATED)]
        good = (head[:, 6:28] == repeated).all() and (head[:, :6] == np.frombuffer(b"PK\3\4\x14\0", np.uint8)).all() and not head[:, 28:].any()
        return bool(good) and file[_runs(self.start + _LOCAL, self.named)].tobytes() == self.names(0, len(self))

    def moved(self, first: int, last: int, by: int) -> list[bytes]:
        """The records of these files when their bytes lie `by` farther back."""
        start = self.start[first:last] + by
        a, b = int(self.at[first]), int(self.at[last])
        if max(int(start.max()), int(self.start[first:last].max())) < _MAX32:
            data = self.data[a:b].copy()
            data[(self.at[first:last] - a + 42)[:, None] + np.arange(4)] = start.astype("<u4").view(np.uint8).reshape(-1, 4)
            return [data.tobytes()]
        records = []
        for at, named, offset in zip(self.at[first:last].tolist(), self.named[first:last].tolist(), start.tolist(), strict=True):
            fixed, name = self.data[at + 8 : at + 30].tobytes(), self.data[at + _CENTRAL : at + _CENTRAL + named].tobytes()
            records.append(record(fixed, name, offset))
        return records


def record(repeated: bytes, name: bytes, offset: int) -> bytes:
    """A record of the central directory: what its local header says from its flags to the length of the name, the name, and where that header begins."""
    version, extra = 20, b""
    if offset >= _MAX32:
        version, extra, offset = 45, struct.pack("<2HQ", 1, 8, offset), _MAX32
    return struct.pack("<4s2H22s4H2I", b"PK\1\2", version, version, repeated, len(extra), 0, 0, 0, 0, offset) + name + extra


def _number(data: U8, at: I64, size: int) -> I64:
    """Little-endian numbers of some bytes at these places."""
    found: I64 = (data[at[:, None] + np.arange(size)].astype(np.int64) << (8 * np.arange(size))).sum(axis=1)
    return found


def _runs(start: I64, length: I64) -> I64:
    """The positions of runs of bytes, one behind the other."""
    ends = np.cumsum(length)
    return np.repeat(start - (ends - length), length) + np.arange(ends[-1] if len(ends) else 0)
