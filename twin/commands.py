"""The commands of `twin`: thin over the same functions as the API. The program itself is `twin.cli`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from twin import cli_runs  # noqa: F401  its commands join the group
from twin.errors import BadOption
from twin.shell import Shell, command, pairs, text_of
from twin.shell import main as main  # noqa: PLC0414  the group that they all are in

# --- data --------------------------------------------------------------------------------------------------------


@command("ingest")
@click.argument("source", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--layer", required=True, help="Name of the layer.")
@click.option("--reader", help="Reader to use (else the one that recognises the file).")
@click.option("--crs", help="Horizontal CRS, e.g. EPSG:4547, or compound EPSG:4547+5737; overrides the file's.")
@click.option("--vertical", help="Vertical datum of absolute heights: EPSG:5737 (1985), EGM96, ellipsoid, 'above ground'.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="Option of the reader or tiler; repeatable.")
@click.option("--column", "columns", multiple=True, metavar="NAME=UNIT[,ZH[,EN]]", help="Unit and titles of an attribute, e.g. floor_area=m²,建筑面积,Floor area; repeatable.")
@click.option("--title", help="Title in Chinese.")
@click.option("--title-en", help="Title in English.")
@click.option("--group", help="CIM data group, e.g. 时空基础.")
@click.option("--grade", help='CIM grade, CIM1 to CIM7, in place of the one found by rule; holds for later deliveries, "" takes it back.')
@click.option("--licence", help="Licence of the data.")
@click.option("--label", type=click.Choice(["open", "internal", "restricted"]), help="Security label.")
@click.option("--update", is_flag=True, help="SOURCE holds only what is new or changed: features by id, point clouds by file name, a survey laid over a terrain.")
@click.option("--publish/--no-publish", default=True, show_default=True, help="Tile and show it at once.")
def ingest(shell: Shell, source: tuple[Path, ...], layer: str, reader: str | None, crs: str | None, vertical: str | None, options: tuple[str, ...],
           columns: tuple[str, ...], title: str | None, title_en: str | None, group: str | None, grade: str | None, licence: str | None, label: str | None, publish: bool, update: bool) -> None:  # fmt: skip
    """Read SOURCE into a new version of a layer, tile it and show it.

    Point clouds may be many: several files, a folder, or a quoted pattern; each keeps its own CRS.
    """
    from twin import ahead  # noqa: PLC0415
    from twin.processes import spare_pandas  # noqa: PLC0415

    ahead.prepare()
    given: dict[str, Any] = pairs(options, "--option")
    for key, value in (("crs", crs), ("vertical", vertical)):
        if value is not None and given.setdefault(key, value) != value:
            raise BadOption(f"--{key} {value!r} and --option {key}={given[key]} are both given.", "Say it once.")
    if not reader and (begun := ahead.reading(source, given, shell.settings.cache)) is not None:
        ahead.load(begun)
    spare_pandas()
    from twin import intake, naming, tasks  # noqa: PLC0415

    texts = {"title_zh": title, "title_en": title_en, "group": group, "grade": grade, "licence": licence, "label": label}
    describe = {key: value for key, value in texts.items() if value is not None}
    params = intake.ingest_params(source, layer, reader=reader, options=given, describe=describe, columns=naming.parse(columns), publish=publish, update=update)
    if update:
        shell.city.catalog.layer(layer)
    with shell.progress() as listen:
        result = tasks.require(tasks.work(shell.city, tasks.submit(shell.city, "ingest", params), listen))
    shell.say(result, _ingest_text(result))


def _ingest_text(result: dict[str, Any]) -> str:
    report = result["report"]
    lines = [f"{result['layer']} version {result['version']}: read {report['read']:,}, kept {report['kept']:,}"
             + "".join(f", {action} {count:,}" for action, count in report["counts"].items())]  # fmt: skip
    shapes = report["facts"].get("geometry", {})
    if missing := shapes.get("not_drawn"):
        lines.append(f"  shapes: {shapes['drawn']:,} drawn, not drawn " + ", ".join(f"{count:,} {state}" for state, count in sorted(missing.items())))
    lines.extend(f"  {note['action']:>8}  {note['feature']}  {note['reason']}" for note in report["notes"][:12])
    if len(report["notes"]) > 12:
        lines.append(f"  … all notes: twin info {result['layer']} --json")
    lines.extend(f"  {note['action']:>8}  {note['feature']}  {note['reason']}" for note in result.get("tile_notes", []))
    lines.append(f"published, {result['tiles']} tiles" if result.get("tileset") else "published" if result.get("published") else f"not published: twin publish {result['layer']} {result['version']}")
    return "\n".join(lines)


@command("tile")
@click.argument("layer")
@click.argument("version", type=int, required=False)
def tile(shell: Shell, layer: str, version: int | None) -> None:
    """Derive the tiles of VERSION of LAYER (else its published, else its newest one) again, where missing or stale.

    A version that is not published stays so: its tiles are there for twin diff.
    """
    from twin import tasks  # noqa: PLC0415

    number = {} if version is None else {"version": shell.city.catalog.version(layer, version).number}
    shell.city.catalog.layer(layer)
    with shell.progress() as listen:
        result = tasks.require(tasks.work(shell.city, tasks.submit(shell.city, "tile", {"layer": layer} | number), listen))
    shell.say(result, f"{layer} version {result['version']}: tileset {result['tileset'] or 'none needed'}")


@command("publish")
@click.argument("layer")
@click.argument("version", type=int, required=False)
def publish(shell: Shell, layer: str, version: int | None) -> None:
    """Let LAYER show VERSION (else its newest)."""
    from twin import tasks  # noqa: PLC0415

    with shell.progress() as listen:
        result = tasks.require(tasks.publish(shell.city, layer, version, listen))
    shell.say(result, f"{layer} shows version {result['version']}")


@command("rollback")
@click.argument("layer")
def rollback(shell: Shell, layer: str) -> None:
    """Let LAYER show what it showed before."""
    publication = shell.city.catalog.rollback(layer, shell.city.settings.who)
    shell.say({"layer": layer, "version": publication.number}, f"{layer} shows version {publication.number} again")


@command("pin")
@click.argument("layer")
@click.argument("version", type=int)
@click.option("--off", is_flag=True, help="Let it go again.")
def pin(shell: Shell, layer: str, version: int, off: bool) -> None:
    """Keep VERSION of LAYER from the garbage collector."""
    shell.city.catalog.pin(layer, version, pinned=not off, who=shell.city.settings.who)
    shell.say({"layer": layer, "version": version, "pinned": not off}, f"{layer} version {version} is {'no longer pinned' if off else 'pinned'}")


@command("delete")
@click.argument("layer")
@click.option("--ids", help="Delete these features only (separated by commas; @FILE for a file of one id a line): a new version without them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(shell: Shell, layer: str, ids: str | None, yes: bool) -> None:
    """Forget LAYER with all its versions (the bytes go with the next gc), or delete some of its features."""
    shell.city.catalog.layer(layer)
    if ids is not None:
        from twin import tasks  # noqa: PLC0415

        wanted = [text.strip() for text in (text_of("--ids", ids).splitlines() if ids.startswith("@") else ids.split(",")) if text.strip()]
        if not wanted:
            raise BadOption("--ids names no feature.", "For example --ids b17,b18 or --ids @gone.txt")
        with shell.progress() as listen:
            result = tasks.require(tasks.work(shell.city, tasks.submit(shell.city, "remove", {"layer": layer, "ids": sorted(set(wanted))}), listen))
        shell.say(result, f"{layer} version {result['version']}: {result['count']:,} features, without {len(set(wanted)):,} deleted")
        return
    if not yes and not shell.as_json and sys.stdin.isatty() and not click.confirm(f"Delete layer {layer} and all its versions?"):
        return
    shell.city.catalog.delete_layer(layer, shell.city.settings.who)
    shell.say({"deleted": layer}, f"{layer} is deleted")


# --- looking -----------------------------------------------------------------------------------------------------


@command("layers")
@click.option("--grade", help="Only layers of this CIM grade (CIM1 to CIM7).")
def layers(shell: Shell, grade: str | None) -> None:
    """List the layers and what they show."""
    from twin import grading, uses  # noqa: PLC0415

    city = shell.city
    wanted = None if grade is None else grading.check(grade)
    shown = {p.layer: p for p in city.catalog.published()}
    rows = []
    for layer in city.catalog.layers():
        publication = shown.get(layer.name)
        row: dict[str, Any] = {"layer": layer.name, "kind": layer.kind, "title": layer.title, "group": layer.group, "grade": layer.grade,
                               "version": publication.number if publication else None, "stale": False}  # fmt: skip
        if publication:
            version = city.manifest(publication.manifest)
            derivation = city.catalog.derivation(publication.derivation) if publication.derivation else None
            row |= {"count": version.count, "stale": uses.is_stale(city, version, derivation), "grade": grading.of_version(version.report, layer.grade)}
        if wanted is None or row["grade"] == wanted:
            rows.append(row)
    table = [f"{r['layer']:<24} {r['kind']:<8} {'v' + str(r['version']) if r['version'] else '–':<5} {r['grade'] or '–':<5} {r.get('count', 0):>10,}  "
             f"{r['title'].get('zh', '')}{'   STALE: run twin tile ' + r['layer'] if r['stale'] else ''}" for r in rows]  # fmt: skip
    empty = f"No layer is {f'of grade {wanted}' if wanted else 'without a grade'}." if wanted is not None else "The city is empty. Fill it with: twin ingest SOURCE --layer NAME, or twin demo"
    shell.say(rows, "\n".join(table) or empty)


@command("grade")
@click.argument("layer")
@click.argument("grade", required=False)
def grade(shell: Shell, layer: str, grade: str | None) -> None:
    """Show the CIM grade of LAYER with its reasons, or overrule it by GRADE (CIM1 to CIM7; "" takes that back).

    That is a new version without reading anything anew; it holds for later deliveries.
    """
    from twin import grading  # noqa: PLC0415

    city = shell.city
    if grade is not None:
        from twin import tasks  # noqa: PLC0415

        wanted = grading.check(grade)
        city.catalog.layer(layer)
        with shell.progress() as listen:
            tasks.require(tasks.work(city, tasks.submit(city, "regrade", {"layer": layer, "grade": wanted}), listen))
    shown = city.catalog.published(layer)
    row = city.catalog.version(layer, shown[0].number if shown else None)
    found = city.manifest(row.manifest).report.get("facts", {}).get("grade") or {"value": "", "reasons": []}
    given = f"{found['given']} {grading.NAMES[found['given']]}, given by {found.get('by') or 'somebody'}; by rule " if found.get("given") else ""
    shell.say({"layer": layer, "version": row.number, **found}, f"{layer} version {row.number}: {given}{found['value'] or 'none'} {found.get('name', '')}\n  " + "\n  ".join(found["reasons"]))


@command("versions")
@click.argument("layer")
def versions(shell: Shell, layer: str) -> None:
    """List the versions of LAYER."""
    shown = {p.number for p in shell.city.catalog.published(layer)}
    rows = [{"version": r.number, "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(r.created)), "who": r.who, "count": r.count,
             "manifest": r.manifest, "published": r.number in shown, "pinned": r.pinned} for r in shell.city.catalog.versions(layer)]  # fmt: skip
    shell.say(rows, "\n".join(f"{'→' if r['published'] else ' '} {r['version']:>3}  {r['created']}  {r['count']:>10,}  {r['who']}" for r in rows))


@command("info")
@click.argument("layer")
@click.argument("version", type=int, required=False)
def info(shell: Shell, layer: str, version: int | None) -> None:
    """Everything known about LAYER's published (or named, else newest) version: schema, CRS, report, provenance, tiles."""
    from dataclasses import asdict  # noqa: PLC0415

    from twin import grading, parts, uses  # noqa: PLC0415

    city = shell.city
    shown = city.catalog.published(layer)
    number = version if version is not None else shown[0].number if shown else None
    row = city.catalog.version(layer, number)
    manifest = city.manifest(row.manifest)
    key = shown[0].derivation if shown and shown[0].number == row.number else None
    derivation = city.catalog.derivation(key) if key else None
    about = asdict(city.catalog.layer(layer))
    about["grade"] = grading.of_version(manifest.report, about["grade"])
    value = {"layer": about, "version": row.number, "published": bool(shown and shown[0].number == row.number),
             "stale": uses.is_stale(city, manifest, derivation), **parts.to_json(manifest), "tileset": asdict(derivation) if derivation else None}  # fmt: skip
    value["layer"] = about  # the manifest names its layer, too
    shell.say(value)


