"""Messages between a process and the ones it started: a pickle, and the arrays of it as they lie in memory. Both come from our own processes alone."""

from __future__ import annotations

import os
import pickle
import struct
from typing import IO, Any, Protocol

HEAD = struct.Struct("<QQ")
"""Bytes of the pickle, number of arrays; then the bytes of each (`LENGTH`), the pickle and the arrays."""
LENGTH = struct.Struct("<Q")
Packed = tuple[bytes, list[bytearray]]


class Readable(Protocol):
    """What messages are received from."""

    def read(self, size: int, /) -> bytes:
        """`size` bytes, fewer only at the end."""
        ...

    def readinto(self, place: memoryview, /) -> int | None:
        """Fill a place; how much of it was filled, 0 at the end."""
        ...


def send(stream: IO[bytes], value: Any) -> None:
    """Write one message. Its arrays are not copied for that."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    arrays = [buffer.raw() for buffer in buffers]
    stream.write(HEAD.pack(len(data), len(arrays)) + b"".join(LENGTH.pack(array.nbytes) for array in arrays))
    stream.write(data)
    for array in arrays:
        stream.write(array)
    stream.flush()


def receive(stream: Readable | IO[bytes]) -> Any:
    """Read one message; None at the end of the stream."""
    message = packed(stream)
    return None if message is None else opened(message)


def packed(stream: Readable | IO[bytes]) -> Packed | None:
    """Read one message and leave it packed; None at the end of the stream."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    size, count = HEAD.unpack(head)
    lengths = stream.read(LENGTH.size * count)
    data = stream.read(size)
    if len(lengths) < LENGTH.size * count or len(data) < size:
        return None
    arrays = [bytearray(length) for (length,) in LENGTH.iter_unpack(lengths)]
    return (data, arrays) if all(_filled(stream, array) for array in arrays) else None


def opened(message: Packed) -> Any:
    """What was sent."""
    data, arrays = message
    return pickle.loads(data, buffers=arrays)  # noqa: S301  written by our own processes


def _filled(stream: Any, array: bytearray) -> bool:
    """Read as much as there is place; False where the stream ends before."""
    left = memoryview(array)
    while left:
        count = stream.readinto(left)
        if not count:
            return False
        left = left[count:]
    return True


class Exact:
    """A pipe's reading end without a buffer, so that select() sees every message; `read` waits for all bytes it asks for."""

    def __init__(self, descriptor: int) -> None:
        self.raw = os.fdopen(descriptor, "rb", buffering=0)

    def fileno(self) -> int:
        """For select()."""
        return self.raw.fileno()

    def close(self) -> None:
        """Close the pipe."""
        self.raw.close()

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end."""
        parts: list[bytes] = []
        while size > 0 and (data := self.raw.read(size)):
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def readinto(self, place: memoryview) -> int | None:
        """Fill a place with what there is."""
        return self.raw.readinto(place)
