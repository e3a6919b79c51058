"""What jobs do: ingest, tile, publish, run a scenario, collect garbage. The only place that reaches pipelines, through the registry."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from twin import __version__, ahead, archive_set, garbage, grading, intake, naming, parts, reading, registry, sources, unread, uses
from twin.catalog import Derivation
from twin.city import City
from twin.errors import BadInput, Conflict, NotFound
from twin.ground import Ground
from twin.jobs import Context, Job, Jobs, Task
from twin.model import LABELS, Layer, LayerKind, LayerVersion, Report

NOTES = 12  # of the tiler that a command shows; all are in the tileset's report


# --- submitting --------------------------------------------------------------------------------------------------


def submit(city: City, kind: str, params: dict[str, Any]) -> Job:
    """Queue a job; asking for the same unfinished work again returns the job that is already there."""
    stamp = sources.stamp(params["source"]) if kind == "ingest" else []  # another delivery under the same name is other work
    digest = hashlib.sha256(json.dumps([kind, params, stamp], sort_keys=True).encode()).hexdigest()
    return Jobs(city.catalog).submit(kind, params, key=digest, who=city.settings.who)


def work(city: City, job: Job, listener: Callable[[str, float, str], None] | None = None) -> Job:
    """Run a job in this process if nobody else does, else wait for it; returns the finished job."""
    jobs = Jobs(city.catalog)
    while True:
        claimed = jobs.claim(job.id)
        if claimed is not None:
            return jobs.run(claimed, bind(city, claimed), listener)
        current = jobs.get(job.id)
        if current.done:
            return current
        if listener:
            listener(current.stage, current.progress, current.message)
        time.sleep(0.2)


def bind(city: City, job: Job) -> Task:
    """The task of a job, waiting for its context."""
    task = TASKS[job.kind]
    return lambda context: task(city, context, job.params)


# --- the tasks ---------------------------------------------------------------------------------------------------


def ingest(city: City, context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """source → Batches → LayerVersion → Tileset → published. Redone after a kill, it finds what it had finished."""
    name, source = params["layer"], sources.expand(params["source"])
    entry = registry.find(registry.readers(), params["reader"], "reader")
    _not_overtaken(city, context, name)
    done = city.catalog.version_of_job(name, context.job.id)
    if done is None:
        options, tile_options = intake.split_options(entry, params["options"])
        if params["publish"]:
            ahead.start(registry.tilers().get(entry.kind))
        shown = _shown(city, name)
        base = city.manifest(city.catalog.version(name, shown).manifest) if params.get("update") else None
        version = _read(city, context, entry, source, name, options, tile_options, base)
        if base is not None:
            version = _onto(parts.merge(city.lake, base, version, _known(city, name, version.kind)), shown)
            kept = {**version.provenance["tile_options"], **tile_options}  # the layer's own, but for those that are given with the update
            version = replace(version, provenance={**version.provenance, "tile_options": kept})
        version = naming.named(version, params.get("columns", {}))
        describe = params["describe"]
        title = {lang: describe[f"title_{lang}"] for lang in ("zh", "en") if describe.get(f"title_{lang}")}
        extra = {key: describe[key] for key in ("group", "grade", "licence", "label", "description") if key in describe}
        graded: dict[str, Any] = version.report["facts"]["grade"]
        given = extra.pop("grade", None)
        if given is not None:  # a person overrules the rule ("": takes that back); both stay on record
            graded |= {"given": given, "by": city.settings.who}
        elif before := _given_grade(city, name):  # what a person said holds for later deliveries
            graded |= before
        grade = graded.get("given") or graded["value"]
        layer = Layer(name, version.kind, title, grade=grade, **{"group": _group(version.kind), **extra})
        number = _keep(city, context, layer, version, changed=base is not None)
    else:
        number, version = done.number, city.manifest(done.manifest)
    result: dict[str, Any] = {"layer": name, "version": number, "count": version.count, "report": version.report}
    if params["publish"]:
        result |= _derive_and_publish(city, context, name, number, version, changed=bool(params.get("update")))
    return result


def _given_grade(city: City, name: str) -> dict[str, Any]:
    """The grade that a person gave a layer's newest version, and who; nothing where the rule's holds."""
    if not any(layer.name == name for layer in city.catalog.layers()):
        return {}
    rows = city.catalog.versions(name)
    facts = city.manifest(rows[-1].manifest).report.get("facts", {}).get("grade", {}) if rows else {}
    return {"given": facts["given"], "by": facts.get("by", "")} if facts.get("given") else {}


def _shown(city: City, name: str) -> int | None:
    """Number of the version a layer shows, or None."""
    shown = city.catalog.published(name)
    return shown[0].number if shown else None


def _not_overtaken(city: City, context: Context, name: str) -> None:
    """A job that is taken up again after its worker died must not put an old delivery in the place of a newer one.

    Raises:
        Conflict: the layer shows a version that was made by another job since this one was asked for.
    """
    shown = _shown(city, name)
    if context.job.attempts < 2 or shown is None:
        return
    row = city.catalog.version(name, shown)
    if row.created > context.job.created and row.job != context.job.id:
        raise Conflict(f"{name} shows version {row.number}, which is newer than this job: its worker died, and others have delivered since.", "Nothing was published. Ingest it again if it is still wanted.")


def _onto(version: LayerVersion, shown: int | None) -> LayerVersion:
    """A version that was made of the one that its layer showed, which is written down: it may take the place of no other."""
    return replace(version, provenance={**version.provenance, "onto": shown})


def _edited(city: City, context: Context, name: str, edit: Callable[[LayerVersion], LayerVersion]) -> dict[str, Any]:
    """A new version of a layer, made of the one that it shows; a job that is taken up again finds the one that it kept."""
    done = city.catalog.version_of_job(name, context.job.id)
    if done is None:
        shown, layer = _shown(city, name), city.catalog.layer(name)
        version = _onto(edit(city.manifest(city.catalog.version(name, shown).manifest)), shown)
        number = _keep(city, context, replace(layer, grade=grading.of_version(version.report, layer.grade)), version, changed=True)
    else:
        number, version = done.number, city.manifest(done.manifest)
    return {"layer": name, "version": number, "count": version.count} | _derive_and_publish(city, context, name, number, version, changed=True)


def compact(city: City, context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """Write the features of a layer's shown version as fresh parts: the same layer, without what updates left hidden."""
    name = params["layer"]

    def fresh(version: LayerVersion) -> LayerVersion:
        if not any(part.hidden for part in version.parts) and not version.tombstones:
            raise Conflict(f"Layer {name!r} has nothing to compact.", "Only updates leave hidden features behind.")
        context.stage("reading", name)
        report = Report(**{k: v for k, v in version.report.items() if k in ("source", "read", "kept", "counts", "facts")})
        written = parts.write_version(city.lake, name, version.kind, parts.read_features(city.lake, version), report,
                                      provenance=version.provenance, style=version.style)  # fmt: skip
        return replace(written, columns=version.columns)  # units and titles that were given with a delivery are in no part

    return _edited(city, context, name, fresh)


