"""The shapes of a whole model: equal ones are shaped once and placed many times, known ones come from the cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ingest_bim.ifc.cache import ShapeCache
from ingest_bim.ifc.caps import LOFTED, closed
from ingest_bim.ifc.geometry import Shape, Shapes
from ingest_bim.ifc.groups import Group, by_group
from ingest_bim.ifc.ladder import Local, Shaper, shape_all
from ingest_bim.ifc.sharing import IDENTITY, Plan


def shape_model(
    host: Shaper, plan: Plan, kernel: str, cache: ShapeCache | None, progress: Callable[[int], None] = lambda done: None, plain: Local | None = None
) -> tuple[Shapes, dict[bytes, Shape]]:
    """Every drawable element's shape, or why it has none; and those by key that the cache lacks."""
    known = cache.get(plan.members) if cache is not None else {}
    leaders = {members[0]: key for key, members in plan.members.items() if key not in known}
    first = [step for step in plan.drawable if step in leaders or step not in plan.keys]
    cached: dict[Group, list[str]] = {}
    for key, found in known.items():
        cached.setdefault(plan.drawable[plan.members[key][0]], []).append(found.kernel)
    made = shape_all(host, by_group(plan.drawable, iter(first)), kernel, progress, plain, cached)
    _close(made, plan)
    bases = dict(known)
    apart: list[int] = []
    for leader, key in leaders.items():
        shape = made.shapes.get(leader)
        if shape is None:
            continue
        if _same(shape.matrix, plan.world[leader]):
            bases[key] = _in_frame(shape, plan.own[leader])
        else:  # the parser places it otherwise than we do: nothing is derived from it
            apart += plan.members[key][1:]
    if apart:
        made = _joined(made, shape_all(host, by_group(plan.drawable, iter(apart)), kernel, progress, plain))
        _close(made, plan)
    for key, base in bases.items():
        for step in plan.members[key]:
            world, own = plan.world[step], plan.own[step]
            matrix = world if own is IDENTITY else world @ own
            made.shapes[step] = base if base.matrix is matrix else replace(base, matrix=matrix)
    for leader, key in leaders.items():
        if leader in made.skipped:
            made.skipped |= dict.fromkeys(plan.members[key], made.skipped[leader])
    shared = sum(len(plan.members[key]) - 1 for key in bases)
    made.facts |= {"shaped": len(first) + len(apart), "placed_copies": shared, "from_cache": sum(key in known for key in bases)}
    return made, {key: base for key, base in bases.items() if key not in known}


def _close(made: Shapes, plan: Plan) -> None:
    for step, shape in made.shapes.items():
        if not LOFTED.isdisjoint(plan.drawable[step]):
            made.shapes[step] = closed(shape)


def _same(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return one is other or bool(np.all(np.abs(one - other) <= 1e-9 + 1e-9 * np.abs(other).max()))


def _in_frame(shape: Shape, own: NDArray[np.float64]) -> Shape:
    """A shape in the frame of its map: without the mapping target of the element that it was made for."""
    if own is IDENTITY:
        return shape
    inverse = np.linalg.inv(own)
    return replace(shape, positions=shape.positions @ inverse[:3, :3].T + inverse[:3, 3])


def _joined(one: Shapes, other: Shapes) -> Shapes:
    counts = dict(one.facts["kernels"])
    for name, count in other.facts["kernels"].items():
        counts[name] = counts.get(name, 0) + count
    findings = sorted({*one.findings, *other.findings})
    facts = {"kernels": counts, "samples_compared": one.facts["samples_compared"] + other.facts["samples_compared"], "guard": findings}
    return Shapes({**one.shapes, **other.shapes}, {**one.skipped, **other.skipped}, findings, facts)
