"""Readers, tilers and scenarios by name, their options, and what a tiler is given. The table itself is `twin.entries`.

Third parties add theirs by entry points in the groups ``wuyi_twin.readers``, ``wuyi_twin.tilers`` and
``wuyi_twin.scenarios`` (each naming an `Entry`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from twin.entries import CHECKER, CONVERTER, MESHOPT, READERS, SCENARIOS, TILERS
from twin.entries import Entry as Entry  # noqa: PLC0414  part of this module's interface
from twin.errors import BadOption, NotFound
from twin.ground import Ground
from twin.lake import Lake
from twin.model import Layer
from twin.options import Options as Options  # noqa: PLC0414  part of this module's interface, as the next two are
from twin.options import ReaderOptions as ReaderOptions  # noqa: PLC0414
from twin.options import parse_options as parse_options  # noqa: PLC0414


@dataclass(frozen=True)
class Previous:
    """What an earlier build of a layer left: its archive (several where it was split; pieces are named by the ledger), and the keys of its `sidecars` in the lake by name."""

    archives: tuple[Path, ...]
    sidecars: dict[str, str]


@dataclass(frozen=True)
class TileJob:
    """What a tiler is given besides the version.

    Attributes:
        lake: where the version's parts are read from.
        out: the archive to write (`twin.archive.ArchiveWriter`); nothing else is kept.
        options: the tiler's own `Options`.
        ground: the city's published terrain, or None.
        previous: an earlier build of the same layer by the same tiler; the bytes written must not depend on it.
        workers: processes it may use; the bytes written must not depend on it.
        progress: called with (done fraction 0–1, what is being done); raises Cancelled when the job was dismissed.
        about: what the layer is (CIM group and grade, titles), for the tileset's metadata.
        archive_bytes: what an archive may take that the tiler puts into the lake itself (`tiling.blocks.pieces`); `out` is split by who asked for it.
    """

    lake: Lake
    out: Path
    options: Any
    ground: Ground | None = None
    workers: int = 1
    progress: Callable[[float, str], None] = lambda fraction, doing: None
    previous: Previous | None = None
    about: Layer | None = None
    archive_bytes: int = 2 << 30


@cache
def _points() -> Any:
    """Those of all installed packages: to find them takes a while."""
    return entry_points()


@cache
def _table(group: str) -> dict[str, Entry]:
    builtin = {"readers": READERS, "tilers": TILERS, "scenarios": SCENARIOS}[group]
    table = {entry.name: entry for entry in builtin}
    for point in _points().select(group=f"wuyi_twin.{group}"):
        entry: Entry = point.load()
        table[entry.name] = entry
    return table


def readers() -> dict[str, Entry]:
    """All readers by name."""
    return _table("readers")


def tilers() -> dict[str, Entry]:
    """All tilers by name."""
    return _table("tilers")


def scenarios() -> dict[str, Entry]:
    """All scenarios by name."""
    return _table("scenarios")


def checker() -> Any:
    """The module that verifies tiles."""
    return import_module(CHECKER)


def converter() -> Any:
    """The module that writes 3D Tiles 1.0."""
    return import_module(CONVERTER)


def meshopt() -> Any:
    """The module that decodes EXT_meshopt_compression."""
    return import_module(MESHOPT)


def find(table: dict[str, Entry], name: str, what: str) -> Entry:
    """An entry by name, or NotFound with the names there are."""
    if name not in table:
        raise NotFound(f"There is no {what} {name!r}.", f"Known: {', '.join(sorted(table))}.")
    return table[name]


def from_text(model: type[BaseModel], texts: dict[str, str]) -> dict[str, Any]:
    """Command-line texts → values for a model: lists are split at commas or read as JSON, an empty text of an optional list is None.

    Names that the model does not know are passed on as they are, for the model to refuse.
    """
    values: dict[str, Any] = {}
    for name, text in texts.items():
        info = model.model_fields.get(name)
        kinds = {get_origin(k) for k in (info.annotation, *get_args(info.annotation))} if info else set()
        if kinds & {tuple, list} and text.lstrip().startswith(("[", "{")):  # rows or GeoJSON, as a request would send them
            try:
                values[name] = json.loads(text)
            except ValueError as error:
                raise BadOption(f"{name}: not JSON ({error}).", "Check brackets and commas.") from error
        elif kinds & {tuple, list}:
            values[name] = [part.strip() for part in text.split(",")] if text.strip() else None
        else:
            values[name] = text
    return values
