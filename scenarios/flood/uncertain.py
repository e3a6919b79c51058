"""Which parameters may be given as low / likely / high, which end brings more water, and when a run uses them at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Literal["roughness", "rain_factor", "rain_mm_h", "rain_hours", "return_period", "storm_a", "storm_c", "storm_b", "storm_n", "level", "level_offset_m", "initial_level",
               "inflow_m3_s", "inflow_factor", "infiltration_mm_h", "horton_start_mm_h", "horton_decay_h", "suction_m", "soil_saturation", "pervious", "drainage_mm_h",
               "inlet_area_m2", "inlet_perimeter_m"]  # fmt: skip


@dataclass(frozen=True)
class Way:
    """How a parameter acts.

    Attributes:
        sign: +1 where more of it should leave more water standing, −1 where less.
        used: whether a run of these parameters depends on it.
        when: the condition in words, for the message.
    """

    sign: int
    used: Callable[[Any], bool] = lambda _: True
    when: str = ""


def _rain(*kinds: str) -> dict[str, Any]:
    return {"used": lambda p: p.rain in kinds, "when": f"rain = {' or '.join(kinds)}"}


def _soaks(*kinds: str) -> dict[str, Any]:
    return {"used": lambda p: p.infiltration in kinds, "when": f"infiltration = {' or '.join(kinds)}"}


_FLOWS: dict[str, Any] = {"used": lambda p: p.inflow_point is not None or bool(p.inflows), "when": "an inflow"}
_NETWORK: dict[str, Any] = {"used": lambda p: bool(p.network_inp.strip()), "when": "network_inp"}
_HELD: dict[str, Any] = {"used": lambda p: bool(p.water), "when": "water held at a level"}
_SOAKING = _soaks("constant", "horton", "green_ampt")

UNCERTAIN: dict[str, Way] = {
    "roughness": Way(1), "initial_level": Way(1), "drainage_mm_h": Way(-1),
    "rain_factor": Way(1, lambda p: p.rain != "none", "rain"),
    "rain_mm_h": Way(1, **_rain("uniform")), "rain_hours": Way(1, **_rain("uniform", "chicago")),
    "return_period": Way(1, **_rain("chicago")), "storm_a": Way(1, **_rain("chicago")), "storm_c": Way(1, **_rain("chicago")),
    "storm_b": Way(-1, **_rain("chicago")), "storm_n": Way(-1, **_rain("chicago")),
    "level": Way(1, **_HELD), "level_offset_m": Way(1, **_HELD),
    "inflow_m3_s": Way(1, lambda p: p.inflow_point is not None, "inflow_point"), "inflow_factor": Way(1, **_FLOWS),
    "infiltration_mm_h": Way(-1, **_SOAKING), "pervious": Way(-1, **_SOAKING),
    "horton_start_mm_h": Way(-1, **_soaks("horton")), "horton_decay_h": Way(1, **_soaks("horton")),
    "suction_m": Way(-1, **_soaks("green_ampt")), "soil_saturation": Way(1, lambda p: p.infiltration == "green_ampt" and bool(p.soil), "infiltration = green_ampt and soil"),
    "inlet_area_m2": Way(-1, **_NETWORK), "inlet_perimeter_m": Way(-1, **_NETWORK),
}  # fmt: skip
"""Every number of the run that is known only roughly. What is given as a series varies by its factor (rain, inflow) or offset (level). A storm's
C counts for return periods above one year."""


class Uncertain(BaseModel):
    """One parameter's low and high end; its own value is the likely one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    parameter: Name
    low: Annotated[float, Field(allow_inf_nan=False)]
    high: Annotated[float, Field(allow_inf_nan=False)]

    @model_validator(mode="after")
    def _ordered(self) -> Uncertain:
        if self.low >= self.high:
            raise ValueError(f"{self.parameter}: low must be below high")
        return self


def check(params: Any, rows: tuple[Uncertain, ...]) -> None:
    """Refuse rows that name a parameter twice, one without effect, or ends that do not fit.

    Raises:
        ValueError: names the parameter and what is wrong.
    """
    if len({row.parameter for row in rows}) < len(rows):
        raise ValueError("uncertain: a parameter stands twice")
    for row in rows:
        likely, way = getattr(params, row.parameter), UNCERTAIN[row.parameter]
        if not way.used(params):
            raise ValueError(f"uncertain: {row.parameter} has no effect on this run; it needs {way.when}")
        if likely is None or not row.low <= likely <= row.high:
            raise ValueError(f"uncertain: {row.parameter} is {likely}, not between low {row.low:g} and high {row.high:g}")
        if not _allowed(type(params).model_fields[row.parameter].metadata, row):
            raise ValueError(f"uncertain: {row.parameter} from {row.low:g} to {row.high:g} leaves the parameter's own limits")


def _allowed(limits: list[Any], row: Uncertain) -> bool:
    """Whether both ends keep the limits of the parameter (annotated_types: Ge, Gt, Le, Lt)."""
    found: dict[str, float] = {name: getattr(limit, name) for limit in limits for name in ("ge", "gt", "le", "lt") if getattr(limit, name, None) is not None}
    return (row.low >= found.get("ge", row.low) and row.low > found.get("gt", -float("inf"))
            and row.high <= found.get("le", row.high) and row.high < found.get("lt", float("inf")))  # fmt: skip


def ends(params: Any, rows: tuple[Uncertain, ...], *, most: bool) -> dict[str, float]:
    """The value of each uncertain parameter in the run of the most or the least water."""
    found = {row.parameter: row.high if (UNCERTAIN[row.parameter].sign > 0) == most else row.low for row in rows}
    if "storm_c" in found and params.return_period < 1:  # lg P < 0: more of C is less rain
        row = next(row for row in rows if row.parameter == "storm_c")
        found["storm_c"] = row.low if most else row.high
    return {str(name): value for name, value in found.items()}
