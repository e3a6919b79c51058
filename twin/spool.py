"""Features on their way into a version: rows in any order → GeoParquet parts along the Morton curve of the earth.

Rows are spooled to disk as they come, and beside them 16 bytes of keys a feature; nothing else grows with the layer. Parts
lie in the order in which tiles are made (`twin.keys`), in small row groups, so that a box query, a tile or an edit reads
few rows; columns of many different values are written without a dictionary, which is both smaller and faster.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from twin import crs, keys
from twin.batches import Batches
from twin.errors import BadFeature
from twin.lake import Lake, storage_errors
from twin.model import Bounds, Column, Features, Part, Reference

S = TypeVar("S")
T = TypeVar("T")
WRITERS = 2
"""Parts that are written at a time: Arrow and the compression let go of the interpreter."""
RESERVED = ("id", "parent", "geometry", "bbox")
_CHUNK = 65_536
"""Rows of a batch of the spool."""
_GATHERED = 16_384
"""Rows that are gathered at a time: as many whole row groups as come to that."""
_FEW = 4
"""A column is worth a dictionary where a value occurs at least this often."""


class PackedFeatures(Features):
    """Features with flat geometries that are still the well-known binary that they will be stored as; `geometry` is made of it when asked for.

    Attributes:
        wkb: (N,) binary. boxes: (N, 4) lowest x and y, highest x and y.
    """

    def __init__(self, reference: Reference, ids: pa.Array, wkb: pa.Array, boxes: NDArray[np.float64], attributes: pa.Table) -> None:
        self.__dict__.update(reference=reference, ids=ids, wkb=wkb, boxes=boxes, attributes=attributes, parents=None)

    def __getattr__(self, name: str) -> Any:
        if name != "geometry":
            raise AttributeError(name)
        made = shapely.from_wkb(self.__dict__["wkb"].to_numpy(zero_copy_only=False))
        self.__dict__["geometry"] = made
        return made


@dataclass
class Spool:
    """Feature rows on disk in arrival order, their keys in a file beside; then sorted parts."""

    path: Path
    writer: pa.ipc.RecordBatchStreamWriter | None = None
    sink: Any = None
    keyed: Any = None
    z: list[tuple[float, float]] = field(default_factory=list)
    reference: Reference | None = None
    schema: pa.Schema | None = None

    def add(self, batch: Features) -> None:
        """Append a batch.

        Raises:
            BadFeature: a reserved column name, or columns that are not those of the first batch.
        """
        clash = [name for name in batch.attributes.column_names if name in RESERVED]
        if clash:
            raise BadFeature(f"Attribute {clash[0]!r} is a reserved name.", "Rename it in the source.")
        wkb, boxes = self._geometry(batch)
        ids = batch.ids.cast(pa.string())
        columns = {
            "id": ids,
            "parent": batch.parents.cast(pa.string()) if batch.parents is not None else pa.nulls(len(batch), pa.string()),
            **{name: batch.attributes.column(name) for name in batch.attributes.column_names},
            "bbox": pa.StructArray.from_arrays([pa.array(boxes[:, i], from_pandas=True) for i in range(4)], ["xmin", "ymin", "xmax", "ymax"]),
            "geometry": wkb,
        }
        described = {f.name: f for f in batch.attributes.schema}  # units and titles travel in the fields' metadata
        flat = pa.table(columns)
        table = _decoded(pa.Table.from_arrays(flat.columns, schema=pa.schema([described.get(f.name, f) for f in flat.schema])))
        if self.writer is None:
            self.schema, self.reference = table.schema, batch.reference
            with self._storing():
                self.sink, self.keyed = pa.OSFile(str(self.path), "wb"), self._keys.open("wb")
                self.writer = pa.ipc.new_stream(self.sink, table.schema)
        elif table.schema != self.schema:
            table = _conform(table, self.schema)
        with self._storing():
            self.writer.write_table(table, max_chunksize=_CHUNK)
        codes = keys.project(*crs.to_lonlat(batch.reference.horizontal, (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2))
        hashes = keys.id_hash(ids if isinstance(ids, pa.Array) else ids.combine_chunks())
        with self._storing():
            self.keyed.write(np.column_stack([codes, hashes]).tobytes())

    def _storing(self) -> AbstractContextManager[None]:
        """What is wrong with the disk, in words."""
        return storage_errors("Writing the features of a layer", self.path.parent)

    def _geometry(self, batch: Features) -> tuple[pa.Array, NDArray[np.float64]]:
        """The geometries as they are stored, and their boxes; heights are noted."""
        if isinstance(batch, PackedFeatures):
            return batch.wkb, batch.boxes
        if bool(np.any(shapely.has_z(batch.geometry))):
            z = shapely.get_coordinates(batch.geometry, include_z=True)[:, 2]
            z = z[np.isfinite(z)]
            if len(z):
                self.z.append((float(z.min()), float(z.max())))
        return pa.array(shapely.to_wkb(batch.geometry), pa.binary()), shapely.bounds(batch.geometry)

    @property
    def _keys(self) -> Path:
        return self.path.with_suffix(".keys")

    def columns(self) -> list[Column]:
        """The attributes' names, types, units and titles."""
        if self.schema is None:
            return []
        return [Column(f.name, str(f.type), (f.metadata or {}).get(b"unit", b"").decode(), _titles(f), b"inherited" in (f.metadata or {})) for f in self.schema if f.name not in RESERVED]

    def write_parts(self, lake: Lake, source: str, *, part_rows: int, group_rows: int, in_memory: int = keys.IN_MEMORY) -> Iterator[Part]:
        """All rows as parts of at most `part_rows` in row groups of `group_rows`; memory holds the keys of `in_memory` features.

        Raises:
            BadFeature: an id occurs twice. StorageError: the disk is full.
        """
        if self.writer is None or self.reference is None or self.schema is None:
            return
        with self._storing():
            self.close()
        spooled = Batches(self.path)
        sorted_by = np.memmap(self._keys, np.uint64, "r").reshape(-1, 2)
        _refuse_duplicates(spooled, sorted_by[:, 1], source, in_memory)

        def write(rows: NDArray[np.int64]) -> Part:
            with lake.scratch(".parquet") as path:
                with self._storing():
                    box = self._write(path, spooled, rows, group_rows)
                size = path.stat().st_size
                return Part("features", lake.put_file(path, ".parquet", move=True), size, len(rows), box)

        yield from side_by_side(write, _pieces(keys.in_order(sorted_by[:, 0], in_memory), part_rows), WRITERS)

    def _write(self, path: Path, spooled: Batches, rows: NDArray[np.int64], group_rows: int) -> Bounds | None:
        if self.schema is None or self.reference is None:
            raise ValueError("nothing was spooled")
        box = _box(spooled.take(rows, ["bbox"]).column("bbox"), self.z)
        schema = self.schema.with_metadata({b"geo": _geo_metadata(self.reference, box)})
        step = max(group_rows, _GATHERED // group_rows * group_rows)
        chunks = ahead(spooled.take(rows[at : at + step]).cast(schema) for at in range(0, len(rows), step))
        writer = None
        try:
            for chunk in chunks:
                if writer is None:
                    # row groups have short pages, and Arrow makes a context of Zstandard for each (docs/adr/0057)
                    writer = pq.ParquetWriter(path, schema, compression="lz4", use_dictionary=_repeating(chunk))
                writer.write_table(chunk, row_group_size=group_rows)
        finally:
            if writer is not None:
                writer.close()
        return box

    def close(self) -> None:
        """End the spool's files."""
        if self.sink is not None:
            sink, self.sink = self.sink, None
            with ExitStack() as all_of_them:  # on a full disk each may fail
                all_of_them.callback(self.keyed.close)
                all_of_them.callback(sink.close)
                if self.writer is not None:
                    self.writer.close()

    def remove(self) -> None:
        """End the spool and take away the file of keys (the caller takes away `path`)."""
        with suppress(OSError):  # what goes away need not be whole, and what went wrong before is what counts
            self.close()
        self._keys.unlink(missing_ok=True)


def _pieces(runs: Iterable[NDArray[np.int64]], length: int) -> Iterator[NDArray[np.int64]]:
    """The same numbers in arrays of `length`, the last one shorter."""
    rest = np.zeros(0, np.int64)
    for run in runs:
        rest = np.concatenate([rest, run]) if len(rest) else run
        while len(rest) > length:
            yield rest[:length]
            rest = rest[length:]
    if len(rest):
        yield rest


def _repeating(table: pa.Table) -> list[str]:
    """The columns whose values occur often enough for a dictionary."""
    simple = [f.name for f in table.schema if not (pa.types.is_nested(f.type) or pa.types.is_boolean(f.type) or pa.types.is_null(f.type)) and f.name not in ("id", "geometry")]
    few = table.slice(0, 8192)
    return [name for name in simple if pc.count_distinct(few.column(name)).as_py() * _FEW <= len(few)]


def side_by_side(function: Callable[[S], T], items: Iterable[S], threads: int) -> Iterator[T]:
    """`function` of each item, in order, as many at a time as there are threads."""
    with ThreadPoolExecutor(threads, thread_name_prefix="parts") as pool:
        waiting: deque[Future[T]] = deque()
        for item in items:
            if len(waiting) == threads:
                yield waiting.popleft().result()
            waiting.append(pool.submit(function, item))
        while waiting:
            yield waiting.popleft().result()


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, the next one already being made in a thread while one is used (GEOS and Arrow release the interpreter).

    Everything of the source, its end included, happens in that one thread, so that it may hold what belongs to a thread.
    """
    source = iter(items)
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        try:
            waiting = pool.submit(next, source, end)
            while (item := waiting.result()) is not end:
                waiting = pool.submit(next, source, end)
                yield cast("T", item)
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                pool.submit(close).result()


def _box(boxes: pa.ChunkedArray, z: list[tuple[float, float]]) -> Bounds | None:
    """The box of the rows' boxes, None where no row has one."""
    struct = boxes.combine_chunks()
    low, high = ([f(struct.field(name)).as_py() for name in names] for f, names in ((pc.min, ("xmin", "ymin")), (pc.max, ("xmax", "ymax"))))
    if low[0] is None:
        return None
    heights = (min(a for a, _ in z), max(b for _, b in z)) if z else (float("nan"), float("nan"))
    return Bounds(low[0], low[1], high[0], high[1], *heights)


def _titles(f: pa.Field) -> dict[str, str]:
    meta = f.metadata or {}
    return {lang: meta[key].decode() for lang, key in (("zh", b"title_zh"), ("en", b"title_en")) if key in meta}


def _decoded(table: pa.Table) -> pa.Table:
    """Columns that are written as numbers of a dictionary (categories of pandas) as the values themselves."""
    if not any(pa.types.is_dictionary(field.type) for field in table.schema):
        return table
    return table.cast(pa.schema([field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field for field in table.schema]))


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A later batch in the first batch's schema; a type that widened is refused by name."""
    try:
        return table.select(schema.names).cast(schema)
    except (KeyError, pa.ArrowInvalid, ValueError) as error:
        raise BadFeature(f"Attributes change within the source: {error}.", "Give every feature the same columns and types.") from error


def _refuse_duplicates(spooled: Batches, hashes: NDArray[np.uint64], source: str, limit: int) -> None:
    """Only ids whose hashes are equal are compared as texts."""
    twice: list[str] = []
    for rows in keys.in_order(hashes, limit):
        same = np.flatnonzero(np.diff(hashes[rows]) == 0)
        if len(same):
            texts = spooled.take(np.unique(np.concatenate([rows[same], rows[same + 1]])), ["id"]).column("id")
            twice += [row["values"] for row in pc.value_counts(texts).to_pylist() if row["counts"] > 1]
    if twice:
        twice = sorted(twice)[:5]
        also = f" (also: {', '.join(str(one)[:80] for one in twice[1:])})" if twice[1:] else ""
        raise BadFeature(f"{source}: id {twice[0][:80]!r} occurs more than once{also}.",
                         "Ids must be unique: name another column with --option id=COLUMN.")  # fmt: skip


def _geo_metadata(reference: Reference, box: Bounds | None) -> bytes:
    projjson = crs.crs_of(reference.horizontal).to_json_dict()
    covering = {"bbox": {c: ["bbox", c] for c in ("xmin", "ymin", "xmax", "ymax")}}
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": [], "crs": projjson, "covering": covering}
    if box is not None:
        column["bbox"] = [box.minx, box.miny, box.maxx, box.maxy]
    return json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}).encode()
