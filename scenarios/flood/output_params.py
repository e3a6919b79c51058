"""Rows of the run's parameters that say what is measured and what is hit: sections, vehicles, depth-damage curves; their published defaults."""

from __future__ import annotations

import itertools

from pydantic import BaseModel, ConfigDict, Field, model_validator

from scenarios.flood.structure_params import Place


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Section(_Row):
    """A line through which the discharge is measured; it counts positive from the left to the right of the line's direction."""

    name: str = Field("", description="Empty: section-1, …")
    line: tuple[Place, ...] = Field(min_length=2, description="Course: [[longitude, latitude], …].")


class Vehicle(_Row):
    """Who can still pass: a road is closed to it where the water is deeper than `depth_m`, or depth times speed more than `depth_speed_m2_s`."""

    name: str = Field(min_length=1, pattern=r"^[a-z][a-z0-9_]*$", description="Name in the columns closed_<name>_….")
    zh: str = Field("", description="Name in Chinese.")
    depth_m: float = Field(gt=0, le=5)
    depth_speed_m2_s: float = Field(gt=0, le=10)


#: Limits of still depth and of depth × speed: vehicles by Shand, Cox, Blacka & Smith (2011), Australian Rainfall & Runoff project 10, stage 2 (draft criteria:
#: small car, large car, large four-wheel drive); walking adults by Cox, Shand & Blacka (2010), same project, stage 1 (low hazard).
VEHICLES = (
    Vehicle(name="pedestrian", zh="行人（成人）", depth_m=1.2, depth_speed_m2_s=0.6),
    Vehicle(name="car", zh="小汽车", depth_m=0.3, depth_speed_m2_s=0.3),
    Vehicle(name="large_car", zh="大型轿车", depth_m=0.4, depth_speed_m2_s=0.45),
    Vehicle(name="high_vehicle", zh="越野车、大型车", depth_m=0.5, depth_speed_m2_s=0.6),
)


class DamageCurve(_Row):
    """Share of a building's value that is lost at a depth; linear between the points, level beyond them."""

    use: str = Field("", description="Value of building_use_column that this curve is for; empty: all others.")
    points: tuple[tuple[float, float], ...] = Field(min_length=1, description="[[depth m, share 0–1], …], depths growing.")
    value_m2: float | None = Field(None, ge=0, description="Value at risk per m² of ground area, in the currency of your choice; empty: shares only.")

    @model_validator(mode="after")
    def _grows(self) -> DamageCurve:
        depths, shares = zip(*self.points, strict=True)
        if any(b <= a for a, b in itertools.pairwise(depths)) or depths[0] < 0:
            raise ValueError("the depths of a curve must grow from 0 or more")
        if any(not 0 <= share <= 1 for share in shares) or any(b < a for a, b in itertools.pairwise(shares)):
            raise ValueError("the shares of a curve lie within 0–1 and never fall")
        return self


_DEPTHS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0)
#: Asia, residential buildings: Huizinga, de Moel & Szewczyk (2017), Global flood depth-damage functions, JRC105688, doi:10.2760/16510.
CURVES = (DamageCurve(use="", value_m2=None, points=tuple(zip(_DEPTHS, (0.0, 0.33, 0.49, 0.62, 0.72, 0.87, 0.93, 0.98, 1.0), strict=True))),)

GRADES = (0.15, 0.27, 0.40, 0.60)
"""m: 15 cm is where GB 50014 and GB 51222 call a road waterlogged; 27, 40 and 60 cm part grades I–IV in Beijing's practice for urban waterlogging maps."""
FLOOR_PER_PERSON = 36.5
"""m² of housing floor a person in Chinese cities (seventh national census, 2020)."""
STOREY = 3.0
"""m: floors of a building are its height over this, rounded (at least one)."""
MAX_FRAMES = 288
MAX_FRAME_BYTES = 2 * 10**9
