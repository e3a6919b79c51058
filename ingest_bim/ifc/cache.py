"""Shapes by content, kept in the city's home: reading a revised model shapes only what changed.

One SQLite file, bounded: when it is larger than `LIMIT`, the shapes unused for longest go. The key (`ingest_bim.ifc.sharing`) is a
digest of the representation's text, kernel and versions; a damaged cache costs time, never a shape: whatever cannot be read is
made again.
"""

from __future__ import annotations

import sqlite3
import struct
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from ingest_bim.ifc.geometry import Shape

LIMIT = 1 << 30
_HEAD = struct.Struct("<IIII")
_SCHEMA = "CREATE TABLE IF NOT EXISTS shapes (key BLOB PRIMARY KEY, used INTEGER NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID"


class ShapeCache:
    """Shapes by key. Every method gives way to a locked or damaged file: nothing found, nothing kept."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.path, self.limit = folder / "shapes.sqlite", limit

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=5, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")  # what a crash loses is made again
        connection.execute(_SCHEMA)
        return connection

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Shape]:
        """The shapes there are of these keys; they count as used now."""
        found: dict[bytes, Shape] = {}
        if not self.path.exists():
            return found
        with suppress(sqlite3.Error, OSError), closing(self._open()) as connection:
            for key in keys:
                row = connection.execute("SELECT data FROM shapes WHERE key = ?", (key,)).fetchone()
                if row is not None and (shape := unpack(row[0])) is not None:
                    found[key] = shape
            now = int(time.time())
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("UPDATE shapes SET used = ? WHERE key = ?", ((now, key) for key in found))
            connection.execute("COMMIT")
        return found

    def put(self, shapes: dict[bytes, Shape]) -> None:
        """Keep shapes, then drop the ones unused for longest until the limit holds."""
        if not shapes:
            return
        with suppress(sqlite3.DatabaseError, OSError), closing(self._open()) as connection:
            now = int(time.time())
            rows = [(key, now, len(data), data) for key, shape in shapes.items() for data in [pack(shape)] if len(data) <= self.limit // 8]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO shapes VALUES (?, ?, ?, ?)", rows)
            connection.execute("COMMIT")
            self._trim(connection)
            return
        with suppress(OSError):  # not a database any more: begin anew next time
            if self._is_damaged():
                self.path.unlink()

    def _trim(self, connection: sqlite3.Connection) -> None:
        total = int(connection.execute("SELECT COALESCE(SUM(size), 0) FROM shapes").fetchone()[0])
        if total <= self.limit:
            return
        doomed = []
        for key, size in connection.execute("SELECT key, size FROM shapes ORDER BY used, key").fetchall():
            if total <= self.limit * 0.9:
                break
            doomed.append((key,))
            total -= size
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("DELETE FROM shapes WHERE key = ?", doomed)
        connection.execute("COMMIT")
        connection.execute("VACUUM")

    def _is_damaged(self) -> bool:
        try:
            with closing(sqlite3.connect(self.path, timeout=5)) as connection:
                connection.execute("SELECT COUNT(*) FROM shapes").fetchone()
        except sqlite3.OperationalError:
            return False  # locked
        except sqlite3.DatabaseError:
            return True
        return False


def pack(shape: Shape) -> bytes:
    """Numbers of vertices, triangles and bytes of JSON; JSON of materials, kernel and what is missing; the arrays, little-endian."""
    head = orjson.dumps([shape.materials, shape.kernel, shape.missing])
    arrays = [np.ascontiguousarray(a, kind).tobytes() for a, kind in ((shape.positions, "<f8"), (shape.triangles, "<i4"), (shape.rows, "<i4"))]
    body = head + b"".join(arrays)
    return _HEAD.pack(len(shape.positions), len(shape.triangles), len(head), len(body)) + body


def unpack(data: bytes) -> Shape | None:
    """The inverse of `pack` (placed at the origin); None for anything else."""
    try:
        vertices, triangles, head, size = _HEAD.unpack_from(data)
        if len(data) != _HEAD.size + size or size != head + 24 * vertices + 16 * triangles:
            return None
        at = _HEAD.size + head
        materials, kernel, missing = orjson.loads(data[_HEAD.size : at])
        positions = np.frombuffer(data, "<f8", 3 * vertices, at).reshape(-1, 3)
        corners = np.frombuffer(data, "<i4", 3 * triangles, at + 24 * vertices).reshape(-1, 3)
        rows = np.frombuffer(data, "<i4", triangles, at + 24 * vertices + 12 * triangles)
        if not np.isfinite(positions).all() or (triangles and not (corners.min() >= 0 and corners.max() < vertices)) or rows.max(initial=-1) >= len(materials):
            return None
        styles: list[Any] = [(str(name), tuple(float(v) for v in color)) for name, color in materials]
        return Shape(positions, corners, rows, styles, np.eye(4), str(kernel), str(missing))
    except (struct.error, ValueError, TypeError):
        return None