@command("table")
@click.argument("layer")
@click.argument("name", required=False)
@click.option("--filter", "where", help="CQL2, e.g. \"relation = 'voids'\".")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1))
def table(shell: Shell, layer: str, name: str | None, where: str | None, limit: int) -> None:
    """The tables of LAYER (relations, psets, …), or rows of one of them."""
    from twin import tables  # noqa: PLC0415

    version = shell.city.published(layer)[1]
    if name is None:
        found = tables.tables(shell.city.lake, version)
        text = "\n".join(f"{t.name:<16}{t.count:>10,}  {', '.join(c for c, _ in t.columns)}" for t in found)
        shell.say([{"name": t.name, "rows": t.count, "columns": [c for c, _ in t.columns]} for t in found], text)
        return
    shell.say(tables.to_json(tables.rows(shell.city.lake, version, name, where, limit=limit)))


@command("check")
@click.argument("target")
@click.option("--no-positions", is_flag=True, help="Check the specification only, not the positions against the source.")
def check(shell: Shell, target: str, no_positions: bool) -> None:
    """Verify a tileset (folder, tileset.json or .3tz) or a layer's tiles; exit status 1 when it has errors."""
    from twin import checking  # noqa: PLC0415

    with shell.progress() as listen:
        result = checking.check(shell.city if not Path(target).exists() else None, target, positions=not no_positions, listen=listen)
    shell.say(result, checking.as_text(result))
    if result["errors"]:
        sys.exit(1)


