"""Attributes as the lake keeps them: scalar Arrow types and lists of them, names that are free and differ by more than their case.

Dates become ISO 8601 texts; structs are flattened one level (`names.primary`), deeper nesting becomes JSON texts;
bytes are left out. Every change of a name or type is reported once per column.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from twin.model import Report
from twin.parts import RESERVED

Convert = Callable[[pa.ChunkedArray], pa.ChunkedArray]


@dataclass(frozen=True)
class Plan:
    """What becomes of the columns of a source: (source name, path inside a struct, stored field, conversion) each; `report` is told of what only the rows show."""

    steps: tuple[tuple[str, tuple[str, ...], pa.Field, Convert | None], ...]
    report: Report
    _told: set[str] = field(default_factory=set)

    @property
    def schema(self) -> pa.Schema:
        """The stored schema."""
        return pa.schema([kept for _, _, kept, _ in self.steps])

    def stored(self, name: str) -> str | None:
        """The stored name of a source column, or None where it was left out."""
        return next((kept.name for source, path, kept, _ in self.steps if source == name and not path), None)

    def apply(self, table: pa.Table) -> pa.Table:
        """A chunk's attributes in the stored schema."""
        columns = []
        for name, path, kept, convert in self.steps:
            values = table.column(name)
            for key in path:
                values = pc.struct_field(values, key)
            columns.append(values if convert is None else convert(values))
            if _is_list(kept.type) and kept.name not in self._told and pc.list_flatten(columns[-1]).null_count:
                self._told.add(kept.name)
                self.report.note("warned", "", f"column {kept.name}: lists with members that are null; tiles hold them as JSON texts")
        return pa.table(columns, schema=self.schema) if columns else pa.table({"": pa.nulls(table.num_rows)}).select([])


def plan(schema: pa.Schema, report: Report, *, drop: str = "", taken: tuple[str, ...] = (), replaced: str = "") -> Plan:
    """Plan the columns of a source.

    Args:
        schema: of the source's attributes.
        report: where every change is noted.
        drop: the id column: left out if its name is reserved (it lives on as the feature id).
        taken: names that the reader writes itself.
        replaced: a column that is left out because the reader writes its values under the same name.
    """
    steps: list[tuple[str, tuple[str, ...], pa.Field, Convert | None]] = []
    used = {name.lower() for name in (*RESERVED, *taken)}
    for stated in schema:
        if stated.name and (stated.name == replaced or (stated.name == drop and stated.name.lower() in used)):
            continue
        parts: list[tuple[tuple[str, ...], pa.Field]] = [((), stated)]
        if pa.types.is_struct(stated.type) and stated.type.num_fields:
            parts = [((inner.name,), inner.with_name(f"{stated.name}.{inner.name}")) for inner in stated.type]
            report.note("assumed", "", f"column {stated.name}: a struct, stored as {', '.join(inner.name for _, inner in parts)}")
        for path, inner in parts:
            kind, convert, remark = _conversion(inner.type)
            if kind is None:
                report.note("skipped", "", f"column {inner.name}: {remark}")
                continue
            name = _free(inner.name or f"column_{len(steps) + 1}", used)
            if name != inner.name:
                report.note("assumed", "", f"column {inner.name or '(without a name)'} is stored as {name}: the name is taken or reserved")
            if remark:
                report.note("assumed", "", f"column {name}: {remark}")
            steps.append((stated.name, path, pa.field(name, kind, metadata=_titles(inner)), convert))
    return Plan(tuple(steps), report)


def _free(name: str, used: set[str]) -> str:
    stored = name
    if name.lower() in used:
        stored = next(c for c in (f"source_{name}", *(f"{name}_{i}" for i in range(2, 10_000))) if c.lower() not in used)
    used.add(stored.lower())
    return stored


def _titles(field: pa.Field) -> dict[bytes, bytes] | None:
    """Alternative name and unit of the source as our titles."""
    meta = field.metadata or {}
    kept = {key: meta[key] for key in (b"unit", b"title_zh", b"title_en") if key in meta}
    alias = meta.get(b"GDAL:OGR:alternative_name", b"")
    if alias:
        kept[b"title_en" if alias.isascii() else b"title_zh"] = alias
    return kept or None


