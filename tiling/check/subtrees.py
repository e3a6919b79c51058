"""Subtrees of implicit tiling: the binary and the JSON form, availability, metadata (3D Tiles 1.1).

A subtree of L levels and branching B (4 or 8) has (B^L - 1)/(B - 1) tiles, stored level after level in
Morton order, and B^L child subtrees.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .buffers import check_buffers, load_views
from .issues import Where
from .jsonfile import parse_json
from .metadata_model import Schema
from .shape import INDEX, Anything, Choice, List, Num, Obj
from .tables import TABLES, PropertyTable, check_table
from .values import ENTITY, check_entity

Bits = NDArray[np.bool_]

_AVAILABILITY = Obj(
    optional={"bitstream": INDEX, "availableCount": INDEX, "constant": Choice((0, 1))},
    one_of=(("bitstream", "constant"),),
)
_SUBTREE = Obj(
    required={"tileAvailability": _AVAILABILITY, "childSubtreeAvailability": _AVAILABILITY},
    optional={
        "buffers": Anything(),  # checked by buffers.py
        "bufferViews": Anything(),
        "contentAvailability": List(_AVAILABILITY, 1),
        "propertyTables": TABLES,
        "tileMetadata": INDEX,
        "contentMetadata": List(INDEX, 1),
        "subtreeMetadata": ENTITY,
    },
)
IMPLICIT = Obj(
    required={
        "subdivisionScheme": Choice(("QUADTREE", "OCTREE")),
        "subtreeLevels": Num(low=1, whole=True),
        "availableLevels": Num(low=1, whole=True),
        "subtrees": Obj(required={"uri": Anything()}),  # a template, checked by templates
    },
)
#: 4^12 bits are 2 MB; deeper subtrees are legal but no writer makes them and a liar could ask for 2^60.
DEEPEST = {4: 14, 8: 9}


@dataclass(frozen=True)
class Implicit:
    """What an ``implicitTiling`` object says, and how many contents its tile template has."""

    branching: int
    subtree_levels: int
    available_levels: int
    contents: int

    @property
    def tiles(self) -> int:
        """Tiles of one subtree."""
        return int((self.branching**self.subtree_levels - 1) // (self.branching - 1))


@dataclass(frozen=True)
class Subtree:
    """Availability as booleans: tiles (tiles,), one (tiles,) per content, child subtrees (B^L,)."""

    tiles: Bits
    contents: list[Bits]
    children: Bits
    tile_table: PropertyTable | None = None
    content_tables: list[PropertyTable | None] = field(default_factory=list)

    def levels(self, branching: int) -> int:
        """How many of its levels have available tiles: to the deepest of them."""
        last, deep = np.flatnonzero(self.tiles).max(initial=-1), 0
        while (branching**deep - 1) // (branching - 1) <= last:
            deep += 1
        return deep


def check_subtree(
    data: bytes,
    implicit: Implicit,
    schema: Schema | None,
    read: Callable[[str, Where], bytes | None],
    where: Where,
    *,
    schema_given: bool = True,
) -> Subtree | None:
    """Check a subtree file (binary by its magic, else JSON); None, with findings, when it cannot be used.

    ``read(uri, where)`` fetches external buffers relative to the subtree file.
    """
    binary = data[:4] == b"subt"
    chunk: bytes | None = None
    text = data
    if binary:
        parts = _split(data, where)
        if parts is None:
            return None
        text, chunk = parts
    elif data[:1] not in (b"{", b" ", b"\n", b"\r", b"\t", b"\xef"):
        where.error("SUBTREE_HEADER", f"is neither JSON nor a binary subtree (starts with {data[:4]!r})")
        return None
    value = parse_json(text, where)
    if value is None:
        return None
    good = _SUBTREE.check(value, where)
    good = isinstance(value, dict) and check_buffers(value, where, embedded=chunk is not None) and good
    if not good:
        return None
    return _Reader(value, implicit, load_views(value, chunk, read, where), where).subtree(schema, schema_given)


def _split(data: bytes, where: Where) -> tuple[bytes, bytes] | None:
    if len(data) < 24:
        where.error("SUBTREE_HEADER", f"has {len(data)} bytes; the header alone has 24")
        return None
    _, version, json_length, binary_length = struct.unpack_from("<4sIQQ", data)
    if version != 1:
        where.error("SUBTREE_HEADER", f"the version is {version}, must be 1")
    for name, length in (("JSON", json_length), ("binary", binary_length)):
        if length % 8:
            where.error("SUBTREE_ALIGNMENT", f"the {name} chunk's length {length} is not a multiple of 8")
    if 24 + json_length + binary_length != len(data):
        where.error("SUBTREE_LENGTH", f"the header promises {24 + json_length + binary_length} bytes, there are {len(data)}")
        return None
    return data[24 : 24 + json_length], data[24 + json_length :]


@dataclass(frozen=True)
class _Reader:
    value: dict[str, Any]
    implicit: Implicit
    views: list[bytes | None]
    where: Where

    def subtree(self, schema: Schema | None, schema_given: bool) -> Subtree | None:
        """Decode the availability, hold it together, then the metadata."""
        implicit, value, where = self.implicit, self.value, self.where
        tiles = self._bits(value["tileAvailability"], implicit.tiles, where / "tileAvailability")
        given = value.get("contentAvailability", [])
        at = where / "contentAvailability"
        if len(given) > max(implicit.contents, 1):  # an empty template still allows one availability
            at.error("SUBTREE_CONTENTS", f"has {len(given)} entries; the tile template has {implicit.contents} contents")
        elif len(given) < implicit.contents:
            at.error("SUBTREE_CONTENTS", f"says of {len(given)} contents where they are; the tile template has {implicit.contents}")
        contents = [self._bits(v, implicit.tiles, at / i) for i, v in enumerate(given)]
        last = implicit.branching**implicit.subtree_levels
        children = self._bits(value["childSubtreeAvailability"], last, where / "childSubtreeAvailability")
        if tiles is None or children is None or any(c is None for c in contents):
            return None
        kept = [c for c in contents if c is not None]
        self._consistent(tiles, kept, children)
        tables = self._tables(schema, schema_given)
        if "subtreeMetadata" in value:
            check_entity(value["subtreeMetadata"], schema, where / "subtreeMetadata", given=schema_given)
        tile_table = self._metadata("tileMetadata", value.get("tileMetadata"), tables, tiles, where)
        content_tables = self._content_metadata(tables, kept)
        return Subtree(tiles, kept, children, tile_table, content_tables)

    def _bits(self, value: dict[str, Any], count: int, where: Where) -> Bits | None:
        stated = value.get("availableCount")
        if "constant" in value:
            bits = np.full(count, bool(value["constant"]))
        else:
            index = int(value["bitstream"])
            if index >= len(self.views):
                (where / "bitstream").error("JSON_RANGE", f"the buffer view {index} does not exist")
                return None
            data = self.views[index]
            if data is None:
                return None
            if len(data) != (count + 7) // 8:
                where.error("SUBTREE_AVAILABILITY_LENGTH", f"has {len(data)} bytes; {count} bits need {(count + 7) // 8}")
                return None
            every = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").astype(bool)
            bits = every[:count]
            if every[count:].any():
                where.warning("SUBTREE_PADDING_BITS", "the unused bits of the last byte are not 0")
        found = int(np.count_nonzero(bits))
        if stated is not None and stated != found:
            where.error("SUBTREE_AVAILABLE_COUNT", f"availableCount is {stated}, {found} are available")
        return bits

    def _consistent(self, tiles: Bits, contents: list[Bits], children: Bits) -> None:
        """A tile needs its parent, content its tile, a child subtree its parent tile."""
        b, where = self.implicit.branching, self.where
        starts = [(b**level - 1) // (b - 1) for level in range(self.implicit.subtree_levels + 1)]
        levels = [tiles[a:z] for a, z in pairwise(starts)]
        orphans = sum(
            int(np.count_nonzero(low & ~np.repeat(up, b))) for up, low in pairwise(levels)
        )
        if orphans:
            (where / "tileAvailability").error("SUBTREE_PARENT_MISSING", f"{orphans} tiles are available, their parents not")
        if not tiles[0]:
            (where / "tileAvailability").error("SUBTREE_EMPTY", "not even the root of the subtree is available")
        for i, content in enumerate(contents):
            stray = int(np.count_nonzero(content & ~tiles))
            if stray:
                (where / "contentAvailability" / i).error("SUBTREE_CONTENT_WITHOUT_TILE", f"{stray} contents have no tile")
        stray = int(np.count_nonzero(children & ~np.repeat(levels[-1], b)))
        if stray:
            (where / "childSubtreeAvailability").error("SUBTREE_PARENT_MISSING", f"{stray} child subtrees have no parent tile")

    def _tables(self, schema: Schema | None, schema_given: bool) -> list[PropertyTable | None]:
        given = self.value.get("propertyTables", [])
        if given and schema is None:
            if not schema_given:
                (self.where / "propertyTables").error("METADATA_SCHEMA_MISSING", "there is no schema for these tables")
            return []
        starts = [int(v["byteOffset"]) for v in self.value.get("bufferViews", [])]
        return [
            check_table(t, schema, self.views, starts, self.where / "propertyTables" / i)
            for i, t in enumerate(given)
            if schema is not None
        ]

    def _metadata(
        self, name: str, index: int | None, tables: list[PropertyTable | None], used: Bits, where: Where
    ) -> PropertyTable | None:
        if index is None:
            return None
        at = where / name
        given = self.value.get("propertyTables")
        if given is None:
            at.error("METADATA_TABLE_MISSING", "refers to a property table, but there are none")
        elif index >= len(given):
            at.error("JSON_RANGE", f"the property table {index} does not exist")
        elif index < len(tables):
            table = tables[index]
            rows = int(np.count_nonzero(used))
            if table is not None and table.count != rows:
                at.error("METADATA_TABLE_LENGTH", f"the table has {table.count} rows, {rows} are available")
                return None
            return table
        return None

    def _content_metadata(self, tables: list[PropertyTable | None], contents: list[Bits]) -> list[PropertyTable | None]:
        given = self.value.get("contentMetadata")
        if given is None:
            return []
        at = self.where / "contentMetadata"
        if "propertyTables" not in self.value:
            at.error("METADATA_TABLE_MISSING", "refers to property tables, but there are none")
            return []
        if len(given) > len(contents):
            at.error("JSON_LENGTH", f"has {len(given)} entries for {len(contents)} contents")
            return []
        return [self._metadata(str(i), index, tables, contents[i], at) for i, index in enumerate(given)]


TEMPLATE_VARIABLES = {4: {"level", "x", "y"}, 8: {"level", "x", "y", "z"}}