def remove(city: City, context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """A new version of a layer without the features of some ids; the parts stay as they are."""
    name = params["layer"]

    def without(version: LayerVersion) -> LayerVersion:
        context.stage("reading", name)
        return parts.without(city.lake, version, params["ids"], _known(city, name, version.kind))

    return _edited(city, context, name, without)


def regrade(city: City, context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """A new version of a layer with the grade that a person gives it (or, with "", the rule's again): the parts stay as they are, their source is not read."""
    name = params["layer"]

    def graded(version: LayerVersion) -> LayerVersion:
        ruled = {key: value for key, value in grading.recorded(name, version.report).items() if key not in ("given", "by")}
        given = grading.check(params["grade"])
        facts = {**version.report["facts"], "grade": ruled | ({"given": given, "by": city.settings.who} if given else {})}
        return replace(version, report={**version.report, "facts": facts})

    return _edited(city, context, name, graded)


def _known(city: City, name: str, kind: LayerKind) -> parts.Known | None:
    """Where ids are in the parts of a layer, as far as the tiler left that with what the layer shows."""
    tiler = registry.tilers().get(kind)
    ids = getattr(tiler.load(), "ids", None) if tiler is not None else None
    derivation = next((city.catalog.derivation(one.derivation) for one in city.catalog.published(name) if one.derivation), None)
    if ids is None or derivation is None:
        return None
    sidecars = derivation.info.get("sidecars", {})
    return lambda part: ids(city.lake, sidecars, part.key)


def _group(kind: str) -> str:
    return {"mesh": "工程建设项目", "raster": "时空基础"}.get(kind, "时空基础")


def _read(city: City, context: Context, entry: registry.Entry, paths: list[Path], name: str, options: Any, tile_options: dict[str, Any], base: LayerVersion | None) -> LayerVersion:
    context.stage("reading", sources.title(paths))
    report = Report(source=sources.title(paths))
    if entry.kind != "tileset" and getattr(options, "member", None) is None:
        others = {suffix for other in registry.readers().values() for suffix in other.suffixes}
        for path in paths:
            whole = (path.is_dir() and entry.several) or path.suffix.lower() == ".zip"
            if whole and (told := unread.left(path, entry.suffixes, others)):
                report.note("skipped", path.name, f"Of what lies in it, {told}: the reader {entry.name} looks at these only where its files refer to them. Ingest them by themselves.")

    def batches() -> Any:
        total = 0
        for batch in entry.load().read(paths if len(paths) > 1 else paths[0], options, report):
            total += len(batch) if hasattr(batch, "__len__") else 1
            context.progress(min(0.95, total / (total + 100_000)), f"{total:,}")
            yield batch

    provenance = {"source": sources.title(paths), "sha256": sources.sha256(paths), "reader": entry.name, "release": __version__,
                  "options": options.model_dump(exclude_none=True), "tile_options": tile_options, "who": city.settings.who}  # fmt: skip
    kind = cast("LayerKind", entry.kind)  # readers make layers; only scenarios have the other kind
    under = Ground.of(city.lake, base) if base is not None and base.kind == kind == "terrain" else None
    used = uses.Uses(city)
    provenance["uses"] = used.found  # filled while it reads
    held = frozenset(part.properties["file"] for part in base.parts if "file" in part.properties) if base is not None else frozenset()
    around = reading.Surroundings(context.progress, city.settings.cache, used.feature, used.ground_at, used.features_of, held, under)
    with reading.given(around):
        version = parts.write_version(city.lake, name, kind, batches(), report, provenance=provenance)
    version.report["facts"]["grade"] = grading.grade(kind, report.facts).to_json()
    return version


def _keep(city: City, context: Context, layer: Layer, version: LayerVersion, *, run: str = "", job: str = "", changed: bool = False) -> int:
    """Record a version and return its number; with `changed`, only if the layer still shows what it was made of (it may have been deleted)."""
    manifest = city.lake.put_json(parts.to_json(version))
    with city.catalog.write(lasting=False) as connection:  # publishing it, or the end of the job, lasts
        context.guard(connection)
        if changed:
            _unmoved(city, layer.name, version)
        return city.catalog.add_version(connection, layer, manifest, version.count, job=job or context.job.id, who=city.settings.who, run=run)


def tile(city: City, context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """Derive a version's tiles again where they are missing or stale, and show them if that version is published."""
    name, named = params["layer"], params.get("version")
    shown = [publication.number for publication in city.catalog.published(name)]
    renewed = _renewed(city, context, name, *shown) if named is None else None
    row = city.catalog.version(name, renewed or named or next(iter(shown), None))
    version = city.manifest(row.manifest)
    if params.get("publish") or (shown and row.number in (*shown, renewed)):
        result = {"layer": name, "version": row.number} | _derive_and_publish(city, context, name, row.number, version)
        if stale := uses.changed(city, version):
            result["tile_notes"] = [f"{name} was read with {', '.join(stale)}, which has changed since: ingest it again", *result["tile_notes"]]
        return result
    derivation = _derive(city, context, name, row.number, version)
    return {"layer": name, "version": row.number, "tileset": derivation.key if derivation else None}


def _renewed(city: City, context: Context, name: str, number: int | None = None) -> int | None:
    """A new version of a layer whose reader took something from layers that have changed since, with that read again; None where there is no need or no way."""
    done = city.catalog.version_of_job(name, context.job.id)
    if done is not None:
        return done.number
    version = city.manifest(city.catalog.version(name, number).manifest)
    entry = registry.readers().get(version.provenance.get("reader", ""))
    renew = getattr(entry.load(), "renew", None) if entry is not None else None
    stale = uses.changed(city, version)
    if renew is None or not stale:
        return None
    context.stage("reading", ", ".join(stale))
    report, used = Report(source=version.report.get("source", "")), uses.Uses(city)
    with reading.given(reading.Surroundings(context.progress, feature=used.feature, ground=used.ground_at, layer=used.features_of)):
        tables = parts.write_tables(city.lake, renew(stale, report))
    told = {**version.report, "facts": {**version.report["facts"], **report.facts}, "notes": [*version.report["notes"], *report.to_json()["notes"]]}
    fresh = replace(version, parts=(*(part for part in version.parts if part.role not in {table.role for table in tables}), *tables),
                    report=told, provenance=uses.renewed(version, used.found))  # fmt: skip
    return _keep(city, context, city.catalog.layer(name), fresh)


def _derive_and_publish(city: City, context: Context, name: str, number: int, version: LayerVersion, *, changed: bool = False) -> dict[str, Any]:
    """Tiles for a version, and the swap; with `changed`, only if the layer still shows what the version was made of (a killed job may go on days later).

    Raises:
        Conflict: it shows something else by now, of which this version knows nothing.
    """
    derivation = _derive(city, context, name, number, version)
    context.stage("publishing", name)
    key = derivation.key if derivation else None
    if derivation is not None and not all(map(city.lake.exists, derivation.archives)):
        raise NotFound(f"The tileset of {name} is gone from the lake.", f"Derive it again: twin tile {name}")
    with city.catalog.write() as connection:
        context.guard(connection)
        manifest = city.catalog.version(name, number).manifest  # in here: a layer that was deleted meanwhile shows nothing
        if changed:
            _unmoved(city, name, version, number)
        published = city.catalog.published(name)
        if not any(p.number == number and p.derivation == key for p in published):
            city.catalog.publish(connection, name, number, manifest, key, city.settings.who)
    info = derivation.info if derivation else {}
    return {"published": True, "tileset": key, "tiles": info.get("tiles"), "tile_notes": (info.get("report") or {}).get("notes", [])[:NOTES]}


def _unmoved(city: City, name: str, version: LayerVersion, number: int | None = None) -> None:
    """Inside a write: that a layer still shows what a version was made of (or the version itself, by its number).

    Raises:
        Conflict: it shows something else by now. NotFound: it was deleted, and showed nothing.
    """
    onto, now = version.provenance.get("onto"), _shown(city, name)
    if now != onto and (now is None or now != number):
        shows = f"shows version {now} by now, whose changes it does not have" if now is not None else "was deleted meanwhile"
        raise Conflict(f"{f'Version {number}' if number else 'A version'} of {name} was made of version {onto}, but {name} {shows}.",
                       "Nothing was published. Run the command again: it begins with what is shown.")  # fmt: skip
    city.catalog.layer(name)


def _derive(city: City, context: Context, name: str, number: int, version: LayerVersion) -> Derivation | None:
    """The version's tileset: found by its key, or made now. None for kinds that are served from their parts (raster, vector, table)."""
    entry = registry.tilers().get(version.kind)
    if entry is None:
        return None
    module = entry.load()
    options = registry.parse_options(module.Options, version.provenance.get("tile_options", {}), f"tiler {entry.name}")
    ground = city.ground_for(version.extent) if version.kind == "blocks" else None
    inputs: dict[str, Any] = {"parts": [[part.key, *part.hidden] for part in version.parts], "style": version.style, "reference": asdict(version.reference),
                              "tiler": entry.name, "code": module.CODE_VERSION, "options": options.model_dump()}  # fmt: skip
    if version.kind == "blocks":
        inputs["ground"] = ground.key if ground else None
    about = city.catalog.layer(name)
    about = replace(about, grade=grading.of_version(version.report, about.grade))
    inputs["layer"] = asdict(about)
    # colours of materials, filters and references of clouds, units and titles of columns: what tiles show and no part's bytes tell
    told = [[asdict(column) for column in version.columns], [part.properties for part in version.parts]]
    inputs["told"] = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    if version.tombstones:
        inputs["tombstones"] = list(version.tombstones)
    key = hashlib.sha256(json.dumps([name, inputs], sort_keys=True).encode()).hexdigest()[:24]
    known = city.catalog.derivation(key)
    if known is not None and all(map(city.lake.exists, known.archives)):
        return known
    context.stage("encoding", name)
    with city.lake.scratch(".3tz") as out:
        job = registry.TileJob(city.lake, out, options, ground, city.settings.workers, context.progress, _previous(city, name, inputs), about, city.settings.archive_bytes)
        info = module.tile(version, job)
        context.stage("archiving", name)
        archive, *more = archive_set.store(city.lake, out, job.archive_bytes)
        if more:
            info["archives"] = more
    derivation = Derivation(key, name, number, entry.name, archive, inputs, info)
    with city.catalog.write(lasting=False) as connection:
        context.guard(connection)
        city.catalog.add_derivation(connection, derivation)
    return derivation


def _previous(city: City, name: str, inputs: dict[str, Any]) -> registry.Previous | None:
    """The layer's latest tileset by the same tiler, options and code that left something to build on; the published one first."""
    same = ("tiler", "code", "options")

    def candidates() -> Iterator[Derivation | None]:
        yield from (city.catalog.derivation(p.derivation) for p in city.catalog.published(name) if p.derivation)
        yield from reversed(city.catalog.derivations(name))  # a long list of long records, after years of updates

    for derivation in candidates():
        if derivation and derivation.info.get("sidecars") and all(derivation.inputs.get(key) == inputs[key] for key in same) and all(map(city.lake.exists, derivation.archives)):
            return registry.Previous(tuple(map(city.lake.path, derivation.near)), derivation.info["sidecars"])
    return None


def run(city: City, context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """Run a scenario and publish what it wrote: each output is a layer named `<run name>-<output>`."""
    from twin import running  # noqa: PLC0415  numpy-heavy; only runs need it

    def show(written: dict[str, tuple[Layer, LayerVersion]]) -> None:
        outputs.update(_show_outputs(city, context, written))

    outputs: dict[str, Any] = {}
    written = running.run_scenario(city, context, params, show)
    show(written)
    return {"outputs": outputs, "report": next(iter(written.values()))[1].report if written else {}}


def compare(city: City, context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """Compare two runs and publish the differences: layers named `<name>-depth-change`, `<name>-changes` and the like."""
    from twin import comparing  # noqa: PLC0415  numpy-heavy; only comparisons need it

    context.stage("comparing")
    found = comparing.compare(city, params["a"], params["b"])
    provenance = {"compares": [found.a.job.id, found.b.job.id], "release": __version__, "who": city.settings.who, "job": context.job.id}
    label: Any = max((city.catalog.layer(version.layer).label for one in (found.a, found.b) for version in one.versions.values()), key=LABELS.index, default="open")
    written: dict[str, tuple[Layer, LayerVersion]] = {}
    for name, batches in found.layers.items():
        if batches:
            layer = replace(comparing.described(params["name"], name), label=label)
            report = Report(source=f"{params['a']} and {params['b']}")
            written[name] = layer, parts.write_version(city.lake, layer.name, layer.kind, batches, report, provenance=provenance)
    return {"outputs": _show_outputs(city, context, written), "comparison": comparing.to_json(found)}


def _show_outputs(city: City, context: Context, written: dict[str, tuple[Layer, LayerVersion]]) -> dict[str, Any]:
    """Publish what a run wrote; the layer, version and tiles by output."""
    outputs: dict[str, Any] = {}
    for output, (layer, version) in written.items():
        number = _keep(city, context, layer, version, run=context.job.id, job=f"{context.job.id}:{output}")
        stored = city.manifest(city.catalog.version(layer.name, number).manifest)
        outputs[output] = {"layer": layer.name, "version": number} | _derive_and_publish(city, context, layer.name, number, stored)
    return outputs


def publish(city: City, layer: str, number: int | None = None, listener: Callable[[str, float, str], None] | None = None) -> Job:
    """Show a version (the newest if none is named), deriving its tiles first where they are missing."""
    row = city.catalog.version(layer, number)
    return work(city, submit(city, "tile", {"layer": layer, "version": row.number, "publish": True}), listener)


def require(job: Job) -> dict[str, Any]:
    """The result of a finished job, or its error raised."""
    if job.state == "successful" and job.result is not None:
        return job.result
    if job.state == "dismissed":
        raise Conflict(f"Job {job.id} was dismissed.")
    raise BadInput(job.error or f"Job {job.id} failed.")  # whatever failed in it: a command ends with status 2 then


TASKS: dict[str, Callable[[City, Context, dict[str, Any]], dict[str, Any]]] = {"ingest": ingest, "tile": tile, "run": run, "compare": compare, "gc": garbage.collect, "compact": compact, "remove": remove, "regrade": regrade}