def _conversion(kind: pa.DataType) -> tuple[pa.DataType | None, Convert | None, str]:
    """(stored type or None, conversion or None, remark for the report)."""
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):  # GDAL marks JSON texts as arrow.json
        inner, convert, remark = _conversion(kind.storage_type)
        return inner, (lambda v: convert(_storage(v)) if convert else _storage(v)), remark
    if t.is_boolean(kind) or t.is_integer(kind) or t.is_float32(kind) or t.is_float64(kind) or t.is_string(kind):
        return kind, None, ""
    if t.is_large_string(kind) or t.is_string_view(kind):
        return pa.string(), _cast(pa.string()), ""
    if t.is_null(kind):
        return pa.string(), _cast(pa.string()), ""
    if t.is_float16(kind):
        return pa.float32(), _cast(pa.float32()), ""
    if t.is_decimal(kind):
        return pa.float64(), _nearest, f"{kind} stored as float64"
    if t.is_dictionary(kind):
        inner, convert, remark = _conversion(kind.value_type)
        return inner, (lambda v: convert(v.cast(kind.value_type)) if convert else v.cast(kind.value_type)), remark
    if t.is_date(kind):
        return pa.string(), _cast(pa.string()), "dates stored as ISO 8601 texts"
    if t.is_timestamp(kind):
        return pa.string(), _iso_times, "times stored as ISO 8601 texts"
    if t.is_time(kind):
        return pa.string(), _cast(pa.string()), "times of day stored as texts"
    if t.is_duration(kind):
        return pa.int64(), _cast(pa.int64()), f"durations stored as counts of {kind.unit}"
    if t.is_binary(kind) or t.is_large_binary(kind) or t.is_fixed_size_binary(kind):
        return None, None, "bytes are not kept as an attribute"
    if _is_list(kind) and not pa.types.is_nested(kind.value_type):
        inner, convert, remark = _conversion(kind.value_type)
        if inner is not None:
            count = kind.list_size if t.is_fixed_size_list(kind) else -1
            return pa.list_(inner, count), _members(pa.list_(inner, count), convert), remark
    return pa.string(), _json_texts, "nested values stored as JSON texts"


def _is_list(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _members(stored: pa.DataType, convert: Convert | None) -> Convert:
    """Lists whose members are converted as a column of theirs would be."""

    def one(lists: pa.Array) -> pa.Array:
        plain = lists.cast(pa.list_(lists.type.value_type))
        members = pa.chunked_array([plain.flatten()])
        members = (convert(members) if convert else members).combine_chunks()
        lengths = pc.fill_null(pc.list_value_length(plain), 0)
        offsets = pc.cumulative_sum(pa.concat_arrays([pa.array([0], pa.int32()), lengths.cast(pa.int32())]))
        mask = plain.is_null() if plain.null_count else None
        return pa.ListArray.from_arrays(offsets, members, mask=mask).cast(stored)

    return lambda values: pa.chunked_array([one(chunk) for chunk in values.chunks], stored)


def _cast(kind: pa.DataType) -> Convert:
    return lambda values: values.cast(kind)


def _nearest(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The double nearest to each decimal: Arrow's own cast multiplies by a power of ten, which makes 26.400000000000002 of 26.40."""
    return values.cast(pa.string()).cast(pa.float64())


def _storage(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([chunk.storage for chunk in values.chunks], values.type.storage_type)


def _iso_times(values: pa.ChunkedArray) -> pa.ChunkedArray:
    zone = values.type.tz
    if zone is not None:
        values = values.cast(pa.timestamp(values.type.unit, "UTC"))
    texts = pc.strftime(values, format="%Y-%m-%dT%H:%M:%SZ" if zone is not None else "%Y-%m-%dT%H:%M:%S")
    return pc.replace_substring_regex(texts, r"\.0+(Z?)$", r"\1")


def _json_texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    texts = [None if v is None else json.dumps(v, ensure_ascii=False, default=_plain) for v in values.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
