"""From a run's parameters to its layers: resolve the inputs, drive the scenario, store the outputs as versions."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from twin import __version__, parts, registry
from twin.city import City
from twin.errors import BadOption, NotFound, StorageError
from twin.jobs import Context, Job
from twin.model import LABELS, Layer, LayerVersion, Part, Report

PAGE = "report"
"""Role of the part that is a run's report for people (HTML)."""
PARTIAL = {"zh": "（未完成）", "en": " (partial)"}


def run_scenario(city: City, context: Context, params: dict[str, Any],
                 keep: Callable[[dict[str, tuple[Layer, LayerVersion]]], None] | None = None) -> dict[str, tuple[Layer, LayerVersion]]:  # fmt: skip
    """Run `params["scenario"]` with `params["inputs"]` under the name `params["name"]`; returns (layer, version) by output.

    A run that is dismissed or breaks down hands what it has so far to `keep`, its titles marked as partial.
    An output that holds nothing (no building is flooded) is left out and said so in the report of the others.

    Raises:
        BadOption: a parameter that does not fit, an input layer of the wrong kind.
        NotFound: no such scenario or layer.
    """
    contract, driver = import_module("scenarios.contract"), import_module("scenarios.driver")
    entry = registry.find(registry.scenarios(), params["scenario"], "scenario")
    scenario = entry.load()
    values = registry.parse_options(scenario.Params, params["inputs"], f"scenario {entry.name}")
    versions, inputs, label = _inputs(city, contract, values)
    report = Report(source=entry.name)
    world = contract.World(city.lake, versions, report)
    context.stage("running", entry.name)
    checkpoint = city.settings.home / "runs" / context.job.id / "checkpoint.npz"

    def write(outputs: dict[str, Any], mark: dict[str, str]) -> dict[str, tuple[Layer, LayerVersion]]:
        context.stage("writing", entry.name)
        return _write(city, context, scenario, values, world, outputs, {**params, "scenario": entry.name, "record": inputs, "label": label, "mark": mark})

    def partial(outputs: dict[str, Any]) -> None:
        context.keeping = True
        if keep is not None:
            keep(write(outputs, PARTIAL))

    try:
        outputs = driver.drive(scenario, values, world, context.progress, checkpoint, partial)
    finally:
        context.keeping = False
    written = write(outputs, {"zh": "", "en": ""})
    shutil.rmtree(checkpoint.parent, ignore_errors=True)  # the state and what grew beside it
    return written


def _write(city: City, context: Context, scenario: Any, values: Any, world: Any, outputs: dict[str, Any], params: dict[str, Any]) -> dict[str, tuple[Layer, LayerVersion]]:
    """Store each output as a version of its layer."""
    contract = import_module("scenarios.contract")
    versions, report = world.versions, world.report
    declared = {output.name: output for output in scenario.OUTPUTS}
    written: dict[str, tuple[Layer, LayerVersion]] = {}
    provenance = {"scenario": params["scenario"], "params": values.model_dump(mode="json"), "inputs": params["record"], "release": __version__,
                  "who": city.settings.who, "job": context.job.id}  # fmt: skip
    for name, batches in outputs.items():
        if not batches:
            report.note("skipped", name, "this output is empty: nothing is affected")
            continue
        output = declared[name]
        style: dict[str, Any] = {"height": "height", "unit": output.unit} if output.kind == "blocks" else {"unit": output.unit}
        own = provenance
        source = next((versions[v] for v in (getattr(values, p, "") for p in contract.layer_params(scenario.Params)) if v and versions[v].kind == output.kind), None)
        if source is not None and output.kind == "blocks":
            style = {**source.style, **style, "height": source.style.get("height", "height")}
            # From afar a mass would stand for houses that no water reached: what is not drawn yet is seen in the city's own layer.
            own = {**provenance, "tile_options": {**source.provenance.get("tile_options", {}), "masses": False}}
        title = {language: text + params["mark"].get(language, "") for language, text in output.title.items()}
        layer = Layer(f"{params['name']}-{name}", output.kind, title, output.group, label=params["label"])
        written[name] = (layer, parts.write_version(city.lake, layer.name, output.kind, batches, report, provenance=own, style=style))
        context.progress(len(written) / len(outputs), layer.name)
    return _with_page(city, written, world.page)


def _with_page(city: City, written: dict[str, tuple[Layer, LayerVersion]], page: str) -> dict[str, tuple[Layer, LayerVersion]]:
    """The run's report for people as a part of its rasters and tables (of all, where it has none), so that it lives as long as one of them."""
    if not page:
        return written
    data = page.encode()
    part = Part(PAGE, city.lake.put_bytes(data, ".html"), len(data), 0, None, {"type": "text/html; charset=utf-8"})
    keepers = {name for name, (layer, _) in written.items() if layer.kind in ("raster", "table")} or set(written)
    return {name: (layer, replace(version, parts=(*version.parts, part)) if name in keepers else version) for name, (layer, version) in written.items()}


def page_of(city: City, job: Job) -> str:
    """Key in the lake of the report for people that a run wrote.

    Raises:
        NotFound: the job is no run, wrote no report, or its layers are gone.
    """
    for value in ((job.result or {}).get("outputs") or {}).values():
        try:
            version = city.manifest(city.catalog.version(value["layer"], value["version"]).manifest)
        except NotFound:  # this layer is deleted, another may be there
            continue
        for part in version.parts:
            if part.role == PAGE:
                return part.key
    raise NotFound(f"Job {job.id} has no report for people.", "Runs of scenarios that write one have it, while one of their layers is kept.")


def write_page(city: City, job: Job, path: Path) -> None:
    """Copy a run's report for people to a file.

    Raises:
        NotFound: as `page_of`. StorageError: it cannot be written.
    """
    data = city.lake.get(page_of(city, job))
    try:
        path.write_bytes(data)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}.", "The run itself is kept; its report is at /jobs/…/report too.") from error


def check_inputs(city: City, scenario: str, inputs: dict[str, Any]) -> None:
    """Refuse wrong parameters before a run is queued (same errors as `run_scenario`)."""
    module = registry.find(registry.scenarios(), scenario, "scenario").load()
    _inputs(city, import_module("scenarios.contract"), registry.parse_options(module.Params, inputs, f"scenario {scenario}"))


def _inputs(city: City, contract: Any, values: Any) -> tuple[dict[str, LayerVersion], dict[str, Any], Any]:
    """(published versions by layer name, what they were, highest security label)."""
    versions: dict[str, LayerVersion] = {}
    record: dict[str, Any] = {}
    label = "open"
    for param, kinds in contract.layer_params(type(values)).items():
        name = getattr(values, param)
        if not name:
            if type(values).model_fields[param].is_required():
                raise BadOption(f"{param}: no layer is named.", f"Name one that holds {' or '.join(kinds)} (twin layers).")
            continue
        try:
            publication, version, _ = city.published(name)
        except NotFound as error:
            raise NotFound(f"{param}: {error.message}", error.remedy) from error
        if version.kind not in kinds:
            raise BadOption(f"{param}: layer {name!r} holds {version.kind}, not {' or '.join(kinds)}.", "Choose a layer of that kind (twin layers).")
        versions[name] = version
        record[name] = {"version": publication.number, "manifest": publication.manifest}
        label = max(label, city.catalog.layer(name).label, key=LABELS.index)
    return versions, record, label
