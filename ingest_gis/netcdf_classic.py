"""Whether a classic NetCDF file is whole: its header is walked, every count held against the file's size, and the end of each variable's data too.

The usual library loops for hours over a damaged count, and reads zeros where a file was cut short: a rain that stops. Format: NetCDF Classic Format
Specification (Unidata), versions CDF-1, CDF-2 and CDF-5.
"""

from __future__ import annotations

import mmap
from math import prod
from pathlib import Path

from twin.errors import UnreadableSource

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
"""Bytes of a value by nc_type."""
_DIMENSION, _VARIABLE, _ATTRIBUTE = 10, 11, 12


def check(path: Path) -> None:
    """Refuse a classic file that is cut short or whose header cannot be.

    Raises:
        UnreadableSource: says where it breaks off.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        walk = _Walk(data, path.name)
        walk.file()


class _Walk:
    """A place in the header that moves on with each number read."""

    def __init__(self, data: mmap.mmap, name: str) -> None:
        self._data, self._name, self._at = data, name, 4
        self._count = 8 if data[3] == 5 else 4
        self._offset = 4 if data[3] == 1 else 8

    def file(self) -> None:
        """Header and data."""
        records = self._number(self._count)
        lengths = [self._dimension() for _ in range(self._list(_DIMENSION, 2 * self._count))]
        self._attributes()
        fixed: list[tuple[int, int]] = []
        stacked: list[tuple[int, int]] = []
        for _ in range(self._list(_VARIABLE, 3 * self._count + 8)):
            begin, size, dims = self._variable(len(lengths))
            over_time = bool(dims) and lengths[dims[0]] == 0
            (stacked if over_time else fixed).append((begin, size * prod(lengths[d] for d in (dims[1:] if over_time else dims))))
        step = stacked[0][1] if len(stacked) == 1 else sum(-(-size // 4) * 4 for _, size in stacked)
        if records == (1 << 8 * self._count) - 1:  # written as a stream: the number of records is what the file holds
            records = 0
        ends = [begin + size for begin, size in fixed] + [begin + (records - 1) * step + size for begin, size in stacked if records]
        if ends and max(ends) > len(self._data):
            raise self._broken(f"{len(self._data):,} of {max(ends):,} bytes")

    def _number(self, size: int) -> int:
        self._need(size)
        self._at += size
        return int.from_bytes(self._data[self._at - size : self._at], "big")

    def _need(self, size: int) -> None:
        if self._at + size > len(self._data):
            raise self._broken(f"its header goes on after {len(self._data):,} bytes")

    def _broken(self, how: str) -> UnreadableSource:
        return UnreadableSource(f"{self._name} is cut short or damaged ({how}).", "Export or download it again.")

    def _list(self, tag: int, least: int) -> int:
        """How many entries follow, each of at least so many bytes."""
        found, count = self._number(4), self._number(self._count)
        if found not in (tag, 0) or (found == 0 and count):
            raise self._broken(f"no list where one should stand, at byte {self._at}")
        self._need(count * least)
        return count

    def _skip(self, size: int) -> None:
        """Bytes, filled up to four."""
        self._need(-(-size // 4) * 4)
        self._at += -(-size // 4) * 4

    def _dimension(self) -> int:
        self._skip(self._number(self._count))
        return self._number(self._count)

    def _attributes(self) -> None:
        for _ in range(self._list(_ATTRIBUTE, 2 * self._count + 4)):
            self._skip(self._number(self._count))
            size = self._size()
            self._skip(self._number(self._count) * size)

    def _size(self) -> int:
        kind = self._number(4)
        if kind not in SIZES:
            raise self._broken(f"there is no type {kind}, at byte {self._at}")
        return SIZES[kind]

    def _variable(self, known: int) -> tuple[int, int, list[int]]:
        """(where its data begin, bytes of a value, numbers of its dimensions)."""
        self._skip(self._number(self._count))
        rank = self._number(self._count)
        self._need(rank * self._count)
        dims = [self._number(self._count) for _ in range(rank)]
        if any(d >= known for d in dims):
            raise self._broken(f"a variable names a dimension there is not, at byte {self._at}")
        self._attributes()
        size = self._size()
        self._number(self._count)  # vsize, which follows from the rest
        return self._number(self._offset), size, dims
