"""Removing what nothing needs: old versions, tilesets that no kept version shows, bytes that no manifest names. Never on the request path."""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from twin import scratch
from twin.city import City
from twin.errors import Conflict
from twin.jobs import Context, Jobs, alive

CACHE_AGE = 90 * 86_400.0
"""Seconds after which what readers keep to be quick is removed, and the last good state of a run that broke down."""
LAST_GOOD = "last-good.npz"
"""As `scenarios.driver` names it."""


def collect(city: City, context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """Remove what nothing needs: keeps published, pinned and the newest `keep` versions of each layer, and what was made, or shown, within `grace` s.

    No job begins meanwhile (`twin.jobs.ALONE`).

    Raises:
        Conflict: a job is running.
    """
    context.stage("collecting")
    now = time.time()
    busy = [j for j in Jobs(city.catalog).list() if j.state == "running" and j.id != context.job.id and alive(j, now)]
    if busy:  # what a running job reads or has just written is leased to it
        raise Conflict(f"Job {busy[0].id[:12]} ({busy[0].kind}) is running and may need what would be removed.", "Collect garbage when it has ended: twin jobs")
    keep, grace = int(params.get("keep", 3)), float(params.get("grace", 3600))
    for layer in city.catalog.layers():  # read before, so that the catalogue is held for a moment only
        for row in city.catalog.versions(layer.name):
            city.manifest(row.manifest)
    with city.catalog.write() as connection:  # one transaction: who rolls back, pins or deletes comes before all of it or after
        context.guard(connection)
        dead_versions, dead_derivations, live_keys = _needed(city, keep, now - grace)
        city.catalog.forget(connection, dead_versions, dead_derivations)
    removed, freed = 0, 0
    for key, size, modified in list(city.lake.list()):
        if key not in live_keys and now - modified > grace:
            context.check()  # a process that was asleep is told that others went on
            city.lake.delete(key)
            removed, freed = removed + 1, freed + size
    swept = city.lake.sweep_temporary() + scratch.sweep(Path(tempfile.gettempdir()), scratch.TWIN)  # the second: of readers
    freed += city.sweep_cache(CACHE_AGE)
    swept += _sweep_runs(city, now - grace, now - CACHE_AGE)
    return {"versions": len(dead_versions), "tilesets": len(dead_derivations), "files": removed, "bytes": freed, "temporary": swept}


def _needed(city: City, keep: int, since: float) -> tuple[list[tuple[str, int]], list[str], set[str]]:
    """Versions and tilesets that nothing needs, and the keys of all files that something does; `since` (s since 1970) is where the time of grace begins."""
    shown = city.catalog.published()
    roots = {(p.layer, p.number) for p in shown}
    until = city.catalog.shown_until()  # who reads what was shown a minute ago goes on with it, however old that is
    dead_versions, kept, live_keys = [], set(), set()
    for layer in city.catalog.layers():
        rows = city.catalog.versions(layer.name)
        for row in rows:
            one = (layer.name, row.number)
            if row in rows[-keep:] or row.pinned or one in roots or max(row.created, until.get(one, 0.0)) > since:
                kept.add(one)
                live_keys.add(row.manifest)
                live_keys.update(part.key for part in city.manifest(row.manifest).parts)
            else:
                dead_versions.append(one)
    live_keys |= {publication.manifest for publication in shown}
    # a version that came back (the same bytes delivered again) shows the tiles that were made for an earlier one
    named = {p.derivation for p in city.catalog.publications() if (p.layer, p.number) in kept}
    dead_derivations = []
    for derivation in city.catalog.derivations():
        if derivation.key in named or (derivation.layer, derivation.number) in kept:
            live_keys |= {*derivation.archives, *derivation.info.get("sidecars", {}).values()}
        else:
            dead_derivations.append(derivation.key)
    return dead_versions, dead_derivations, live_keys


def _sweep_runs(city: City, ended: float, old: float) -> int:
    """Remove what runs left that ended without a result before a time (s since 1970): checkpoints and frames, with which nobody goes on; later the last good state too."""
    count = 0
    done = {job.id: job.finished or 0.0 for job in Jobs(city.catalog).list(limit=1 << 30) if job.done}
    for folder in (city.settings.home / "runs").glob("*"):
        if done.get(folder.name, ended) >= ended:
            continue
        for path in list(folder.iterdir()):
            if path.name != LAST_GOOD or done[folder.name] < old:
                scratch.remove(path)
                count += 1
        with suppress(OSError):  # the last good state is in it
            folder.rmdir()
    return count