@command("diff")
@click.argument("a")
@click.argument("b")
@click.option("--tolerance", type=click.FloatRange(min=0), help="Metres that a vertex may be off and still be the same (default 0.002).")
def diff(shell: Shell, a: str, b: str, tolerance: float | None) -> None:
    """Which features and tiles differ between two tilesets (paths, layers, or LAYER@VERSION; of layers also rows that no tile draws, and rows alone where there are no tiles); exit status 1 when any does."""
    from twin import diffing  # noqa: PLC0415

    result = diffing.diff(lambda: shell.city, a, b, tolerance)
    shell.say(result, diffing.as_text(result))
    if not result["equal"]:
        sys.exit(1)


@command("export")
@click.argument("layer")
@click.option("--to", "path", type=click.Path(path_type=Path), required=True, help="Folder (tiles unpacked), or file: .3tz .parquet .gpkg .geojson .tif .las/.laz")
@click.option("--format", "form", default="3dtiles-1.1", show_default=True, help="Of a folder of tiles; 3dtiles-1.0 writes b3dm and pnts for old clients.")
def export(shell: Shell, layer: str, path: Path, form: str) -> None:
    """Write LAYER's published tiles or data to a folder or file."""
    from twin import exporting  # noqa: PLC0415

    with shell.progress() as listen:
        result = exporting.export(shell.city, layer, path, listen, form)
    shell.say(result, f"{result['path']}: {result['what']}")


