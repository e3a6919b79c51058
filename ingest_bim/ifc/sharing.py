"""Which elements have equal shapes, found before anything is shaped: one of them is shaped, the others are placed.

Equal means that the text below the body representations is the same (`step_scan`), with its styles, the openings that cut
it and the materials that colour it. A body that is one mapped item is taken without its mapping target, so that all users
of a representation map share, wherever the map puts them. The same digest is the key of the shape cache.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.ifc.frames import operator_matrix
from ingest_bim.ifc.groups import Group
from ingest_bim.ifc.products import Products
from ingest_bim.ifc.step_access import DAMAGED
from ingest_bim.ifc.step_scan import StepText
from ingest_bim.ifc.structure import Structure

F64 = NDArray[np.float64]
IDENTITY = np.eye(4)
#: Decimals (of metres, and of directions) up to which two openings stand alike in their elements.
PLACES = 7


@dataclass
class Plan:
    """What is shaped and what is placed.

    Attributes:
        drawable: step id of every element that may have triangles → how it is built.
        keys: step id → digest of its shape; elements of one key are shaped once.
        members: key → its elements, the one that is shaped first.
        own: step id → (4, 4) from the shape's frame (the map's, for a mapped one) to the element's (metres).
        world: step id → (4, 4) placement in metres. An element without one stands in neither `keys` nor `own`.
        bodies: step id → names of the items of its one body representation, for those with a placement.
    """

    drawable: dict[int, Group]
    keys: dict[int, bytes] = field(default_factory=dict)
    members: dict[bytes, list[int]] = field(default_factory=dict)
    own: dict[int, F64] = field(default_factory=dict)
    world: dict[int, F64] = field(default_factory=dict)
    bodies: dict[int, list[int]] = field(default_factory=dict)


def plan_of(structure: Structure, products: Products, drawable: dict[int, Group], text: StepText, length: float, salt: str) -> Plan:
    """Find equal shapes (`length`: metres per unit; `salt`: whatever else decides what a shape looks like)."""
    plan = Plan(drawable)
    looks = _Looks(structure, products, text, length)
    begin = salt.encode()
    for element in structure.elements:
        step = element.id()
        if step not in drawable:
            continue
        try:
            placement = products.named(step)[0]
            world = products.world(placement) if placement else IDENTITY
            if world is None:
                continue
            content, operator, bodies = _content(step, products, text, cut=looks.is_cut(step))
            key = blake2b(b"|".join([begin, *content, *looks.of(element)]), digest_size=16).digest()
        except DAMAGED:
            continue
        plan.keys[step] = key
        plan.members.setdefault(key, []).append(step)
        plan.world[step], plan.own[step] = metres(world, length), metres(operator, length)
        if len(bodies) == 1:
            plan.bodies[step] = bodies[0]
    return plan


def metres(matrix: F64, length: float) -> F64:
    """A matrix of file units with its move in metres."""
    if length == 1.0 or matrix is IDENTITY:
        return matrix
    scaled = matrix.copy()
    scaled[:3, 3] *= length
    return scaled


def _content(step: int, products: Products, text: StepText, *, cut: bool) -> tuple[list[bytes], F64, list[list[int]]]:
    """Digests of what the shape is made of, the mapping operator that is left out of them, and the items of each representation."""
    parts = products.bodies(step)
    digests: list[bytes] = []
    operator = IDENTITY
    bodies: list[list[int]] = []
    for part in parts:
        digests += [text.digest(part.context) if part.context else b"$", str(part.identifier).encode()]
        bodies.append(part.items)
        if len(parts) == len(part.items) == 1 and products.kind(part.items[0]) == "IfcMappedItem" and not cut:
            mapped = products.model.by_id(part.items[0])
            target = operator_matrix(mapped.MappingTarget)
            # a mirrored use is a shape of its own: its triangles run the other way round
            if target is not None and float(np.linalg.det(target[:3, :3])) > 1e-12:
                operator = IDENTITY if np.array_equal(target, IDENTITY) else target
                digests += [text.digest(mapped.MappingSource.id()), b"mapped", *text.styles(part.items[0])]
                continue
        digests += map(text.digest, part.items)
    return digests, operator, bodies


class _Looks:
    """What else decides how elements look: class, materials, openings."""

    def __init__(self, structure: Structure, products: Products, text: StepText, length: float) -> None:
        self.structure, self.products, self.text, self.length = structure, products, text, length
        self.elements = {e.id(): e for e in structure.elements}
        self.openings: dict[int, list[int]] = defaultdict(list)
        for relation in structure.relations:
            if relation.name == "voids":
                self.openings[relation.source].append(relation.target)
        self.materials = structure.materials

    def is_cut(self, step: int) -> bool:
        return bool(self._cuts(step))

    def _cuts(self, step: int) -> list[int]:
        """Its openings and those of the wholes it is a part of, which the parser cuts too."""
        if not self.openings:
            return []
        return self.openings.get(step, []) + [o for whole in self.structure.above(step) for o in self.openings.get(whole, ())]

    def of(self, element: Any) -> list[bytes]:
        step = element.id()
        kind = self.structure.types.get(step)
        found = [element.is_a().encode()]
        for owner in (step, kind.id() if kind is not None else 0):
            found += [self.text.digest(m) for m in self.materials.get(owner, ())]
        for name in self._cuts(step):
            opening = self.elements[name]
            found.append(self.text.digest(opening.Representation.id()) if opening.Representation is not None else b"$")
            found += self._seen_from(element, opening.ObjectPlacement)
        return found

    def _seen_from(self, element: Any, near: Any) -> list[bytes]:
        """Where an opening stands, as its element sees it: their text where it is placed beside it, else their places compared."""
        own = element.ObjectPlacement
        if near is not None and near.is_a("IfcLocalPlacement") and near.PlacementRelTo is not None and near.PlacementRelTo == own:
            return [self.text.digest(near.RelativePlacement.id())]
        places = [self.products.world(place.id()) if place is not None else IDENTITY for place in (own, near)]
        if places[0] is None or places[1] is None:
            return [self.text.digest(place.id()) if place is not None else b"$" for place in (near, own)]
        seen = metres(np.linalg.inv(places[0]) @ places[1], self.length)
        return [(np.round(seen, PLACES) + 0.0).tobytes()]  # no −0
