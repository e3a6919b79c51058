"""Tilesets that were taken over: nothing to make, only the archive to hand on, with the verdict of our own check."""

from __future__ import annotations

import shutil
from typing import Any

from tiling.check import check_tileset
from twin import registry
from twin.errors import BadFeature
from twin.model import LayerVersion, Report
from twin.registry import TileJob

CODE_VERSION = "1"
SHOWN = 20


class Options(registry.Options):
    """There is nothing to choose."""


def tile(version: LayerVersion, job: TileJob) -> dict[str, Any]:
    """Hand the archive on as it is; see the contract in `tiling`.

    The report says whether it is valid (`twin check` of the whole); a tileset with errors is shown all the same, since clients
    are lenient, but its first errors are in the report.
    """
    part = next((part for part in version.parts if part.role == "tileset"), None)
    if part is None or part.bounds is None:
        raise BadFeature(f"Layer {version.layer} holds no tileset.")
    shutil.copyfile(job.lake.path(part.key), job.out)
    job.progress(0.2, "checking")
    report = Report(source=version.layer, read=part.count, kept=part.count)
    found = check_tileset(job.out, laws=False)
    errors = sum(count for (severity, _), count in found.counts.items() if severity == "error")
    warnings = sum(count for (severity, _), count in found.counts.items() if severity == "warning")
    report.facts["check"] = {"valid": errors == 0, "errors": errors, "warnings": warnings}
    for finding in [f for f in found.findings if f.severity in ("error", "warning")][:SHOWN]:
        report.note("warned", finding.path, f"{finding.severity} {finding.code}: {finding.message}")
    return {
        "entry": "tileset.json", "tiles": part.properties["tiles"], "bytes": part.size, "heights": [part.bounds.minz, part.bounds.maxz],
        "root": part.properties["root"], "stats": {"contents": part.count}, "report": report.to_json(),
    }  # fmt: skip