@command("pack")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--to", "path", type=click.Path(path_type=Path), required=True, help="The .3tz to write.")
def pack(shell: Shell, folder: Path, path: Path) -> None:
    """Pack FOLDER, as twin export wrote it, into one archive."""
    from twin import exporting  # noqa: PLC0415

    count = exporting.pack(folder, path)
    shell.say({"path": str(path), "files": count}, f"{path}: {count} files")


@command("compact")
@click.argument("layer")
def compact(shell: Shell, layer: str) -> None:
    """Rewrite LAYER's features without what updates left hidden (a new version, the same content)."""
    from twin import tasks  # noqa: PLC0415

    shell.city.catalog.layer(layer)
    with shell.progress() as listen:
        result = tasks.require(tasks.work(shell.city, tasks.submit(shell.city, "compact", {"layer": layer}), listen))
    shell.say(result, f"{layer} version {result['version']}: {result['count']:,} features in fresh parts")


@command("gc")
@click.option("--keep", type=click.IntRange(min=1), default=3, show_default=True, help="Newest versions of each layer to keep, published or not.")
@click.option("--grace", type=click.FloatRange(min=0), default=3600.0, show_default=True, help="Keep anything younger than this, seconds.")
def gc(shell: Shell, keep: int, grace: float) -> None:
    """Remove versions, tilesets and bytes that nothing needs any more."""
    from twin import tasks  # noqa: PLC0415

    with shell.progress() as listen:
        result = tasks.require(tasks.work(shell.city, tasks.submit(shell.city, "gc", {"keep": keep, "grace": grace}), listen))
    shell.say(result, f"removed {result['versions']} versions, {result['tilesets']} tilesets, {result['files']} files ({result['bytes'] / 1e6:.1f} MB)")


