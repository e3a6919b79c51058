"""The documents of scenarios and jobs (OGC API – Processes), as the OpenAPI definition states them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import AnyUrl, BaseModel, ConfigDict, Field

from twin.api.schemas import Document, Link
from twin.model import LayerKind


class ProcessSummary(Document):
    """A scenario."""

    id: str
    version: str
    title: str
    description: str
    jobControlOptions: list[Literal["async-execute", "dismiss"]]  # noqa: N815  the standard's name
    outputTransmission: list[Literal["value"]]  # noqa: N815  the standard's name
    links: list[Link]
    title_zh: str = Field(alias="x-title-zh")
    description_zh: str = Field(alias="x-description-zh")


class ProcessInput(Document):
    """An input: its JSON Schema, and titles."""

    title: str
    schema_: dict[str, Any] = Field(alias="schema", description="JSON Schema; `x-layer-kinds` where the value names a layer of these kinds, `x-column-of` where "
                                    "it names a column of the layer that another input names, `x-when` the inputs (values, or true for any) by which it counts, "
                                    "`x-choices` what the values of an enum are called.")  # fmt: skip
    minOccurs: Literal[0, 1]  # noqa: N815  the standard's name
    maxOccurs: Literal[1]  # noqa: N815  the standard's name
    description: str | None = None
    title_zh: str | None = Field(None, alias="x-title-zh")
    description_zh: str | None = Field(None, alias="x-description-zh")
    unit: str | None = Field(None, alias="x-unit")
    group: dict[str, str] | None = Field(None, alias="x-group", description="Part of a form to which it belongs, by language.")


class ProcessOutput(Document):
    """An output: always a layer."""

    title: str
    schema_: dict[str, Any] = Field(alias="schema")
    title_zh: str | None = Field(alias="x-title-zh")
    layer_kind: LayerKind = Field(alias="x-layer-kind")
    unit: str | None = Field(None, alias="x-unit")


class Process(ProcessSummary):
    """A scenario with its inputs and outputs."""

    inputs: dict[str, ProcessInput]
    outputs: dict[str, ProcessOutput]


class Processes(Document):
    """All scenarios."""

    processes: list[ProcessSummary]
    links: list[Link]


class StatusInfo(Document):
    """A job (OGC API – Processes, statusInfo)."""

    jobID: str  # noqa: N815  the standard's name
    processID: str = Field(description="The scenario; for other work ingest, tile or gc.")  # noqa: N815  the standard's name
    type: Literal["process"]
    status: Literal["accepted", "running", "successful", "failed", "dismissed"]
    message: str
    progress: int = Field(ge=0, le=100, description="Of the present stage.")
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    updated: datetime | None = None
    twin_stage: str = Field(alias="twin:stage")
    links: list[Link]


class JobList(Document):
    """Jobs, newest first."""

    jobs: list[StatusInfo]
    links: list[Link]


class Output(BaseModel):
    """A layer that a run wrote."""

    model_config = ConfigDict(extra="allow")

    layer: str
    href: AnyUrl


class Results(BaseModel):
    """What a job has made; of a run: its layers by output name, and its report."""

    model_config = ConfigDict(extra="allow")

    outputs: dict[str, Output] | None = None
    report: dict[str, Any] | None = None
    twin_report: str | None = Field(None, alias="twin:report", description="Address of the run's report for people (HTML).")
