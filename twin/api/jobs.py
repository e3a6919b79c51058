"""OGC API – Processes part 1: following, reading and dismissing jobs (of all kinds, not only runs)."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from twin.api.common import CityDep, body_response, href, json_response, knows, link, not_modified, timestamp
from twin.api.definition import answers, binary
from twin.api.errors import Problem, status_of
from twin.api.schemas_processes import JobList, Results, StatusInfo
from twin.city import City
from twin.errors import NotFound
from twin.jobs import Job, Jobs, failure

router = APIRouter(tags=["Jobs"])

RESULTS = "http://www.opengis.net/def/rel/ogc/1.0/results"
NO_SUCH_JOB = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/no-such-job"
NOT_READY = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/result-not-ready"
_INTERNAL = "Internal error"


@router.get("/jobs", summary="All jobs", response_class=Response, responses=answers(JobList))
def jobs(request: Request, city: CityDep, limit: Annotated[int, Query(ge=1, le=10_000)] = 1000) -> Response:
    """Jobs, newest first."""
    found = [status_info(request, job) for job in Jobs(city.catalog).list(limit=limit)]
    return json_response(request, {"jobs": found, "links": [link("self", href(request, "jobs"))]})


@router.get("/jobs/{job}", summary="One job", response_class=Response, responses=answers(StatusInfo))
def status(request: Request, city: CityDep, job: str) -> Response:
    """How far a job is."""
    return json_response(request, status_info(request, job_of(city, job)))


@router.get("/jobs/{job}/results", summary="Results of a job", response_class=Response, responses=answers(Results))
def results(request: Request, city: CityDep, job: str) -> Response:
    """The layers that a job wrote, by output, and its report. 404 while it is not done; the failure's own status when it failed."""
    found = job_of(city, job)
    if not found.done:
        raise Problem(404, f"Job {found.id} is {found.state}; its results are not ready.", NOT_READY)
    if found.state == "dismissed":
        raise Problem(410, f"Job {found.id} was dismissed and has no results.")
    if found.state == "failed":
        error = failure(found)
        raise Problem(500 if error.message.startswith(_INTERNAL) else status_of(error), error.message)
    result: dict[str, Any] = dict(found.result or {})
    if isinstance(result.get("outputs"), dict):
        result["outputs"] = {name: value | {"href": href(request, "collections", value["layer"])} for name, value in result["outputs"].items()}
        if _has_page(city, found):
            result["twin:report"] = href(request, "jobs", found.id, "report")
    elif "layer" in result:
        result["href"] = href(request, "collections", result["layer"])
    return json_response(request, result)


@router.get("/jobs/{job}/report", summary="A run's report for people", response_class=Response,
            responses=binary("One self-contained HTML file: what was run, maps, plots, who is hit, the ledger of water.", "text/html"))  # fmt: skip
def report(request: Request, city: CityDep, job: str) -> Response:
    """The report that a scenario wrote for people. 404 where it wrote none, or none of the run's layers is kept."""
    key = running().page_of(city, job_of(city, job))
    etag = f'"{key[:32]}"'
    if knows(request, etag):
        return not_modified(etag, "no-cache")
    headers = {"Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'"}
    return body_response(request, city.lake.get(key), "text/html; charset=utf-8", cache="no-cache", etag=etag, headers=headers)


@router.delete("/jobs/{job}", summary="Dismiss a job", response_class=Response, responses=answers(StatusInfo))
def dismiss(request: Request, city: CityDep, job: str) -> Response:
    """Stop a job: at once while it waits, else at its next step. 409 once it has ended."""
    return json_response(request, status_info(request, Jobs(city.catalog).cancel(job_of(city, job).id)))


def status_info(request: Request, job: Job) -> dict[str, Any]:
    """A job as OGC statusInfo; `progress` is that of its present stage until it is done."""
    links = [link("self", href(request, "jobs", job.id), title="This job")]
    if job.state == "successful":
        links.append(link(RESULTS, href(request, "jobs", job.id, "results"), title="Results"))
    message = job.error or ": ".join(text for text in (job.stage if not job.done else "", job.message) if text)
    times = {"created": job.created, "started": job.started, "finished": job.finished, "updated": job.updated}
    return {
        "jobID": job.id, "processID": job.params.get("scenario", job.kind), "type": "process", "status": job.state, "message": message,
        "progress": 100 if job.state == "successful" else min(99, round(job.progress * 100)), "twin:stage": job.stage, "links": links,
    } | {name: timestamp(seconds) for name, seconds in times.items() if seconds is not None}  # fmt: skip


def running() -> Any:
    """Where runs' reports are found, imported when first asked for."""
    return import_module("twin.running")


def _has_page(city: City, job: Job) -> bool:
    try:
        return bool(running().page_of(city, job))
    except NotFound:
        return False


def job_of(city: City, identifier: str) -> Job:
    """A job by its id, or a 404 problem of the standard's type."""
    try:
        return Jobs(city.catalog).get(identifier)
    except NotFound as error:
        raise Problem(404, error.message, NO_SUCH_JOB) from error
