"""Messages between a process and the ones it started: 8-byte length, then a pickle. Pickles come from our own processes alone."""

from __future__ import annotations

import os
import pickle
import struct
from typing import IO, Any, Protocol

LENGTH = struct.Struct("<Q")


class Readable(Protocol):
    """What messages are received from."""

    def read(self, size: int, /) -> bytes:
        """`size` bytes, fewer only at the end."""
        ...


def send(stream: IO[bytes], value: Any) -> None:
    """Write one message."""
    data = pickle.dumps(value, protocol=5)
    stream.write(LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: Readable) -> Any:
    """Read one message; None at the end of the stream."""
    data = packed(stream)
    return None if data is None else pickle.loads(data)  # noqa: S301  written by our own processes


def packed(stream: Readable) -> bytes | None:
    """Read one message and leave it packed; None at the end of the stream."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    size = LENGTH.unpack(head)[0]
    data = stream.read(size)
    return data if len(data) == size else None


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
