"""Two runs side by side: the table at once, the layers by a job."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from twin.api.common import CityDep, href, json_response
from twin.api.definition import answers
from twin.api.jobs import job_of, status_info
from twin.api.schemas import Document
from twin.api.schemas_processes import StatusInfo

router = APIRouter(tags=["Jobs"])


class Change(Document):
    """One figure of two runs."""

    quantity: str
    unit: str
    a: float
    b: float
    change: float = Field(description="b − a")


class Comparison(Document):
    """What changed from run A to run B."""

    a: str = Field(description="Job of run A.")
    b: str = Field(description="Job of run B.")
    rows: list[Change]


@router.get("/jobs/{a}/compare/{b}", summary="What changed between two runs", response_class=Response, responses=answers(Comparison))
def compare(request: Request, city: CityDep, a: str, b: str) -> Response:
    """A table of run B beside run A: depths, flooded area, water by account, buildings and roads newly flooded and spared."""
    comparing = import_module("twin.comparing")
    found = comparing.compare(city, job_of(city, a).id, job_of(city, b).id)
    return json_response(request, comparing.to_json(found))


@router.post("/jobs/{a}/compare/{b}", summary="Two runs' differences as layers", status_code=201, response_class=Response,
             responses={201: {"model": StatusInfo, "description": "The job that writes them; its results name the layers."}})  # fmt: skip
def compare_layers(request: Request, city: CityDep, a: str, b: str, name: Annotated[str, Query(min_length=1, description="The layers are called NAME-depth-change, …")]) -> Response:
    """Queue a job that publishes the differences as layers: `<name>-depth-change`, `<name>-buildings-change`, `<name>-roads-change`, `<name>-changes`."""
    tasks, comparing, intake = (import_module(f"twin.{module}") for module in ("tasks", "comparing", "intake"))
    intake.check_layer_name(name)
    runs = [comparing.outcome(city, job_of(city, run).id).job.id for run in (a, b)]
    job = tasks.submit(city, "compare", {"a": runs[0], "b": runs[1], "name": name})
    return json_response(request, status_info(request, job), status=201, headers={"Location": href(request, "jobs", job.id)})
