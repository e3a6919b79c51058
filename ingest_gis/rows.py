"""What every opened vector source looks like to the readers: a name, a reference, a schema, and rows in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from twin import crs
from twin.errors import BadReference, UnreadableSource
from twin.model import Reference, Report
from twin.registry import ReaderOptions

CHUNK = 65_536
"""Rows in memory at once."""


class VectorOptions(ReaderOptions):
    """What the readers of vector sources share."""

    table: str | None = Field(None, description="Table (layer) of a GeoPackage with several.")
    id: str | None = Field(None, description="Column whose values are the feature ids; 'fid' names the table's row key.")
    member: str | None = Field(None, description="Which data set of a ZIP, where it holds several.")
    encoding: str | None = Field(None, min_length=1, description="Character encoding of a Shapefile's texts, e.g. GBK.")


@dataclass(frozen=True)
class Rows:
    """One chunk. `wkb`: (N,) bytes or None; `fids`: (N,) int64 row keys of the source or None; `start`: first row's number.

    `linear` reads the same rows again with curves turned into lines (for formats that hold curves).
    """

    start: int
    wkb: NDArray[np.object_]
    attributes: pa.Table
    fids: NDArray[np.int64] | None = None
    linear: Callable[[], NDArray[np.object_]] | None = None


@dataclass(frozen=True)
class Source:
    """An opened vector source.

    Attributes:
        name: file name for messages.
        driver: format, as GDAL calls it.
        table: its table (layer) name.
        crs: horizontal (or compound) CRS of the file as text, or None.
        names: of the attributes. schema: Arrow schema of these, geometry left out; of some formats it takes a pass to know it, so `read_schema` waits until it is wanted.
        polygonal: whether the declared geometry type is polygonal; None where the source does not say.
        count: rows the source states, or −1.
        chunks: starts a new pass over the rows.
        column: starts a pass over one attribute, in runs (to see whether it is an id).
        stable_fids: whether `Rows.fids` are keys that survive editing.
        geometry: name of the geometry column ("" where the format has none).
        keep: held as long as the source is: with it goes the folder that a ZIP was unpacked to.
    """

    name: str
    driver: str
    table: str
    crs: str | None
    names: Sequence[str]
    read_schema: Callable[[], pa.Schema] = field(repr=False)
    polygonal: bool | None
    count: int
    chunks: Callable[[], Iterator[Rows]] = field(repr=False)
    column: Callable[[str], Iterator[pa.ChunkedArray]] = field(repr=False)
    stable_fids: bool = False
    geometry: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    keep: object = field(default=None, repr=False)

    @cached_property
    def schema(self) -> pa.Schema:
        """See above."""
        return self.read_schema()


def reference_of(source: Source, options: ReaderOptions, report: Report) -> Reference:
    """The layer's reference from the options (first) or the file, noting which.

    Raises:
        MissingReference, BadReference: as `twin.crs.parse_reference`.
    """
    reference = crs.parse_reference(options.crs or source.crs, options.vertical, vertical_offset=options.vertical_offset, where=source.name)
    report.facts["driver"] = source.driver
    report.facts["table"] = source.table
    report.facts["crs_source"] = "option" if options.crs else "file"
    if options.crs and source.crs:
        try:
            stated = crs.parse_reference(source.crs, where=source.name).horizontal
        except BadReference:
            report.note("assumed", "", f"--crs {options.crs} takes the place of the file's {source.crs[:80]!r}, which is unknown.")
        else:
            if stated != reference.horizontal:
                report.note("assumed", "", f"--crs {options.crs} overrides the file's {crs.crs_of(stated).name}.")
    report.facts.update(source.facts)
    return reference


def different(names: list[str]) -> list[str]:
    """Names of columns, the second and further ones of a name with a number."""
    found: list[str] = []
    for name in names:
        number, free = 2, name
        while free in found or (free != name and free in names):
            number, free = number + 1, f"{name}_{number}"
        found.append(free)
    return found


def check_text(name: str, table: pa.Table) -> None:
    """Refuse texts that are not UTF-8 (a wrong encoding), naming the column."""
    for column in table.schema:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            try:
                table.column(column.name).validate(full=True)
            except pa.ArrowInvalid as error:
                raise undecodable(name, f"column {column.name!r}") from error


def undecodable(name: str, where: str) -> UnreadableSource:
    """The error for texts in another encoding than the file states."""
    return UnreadableSource(
        f"{name}: {where} holds text that is not in the stated encoding.",
        "For a Shapefile name it with --option encoding=GBK (or another); convert other formats to UTF-8.",
    )
