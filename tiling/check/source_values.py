"""What tiles and their tileset say of features, against the rows of the source: values of every column, and the statistics that clients style by.

Compared are columns of numbers, booleans and texts; of what is written in another form (dates, decimals, lists) the writer's tests tell. Rows without a value are left out where
numbers hide them behind a spare value, and so are columns that features inherit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .glb import Model
from .issues import Where
from .metadata_model import NUMERIC_TYPES
from .positions import Task, listed
from .positions_rows import SourceRows
from .statistics_kept import entries
from .tables import PropertyTable

ROWS = 1 << 18
"""Rows whose values are compared: of a larger layer, in every so many-th content."""
LOST = {"FEATURE_MISSING", "FEATURE_UNKNOWN", "FEATURE_WITHOUT_ID"}
"""Findings that say already why figures would not agree."""
CLOSE, DIGITS = 1e-9, 2.0**-20
"""Share by which a mean or a sum may differ, and what each value may be rounded by before it is added (sums are those of any order of adding)."""


class Values:
    """Sees every content once, then the tileset's statistics."""

    def __init__(self, task: Task) -> None:
        skipped = {"id", "geometry", "bbox", "parent", *(column.name for column in task.version.columns if column.inherited)}
        self.kinds: dict[str, pa.DataType] = {}
        for part in task.version.parts:
            for field in pq.read_schema(task.lake.path(part.key)) if part.role == "features" else ():
                known = self.kinds.setdefault(field.name, field.type)
                if known != field.type or not _plain(field.type) or field.name in skipped:
                    skipped.add(field.name)
        self.kinds = {name: kind for name, kind in self.kinds.items() if name not in skipped}
        self.rows = SourceRows(task.lake, task.version, list(self.kinds)) if self.kinds else None
        self.seen = np.zeros(0 if self.rows is None else self.rows.total, bool)
        self.every = 1 if self.rows is None else -(-self.rows.total // ROWS)
        self.contents = 0
        self.classes: set[str] = set()
        self.refused = sum(task.info.get("report", {}).get("counts", {}).get(k, 0) for k in ("refused", "skipped"))

    def see(self, model: Model, where: Where, *, finest: bool = True) -> None:
        """Compare the tables of one content; what only coarser ones draw counts in no statistics."""
        if self.rows is None:
            return
        self.contents += 1
        for table in model.tables:
            names = None if table is None else table.columns.get(table.semantics.get("ID", "id"))
            if table is None or model.schema is None or not isinstance(names, list) or any(name is None for name in names):
                continue  # said where positions are compared
            self.classes.add(table.class_id)
            rows = self.rows.rows(names)
            known = np.flatnonzero(rows >= 0)
            if finest:
                self.seen[rows[known]] = True
            if not len(known) or (self.contents - 1) % self.every:
                continue
            source = self.rows.take(rows[known])
            properties = model.schema.classes.get(table.class_id, {})
            held = {str(prop.given.get("name", name)) for name, prop in properties.items() if isinstance(table.columns.get(name), np.ndarray) or prop.type not in NUMERIC_TYPES}
            lost = sorted(column for column in self.kinds.keys() - held if not pc.all(pc.is_null(source.column(column), nan_is_null=True)).as_py())
            if lost:
                where.error("VALUE_MISSING", f"the source's values of {', '.join(map(repr, lost))} are not there: the tile does not hold them")
            for name, prop in properties.items():
                column = str(prop.given.get("name", name))
                if column in self.kinds and name in table.columns:
                    self._compare(column, source.column(column), _picked(table, name, known), [names[k] for k in known.tolist()], where)

    def _compare(self, name: str, source: Any, drawn: Any, ids: list[str], where: Where) -> None:
        kind = self.kinds[name]
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or not isinstance(drawn, np.ndarray):
            if pa.types.is_integer(kind) or pa.types.is_floating(kind):
                return  # numbers that came as a list: not what our writer makes of them
            texts = source.to_pylist()
            if pa.types.is_boolean(kind):
                texts = [None if value is None else str(value).lower() for value in texts]
            wrong = np.array([a != b for a, b in zip(texts, list(drawn), strict=True)], bool)
        else:
            there = ~np.asarray(pc.is_null(source, nan_is_null=True))
            values = np.asarray(pc.fill_null(source, False if pa.types.is_boolean(kind) else 0))
            wrong = there & (drawn != values.astype(drawn.dtype))
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            where.error("VALUE_WRONG", f"{name!r} of {int(wrong.sum())} features is not the source's: of {ids[first]!r} {drawn[first]!r} for {source[first].as_py()!r}; "
                        f"{listed([ids[k] for k in np.flatnonzero(wrong).tolist()])}")  # fmt: skip

    def finish(self, document: Any, where: Where) -> None:
        """The statistics of tileset.json against those of the rows that are drawn; what is left out is told elsewhere (`statistics_kept`)."""
        at = where / "tileset.json" / "statistics" / "classes"
        if self.rows is None or self.refused or not self.seen.any() or where.report.codes() & LOST:
            return
        for class_id, told in entries(document, "statistics", "classes").items():
            if class_id in self.classes:
                self._class(told, entries(document, "schema", "classes", class_id, "properties"), at / class_id)
            else:
                (at / class_id).error("STATISTICS_WRONG", f"figures of {class_id!r} are stated, a class of which no feature is drawn")

    def _class(self, told: dict[str, Any], schema: dict[str, Any], where: Where) -> None:
        assert self.rows is not None
        if told.get("count", drawn := int(self.seen.sum())) != drawn:
            where.error("STATISTICS_WRONG", f"count is {told['count']}, {drawn} features are drawn")
        figures = entries(told, "properties")
        names = {key: str(value.get("name", key)) for key, value in schema.items() if key in figures}
        wanted = [column for column in names.values() if column in self.kinds]
        shown = self.rows.every(wanted, self.seen) if wanted else None
        for key, stated in figures.items():
            if shown is not None and names.get(key) in self.kinds:
                self._figures(shown.column(names[key]), stated, where / "properties" / key)

    def _figures(self, column: Any, stated: dict[str, Any], where: Where) -> None:
        kind = column.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            values = column.drop_null().to_numpy().astype(np.float64)
            values = values[~np.isnan(values)]  # no value, as null
            if len(values) and np.isfinite(values).all():
                true = {"min": values.min(), "max": values.max(), "mean": values.mean(), "sum": values.sum()}
                scale = float(np.abs(values).sum())
                for name, value in true.items():
                    room = 0.0 if name in ("min", "max") else (CLOSE * scale + DIGITS * len(values)) / (len(values) if name == "mean" else 1)
                    if isinstance(stated.get(name), int | float) and not abs(float(stated[name]) - value) <= room:
                        where.error("STATISTICS_WRONG", f"{name} is {stated[name]}, of the source's values it is {value}")
        elif isinstance(stated.get("occurrences"), dict):
            counts = {str(item["values"]).lower() if pa.types.is_boolean(kind) else item["values"]: item["counts"] for item in pc.value_counts(column.drop_null()).to_pylist()}
            off = sorted(text for text in counts.keys() | stated["occurrences"].keys() if counts.get(text, 0) != stated["occurrences"].get(text, 0))
            if off:
                where.error("STATISTICS_WRONG", f"occurrences of {len(off)} values are not the source's: {off[0]!r} {stated['occurrences'].get(off[0], 0)} for {counts.get(off[0], 0)}")


def _plain(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string, pa.types.is_large_string))


def _picked(table: PropertyTable, name: str, rows: NDArray[np.int64]) -> Any:
    """Some rows of a column: an array, or a list."""
    column = table.columns[name]
    return column[rows] if isinstance(column, np.ndarray) else [None if column is None else column[k] for k in rows.tolist()]
