"""Checking what a city shows: tilesets against the specification and, for layers, against their own source.

The checker itself is a pipeline (`registry.CHECKER`); this is the city's side of it: which archive, which version, which
ground and which options belong together.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twin import registry
from twin.catalog import Derivation
from twin.city import City
from twin.errors import NotFound
from twin.ground import Ground
from twin.model import LayerVersion

Listener = Callable[[str, float, str], None]
SHOWN = 40


def check(city: City | None, target: str, *, positions: bool = True, listen: Listener | None = None) -> dict[str, Any]:
    """Check a tileset on disk, or the published version of a layer.

    Args:
        city: where `target` is a layer; not needed for a path.
        target: a folder, tileset.json or .3tz that exists; else a layer's name.
        positions: for a layer, also decode every finest vertex and compare it with the source.
        listen: called with (stage, fraction, what is being done).

    Returns:
        target, kind, version, errors, warnings, findings (severity, code, path, message), counts (by severity:code), tiles,
        contents, vertices, and positions (figures of the comparison in metres; None where there was none).

    Raises:
        NotFound: neither a file nor a published layer, or the layer's tiles are gone.
    """
    checker = registry.checker()
    if Path(target).exists():
        return _result(target, "tileset", None, checker.check_tileset(target))
    if city is None:
        raise NotFound(f"There is no file {target}.", "Give a tileset.json, a folder with one, a .3tz, or the name of a layer.")
    publication, version, derivation = city.published(target)
    if derivation is None and publication.derivation is not None:
        raise NotFound(f"The tileset {publication.derivation} that {target} shows is gone from the catalogue.", f"Make it again: twin tile {target}")

    def progress(fraction: float, doing: str) -> None:
        if listen is not None:
            listen("checking", fraction, doing)

    report = checker.check_layer(
        version, city.lake, [city.lake.path(key) for key in derivation.archives] if derivation else None, ground=_ground(city, version, derivation),
        info=derivation.info if derivation else {}, options=derivation.inputs.get("options", {}) if derivation else {},
        positions=positions, progress=progress,
    )  # fmt: skip
    return _result(target, version.kind, publication.number, report)


def _ground(city: City, version: LayerVersion, derivation: Derivation | None) -> Ground | None:
    """The terrain that the tiles were made on, which need not be the one that is published now."""
    key = derivation.inputs.get("ground") if derivation else None
    if key is None:
        return None
    now = city.ground_for(version.extent)
    if now is not None and now.key == key:
        return now
    for layer in city.catalog.layers():
        for row in city.catalog.versions(layer.name) if layer.kind == "terrain" else ():
            terrain = city.manifest(row.manifest)
            ground = Ground.of(city.lake, terrain)
            if ground.key == key:
                return ground
    raise NotFound(f"The terrain under {version.layer} is gone from the catalogue.", f"Derive the tiles again: twin tile {version.layer}")


def _result(target: str, kind: str, version: int | None, report: Any) -> dict[str, Any]:
    value: dict[str, Any] = report.to_dict()
    by_severity = {"error": 0, "warning": 0, "info": 0}
    for (severity, _), count in report.counts.items():
        by_severity[severity] += count
    return {"target": target, "kind": kind, "version": version, "errors": by_severity["error"], "warnings": by_severity["warning"],
            "findings": value["findings"], "counts": value["counts"], "tilesets": value["tilesets"], "tiles": value["tiles"],
            "contents": value["contents"], "contents_not_decoded": value["contentsNotDecoded"], "vertices": value["vertices"],
            "positions": value["positions"]}  # fmt: skip


def as_text(result: dict[str, Any]) -> str:
    """The result for people: one line, the figures, and the first findings (errors first)."""
    verdict = "INVALID" if result["errors"] else "valid"
    version = f" version {result['version']}" if result["version"] else ""
    lines = [f"{result['target']} ({result['kind']}{version}): {verdict}, {result['errors']} errors, {result['warnings']} warnings; "
             f"{result['tiles']:,} tiles, {result['contents']:,} contents, {result['vertices']:,} vertices"]  # fmt: skip
    if result["positions"]:
        lines.append("  against the source: " + ", ".join(f"{name} {_number(value)}" for name, value in result["positions"].items()))
    order = {"error": 0, "warning": 1, "info": 2}
    findings = sorted(result["findings"], key=lambda f: order[f["severity"]])
    lines += [f"  {f['severity']:>7}  {f['code']}  {f['path']}: {f['message']}" for f in findings[:SHOWN]]
    total = sum(result["counts"].values())
    if total > min(SHOWN, len(findings)):
        lines.append(f"  … {total - min(SHOWN, len(findings)):,} more (twin check {result['target']} --json)")
    return "\n".join(lines)


def _number(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
