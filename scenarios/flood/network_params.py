"""Rows of the run's parameters that are more than a number: inlets of the network, inflows, rain gauges."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from scenarios.flood.structure_params import Place


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Inlet(_Row):
    """What connects one node of the network with the surface."""

    node: str = Field(min_length=1)
    area_m2: float = Field(0.5, gt=0, le=1000, description="Clear opening of all inlets and the cover, m².")
    perimeter_m: float = Field(3.0, gt=0, le=1000, description="Length over which water falls in, m.")
    sealed: bool = Field(False, description="Nothing passes.")


class Inflow(_Row):
    """Water that enters at a place or along a line."""

    name: str = Field("", description="Name in the ledger.")
    line: tuple[Place, ...] = Field(min_length=1, description="One place, or the course of a line: [[longitude, latitude], …].")
    flow_m3_s: float | None = Field(None, ge=0, le=1e6)
    csv: str = Field("", description="CSV text: time_…, flow_m3_s.")

    @model_validator(mode="after")
    def _brings(self) -> Inflow:
        if (self.flow_m3_s is None) == (not self.csv.strip()):
            raise ValueError("an inflow needs flow_m3_s or csv (one of them)")
        return self


class RainGauge(_Row):
    """Rain measured at a place."""

    name: str = Field(min_length=1)
    at: Place
    csv: str = Field(min_length=1, description="CSV text: time_…, rain_mm or rain_mm_h.")
