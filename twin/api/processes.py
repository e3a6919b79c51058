"""OGC API – Processes part 1: the scenarios as processes. Descriptions come from each scenario's own parameter model."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from twin import __version__, intake, registry, running, tasks
from twin.api.common import CityDep, href, json_response, link
from twin.api.definition import answers
from twin.api.errors import Problem
from twin.api.jobs import status_info
from twin.api.schemas_processes import Process, Processes, StatusInfo

router = APIRouter(tags=["Processes"])

EXECUTE = "http://www.opengis.net/def/rel/ogc/1.0/execute"
NO_SUCH_PROCESS = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/no-such-process"
_OUTPUT_SCHEMA = {
    "type": "object", "required": ["layer", "href"],
    "properties": {"layer": {"type": "string", "description": "Name of the layer written."}, "href": {"type": "string", "format": "uri"}},
}  # fmt: skip


class Execution(BaseModel):
    """What a run is started with."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    inputs: dict[str, Any] = Field(default_factory=dict, description="Values by input name.")
    name: str | None = Field(None, alias="twin:name", description="Name of the run: its layers are called NAME-<output>. Default: the process id.")


@router.get("/processes", summary="All scenarios", response_class=Response, responses=answers(Processes))
def processes(request: Request) -> Response:
    """The scenarios that can be run."""
    found = [_summary(request, name, _module(name)) for name in sorted(registry.scenarios())]
    return json_response(request, {"processes": found, "links": [link("self", href(request, "processes"))]})


@router.get("/processes/{process}", summary="One scenario", response_class=Response, responses=answers(Process))
def process(request: Request, process: str) -> Response:
    """Inputs (JSON Schema, with units, bounds and the layer kinds they take) and outputs of a scenario."""
    module = _module(process)
    value = _summary(request, process, module) | {"inputs": inputs(module.Params), "outputs": {o.name: _output(o) for o in module.OUTPUTS}}
    return json_response(request, value)


@router.post("/processes/{process}/execution", summary="Start a run", status_code=201, response_class=Response,
             responses=answers(StatusInfo, status=201))  # fmt: skip
def execute(
    request: Request, city: CityDep, process: str, body: Execution,
    prefer: Annotated[str, Header(description="Runs are always asynchronous; `respond-async` is confirmed.")] = "",
) -> Response:  # fmt: skip
    """Queue a run and answer at once with its job. Inputs are checked first; asking twice for the same unfinished run gives the same job."""
    _module(process)
    name = process if body.name is None else body.name
    intake.check_layer_name(name)
    running.check_inputs(city, process, body.inputs)
    job = tasks.submit(city, "run", {"scenario": process, "inputs": body.inputs, "name": name})
    headers = {"Location": href(request, "jobs", job.id)}
    if "respond-async" in prefer:
        headers["Preference-Applied"] = "respond-async"
    return json_response(request, status_info(request, job), status=201, headers=headers)


def inputs(model: type[BaseModel]) -> dict[str, Any]:
    """The inputs of a process from its parameter model; references are resolved, so that each schema stands alone.

    A group (`x-group`) is named where it begins in the model; here each input says its own.
    """
    schema = model.model_json_schema()
    found: dict[str, Any] = {}
    group: dict[str, str] | None = None
    for name, raw in schema.get("properties", {}).items():
        own = _resolve(raw, schema.get("$defs", {}))
        required = name in schema.get("required", [])
        found[name] = {"title": own.get("title", name), "schema": own, "minOccurs": int(required), "maxOccurs": 1}
        found[name] |= {key: own[key] for key in ("description", "x-title-zh", "x-description-zh", "x-unit") if key in own}
        group = own.pop("x-group", group)
        if group:
            found[name]["x-group"] = group
    return found


def _resolve(value: Any, definitions: dict[str, Any]) -> Any:
    match value:
        case {"$ref": str(reference)}:
            rest = {k: v for k, v in value.items() if k != "$ref"}
            return _resolve(definitions[reference.rsplit("/", 1)[-1]], definitions) | rest
        case dict():
            return {k: _resolve(v, definitions) for k, v in value.items() if k != "discriminator" or not isinstance(v, dict)}  # it points into $defs
        case list():
            return [_resolve(v, definitions) for v in value]
    return value


def _module(name: str) -> Any:
    if name not in registry.scenarios():
        raise Problem(404, f"There is no process {name!r}. Known: {', '.join(sorted(registry.scenarios())) or 'none'}.", NO_SUCH_PROCESS)
    return registry.scenarios()[name].load()


def _summary(request: Request, name: str, module: Any) -> dict[str, Any]:
    return {
        "id": name, "version": getattr(module, "VERSION", __version__), "title": module.TITLE["en"], "x-title-zh": module.TITLE["zh"],
        "description": module.DESCRIPTION["en"], "x-description-zh": module.DESCRIPTION["zh"],
        "jobControlOptions": ["async-execute", "dismiss"], "outputTransmission": ["value"],
        "links": [link("self", href(request, "processes", name)), link(EXECUTE, href(request, "processes", name, "execution"))],
    }  # fmt: skip


def _output(output: Any) -> dict[str, Any]:
    unit = {"x-unit": output.unit} if output.unit else {}
    return {"title": output.title.get("en", output.name), "x-title-zh": output.title.get("zh"), "x-layer-kind": output.kind, **unit,
            "schema": _OUTPUT_SCHEMA}  # fmt: skip
