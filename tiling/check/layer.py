"""Checking a layer: its tiles against the specification and against its source, or, where it has no tiles, its parts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np

from twin.ground import Ground
from twin.lake import Lake
from twin.model import LayerVersion

from .archive import Paths, open_archive
from .glb import Model
from .issues import Report, Where
from .jsonfile import parse_json
from .parts import check_parts
from .positions import LIMIT, Comparison, Task
from .positions_blocks import Blocks
from .positions_mesh import Meshes
from .positions_points import Clouds
from .positions_terrain import Heights, told
from .positions_water import Waters
from .reached import Watched
from .scene import F64
from .source import Source, fetch
from .source_values import Values
from .statistics_kept import Kept
from .terrain import check_terrain
from .terrain_tile import TerrainTile
from .walk import Standing, Walker

WITH_VALUES = ("blocks", "mesh")
"""Kinds whose features have rows in the lake."""
COMPARISONS: dict[str, Callable[[Task], Comparison]] = {"blocks": Blocks, "mesh": Meshes, "points": Clouds}


def check_layer(
    version: LayerVersion, lake: Lake, archive: Paths | None, *, ground: Ground | None = None, info: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None, positions: bool = True, limit: float = LIMIT,
    progress: Callable[[float, str], None] = lambda fraction, doing: None,
) -> Report:  # fmt: skip
    """Check one version of a layer and, where it has one, its archive.

    ``archive``: its tiles (all archives where they were split), None for kinds without; ``ground``: the terrain the blocks stand on; ``info``: the tiler's facts;
    ``options``: what the tiler was given; ``positions``: also decode every finest vertex and compare it with the source, within
    ``limit`` metres; ``progress``: called with (fraction, what is being done).

    A tileset that cannot be read is a finding, not an exception.
    """
    task = Task(version, lake, ground, info or {}, options or {}, limit)
    report = Report()
    where = Where(report, version.layer)
    if archive is None:
        check_parts(version, lake, where, progress)
    elif version.kind == "terrain":
        _check_terrain(task, archive, report, where, positions, progress)
    else:
        source = open_archive(archive, where)
        if source is not None:
            with closing(source):
                check_positions(source, task, report, positions=positions, progress=progress)
    return report


def check_positions(
    source: Source, task: Task, report: Report | None = None, *, positions: bool = True,
    progress: Callable[[float, str], None] = lambda fraction, doing: None,
) -> Report:  # fmt: skip
    """Check a tileset of any source of bytes against the specification and, in the same pass, against the layer's parts."""
    report = report if report is not None else Report()
    where = Where(report, task.version.layer)
    compare = COMPARISONS.get(task.version.kind)  # a tileset that was taken over has nothing to be compared with
    comparison = compare(task) if positions and compare is not None else None
    tiles = max(int(task.info.get("tiles") or 1), 1)
    walker = Walker(report, None, laws=compare is not None)
    values = Values(task) if comparison is not None and task.version.kind in WITH_VALUES else None
    kept = Kept()

    def see(model: Model, transform: F64, at: Where, standing: Standing) -> None:
        kept.see(model)
        if comparison is not None:
            comparison.see(model, transform, at, standing)
            progress(min(report.contents / tiles, 0.99), f"comparing tiles ({report.contents} of {tiles})")
        if values is not None:
            values.see(model, at, finest=standing.finest)

    walker.observe = None if compare is None else see
    found = fetch(source, "", "tileset.json", where)
    if found is not None:
        with np.errstate(all="ignore"):  # absurd numbers become infinities, which no volume contains
            watched = Watched(source)
            walker.tileset(found[1], "tileset.json", watched, "", None)
            if walker.laws:
                watched.report_unread(where)
    document = None if found is None else parse_json(found[1], Where(Report(), ""))  # the walk has said what is wrong with it
    kept.finish(document, where / "tileset.json")
    if comparison is not None:
        report.positions = comparison.finish(where)
        if isinstance(comparison, Clouds):
            comparison.stated(document, where)
    if values is not None:
        values.finish(document, where)
    return report


def _check_terrain(task: Task, archive: Paths, report: Report, where: Where, positions: bool, progress: Callable[[float, str], None]) -> None:
    if "root" in task.info:
        _check_models(task, archive, report, where, positions)
    if task.info.get("entry", "layer.json") != "layer.json":
        return
    heights, waters = (Heights(task), Waters(task)) if positions else (None, None)
    tiles = max(int(task.info.get("tiles") or 1), 1)

    def see(z: int, x: int, y: int, tile: TerrainTile, at: Where) -> None:
        if heights is not None and waters is not None:
            heights.see(z, tile, at)
            waters.see(z, x, y, tile, at)
        progress(min(report.contents / tiles, 0.99), f"level {z}")

    check_terrain(archive, report=report, observe=see)
    if heights is not None:
        report.positions = heights.finish(where)


def _check_models(task: Task, archive: Paths, report: Report, where: Where, positions: bool) -> None:
    """The same ground as 3D Tiles: against the specification, and its finest level against the raster."""
    source = open_archive(archive, where)
    if source is not None:
        heights = Heights(task) if positions else None
        with closing(source):
            found = fetch(source, "", "tileset.json", where)
            if found is not None:
                watched = Watched(source)
                Walker(report, None, observe=None if heights is None else heights.see_model).tileset(found[1], "tileset.json", watched, "", None)
                watched.report_unread(where)
                told(parse_json(found[1], where / "tileset.json"), task.info.get("stats", {}).get("levels", []), where / "tileset.json")
        if heights is not None:
            report.positions = heights.finish(where)