@command("serve")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
def serve(shell: Shell, host: str, port: int) -> None:
    """Serve the API and the viewer, and work on the city's jobs."""
    from twin import serving  # noqa: PLC0415

    serving.serve(shell.city, host, port, announce=lambda url: shell.say({"url": url}, f"五邑孪生 Wuyi Twin: open {url}"))


@command("demo")
@click.option("--no-serve", is_flag=True, help="Build the sample city and stop.")
@click.option("--seed", type=int, default=None, help="Another sample city.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
def demo(shell: Shell, no_serve: bool, seed: int | None, port: int) -> None:
    """Build the generated sample city (once) and serve it."""
    from twin import demo as sample  # noqa: PLC0415
    from twin import serving  # noqa: PLC0415

    with shell.progress() as listen:
        built = sample.build(shell.city, seed, listen, say=lambda text: click.echo(text, err=True))
    if no_serve:
        shell.say(built, f"The sample city is ready: {built['layers']} layers in {shell.city.settings.home}. Start it with: twin serve")
        return
    serving.serve(shell.city, "127.0.0.1", port, announce=lambda url: shell.say({"url": url}, f"五邑孪生 Wuyi Twin: open {url}"))


@command("bench")
@click.argument("name", required=False)
@click.option("--size", type=float, default=1.0, show_default=True, help="Fraction of the full size.")
@click.option("--write", is_flag=True, help="Write docs/benchmarks.md.")
def bench(shell: Shell, name: str | None, size: float, write: bool) -> None:
    """Measure the product against its peers; without NAME, list what can be measured."""
    from twin import bench as benches  # noqa: PLC0415

    if name is None and not write:
        shell.say(benches.names(), "\n".join(f"{key:<14} {text}" for key, text in benches.names().items()))
        return
    rows = benches.run(name, size)
    if write:
        benches.write_table(rows, Path("docs/benchmarks.md"))
    shell.say(rows if len(rows) != 1 else rows[0], benches.as_text(rows))
