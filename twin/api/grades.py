"""A person overrules the CIM grade of a layer."""

from __future__ import annotations

from importlib import import_module
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from twin import grading
from twin.api.collections import Grades
from twin.api.common import CityDep, href, json_response
from twin.api.definition import answers
from twin.api.jobs import status_info
from twin.api.schemas_processes import StatusInfo

router = APIRouter(tags=["Collections"])


class GivenGrade(BaseModel):
    """What a person says of a layer."""

    model_config = ConfigDict(extra="forbid")

    grade: Grades | Literal[""] = Field(description="The grade that holds in place of the rule's, for later deliveries too; empty: the rule's holds again.")


@router.post("/collections/{layer}/grade", summary="Overrule a layer's CIM grade", status_code=201, response_class=Response,
             responses=answers(StatusInfo, status=201))  # fmt: skip
def give(request: Request, city: CityDep, layer: str, body: GivenGrade) -> Response:
    """Queue a job that shows a new version of the layer with this grade: nothing is read anew, and the rule's grade stays on record. 409 for results of scenarios."""
    grading.recorded(layer, city.published(layer)[1].report)
    tasks = import_module("twin.tasks")
    job = tasks.submit(city, "regrade", {"layer": layer, "grade": body.grade})
    return json_response(request, status_info(request, job), status=201, headers={"Location": href(request, "jobs", job.id)})
