"""The tables of a layer (property sets, quantities, relations, materials, …): which there are, and their rows by a filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from twin import cql2
from twin.errors import NotFound
from twin.lake import Lake
from twin.model import LayerVersion

PREFIX = "table:"


@dataclass(frozen=True, slots=True)
class TableInfo:
    """A table of a layer: rows, and columns as (name, Arrow type)."""

    name: str
    count: int
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TablePage:
    """Some of the rows that matched, in the order of the source, and how many matched."""

    rows: pa.Table
    matched: int


def tables(lake: Lake, version: LayerVersion) -> list[TableInfo]:
    """The tables of a version, in the order they were written."""
    found: dict[str, TableInfo] = {}
    for part in version.parts:
        if part.role.startswith(PREFIX):
            name = part.role.removeprefix(PREFIX)
            before = found.get(name)
            columns = before.columns if before else tuple((f.name, str(f.type)) for f in pq.read_schema(lake.path(part.key)))
            found[name] = TableInfo(name, part.count + (before.count if before else 0), columns)
    return list(found.values())


def rows(lake: Lake, version: LayerVersion, name: str, where: str | None = None, *, limit: int = 10, offset: int = 0) -> TablePage:
    """Rows of a table; `where` is a CQL2 text over its columns, e.g. ``"from" = '2O2Fr$t4X7Zf8NOew3FLOH' AND relation = 'voids'``.

    Raises:
        NotFound: the layer has no such table. BadOption: the filter does not fit the columns.
    """
    parts = [part for part in version.parts if part.role == PREFIX + name]
    if not parts:
        known = ", ".join(info.name for info in tables(lake, version)) or "none"
        raise NotFound(f"Layer {version.layer!r} has no table {name!r}.", f"Tables: {known}.")
    schema = pq.read_schema(lake.path(parts[0].key))
    condition = cql2.parse(where, {f.name: f.type for f in schema}) if where is not None else None
    matched, taken = 0, []
    for part in parts:
        with pq.ParquetFile(lake.path(part.key)) as file:
            for group in range(file.num_row_groups):
                if condition is None:
                    count = file.metadata.row_group(group).num_rows
                    if matched + count <= offset or matched >= offset + limit:
                        matched += count
                        continue
                table = file.read_row_group(group)
                if condition is not None:
                    table = table.filter(pa.array(condition.mask(table)))
                start = max(offset - matched, 0)
                stop = min(offset + limit - matched, len(table))
                matched += len(table)
                if start < stop:
                    taken.append(table.slice(start, stop - start))
    found = pa.concat_tables(taken) if taken else schema.empty_table()
    return TablePage(found, matched)


def to_json(page: TablePage) -> dict[str, Any]:
    """The page as JSON values."""
    return {"matched": page.matched, "rows": page.rows.to_pylist()}
