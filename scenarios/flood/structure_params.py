"""What may stand in the water's way or move it: levees, weirs, gates, bridges, culverts, pumps. Rows of the run's parameters, or GeoJSON.

Places are WGS 84 (longitude, latitude); levels are metres in the terrain's vertical datum; times are hours of the run.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from twin.errors import BadOption

Place = tuple[Annotated[float, Field(ge=-180, le=180)], Annotated[float, Field(ge=-90, le=90)]]
Window = tuple[float, float]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    name: str = Field("", description="Name in the ledger; empty: kind and number.")


class _Line(_Row):
    line: tuple[Place, ...] = Field(min_length=2, description="Course: [[longitude, latitude], …].")

    @model_validator(mode="after")
    def _long(self) -> Any:
        if len(set(self.line)) < 2:
            raise ValueError("the line has no length: all its points are the same")
        return self


class Breach(BaseModel):
    """A gap that grows in a levee: a trapezoid whose bottom falls and widens linearly in time (DAMBRK: Fread 1988; HEC-RAS' linear progression)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    at: Place = Field(description="Centre of the gap, on or near the levee.")
    bottom: float = Field(description="Final level of the gap's bottom, m.")
    width_m: float = Field(gt=0, description="Final width of the bottom, m.")
    side_slope: float = Field(1.0, ge=0, le=10, description="Sides, horizontal : vertical.")
    duration_h: float = Field(0.5, gt=0, description="Hours from the first gap to the full one.")
    start_h: float | None = Field(None, ge=0, description="Hour at which it begins …")
    trigger_level: float | None = Field(None, description="… or the water level beside the gap that begins it, m.")

    @model_validator(mode="after")
    def _begins(self) -> Breach:
        if (self.start_h is None) == (self.trigger_level is None):
            raise ValueError("a breach needs start_h or trigger_level (one of them)")
        return self


class Crest(_Line):
    """A line that holds water up to its crest; over it flows Q = C·L·h^1.5, reduced under backwater (Villemonte 1947)."""

    kind: Literal["levee", "weir", "barrier"]
    crest: float | None = Field(None, description="Level of the crest, m (or height_m).")
    height_m: float | None = Field(None, gt=0, description="Height above the ground along it, m (or crest).")
    coefficient: float = Field(1.7, ge=0.5, le=3, description="Weir coefficient C, m^0.5/s (1.7: broad crest).")
    from_h: float = Field(0.0, ge=0, description="Hour from which it stands (temporary barriers).")
    until_h: float | None = Field(None, gt=0, description="Hour until which it stands; empty: to the end.")
    breach: Breach | None = None

    @model_validator(mode="after")
    def _high(self) -> Crest:
        if (self.crest is None) == (self.height_m is None):
            raise ValueError(f"a {self.kind} needs crest or height_m (one of them)")
        if self.until_h is not None and self.until_h <= self.from_h:
            raise ValueError("until_h must be later than from_h")
        if (self.from_h or self.until_h is not None) and self.kind != "barrier":
            raise ValueError("from_h and until_h are for a barrier")
        return self


class Rule(BaseModel):
    """Opens and closes a gate by the water level at a place; between the two levels the gate stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    at: Place
    open_level: float = Field(description="m; the gate opens when the water is on this side of it …")
    close_level: float = Field(description="m; … and closes when it is on this one.")
    opening_m: float = Field(gt=0, description="Opening when open, m.")

    @model_validator(mode="after")
    def _apart(self) -> Rule:
        if self.open_level == self.close_level:
            raise ValueError("open_level and close_level must differ")
        return self


class Gate(_Line):
    """A wall with an opening of given width above a sill: the lesser of weir flow over the sill and orifice flow through the opening."""

    kind: Literal["gate"]
    sill: float = Field(description="Level of the sill, m.")
    width_m: float = Field(gt=0, description="Clear width, m.")
    crest: float = Field(description="Level above which water runs over the closed gate, m.")
    schedule: tuple[tuple[float, float], ...] = Field((), description="[[hour, opening in m], …]; each holds until the next.")
    rule: Rule | None = None
    discharge: float = Field(0.6, gt=0, le=1, description="Orifice coefficient.")
    coefficient: float = Field(1.7, ge=0.5, le=3)

    @model_validator(mode="after")
    def _moves(self) -> Gate:
        if bool(self.schedule) == (self.rule is not None):
            raise ValueError("a gate needs schedule or rule (one of them)")
        hours = [hour for hour, _ in self.schedule]
        if hours != sorted(set(hours)) or any(opening < 0 for _, opening in self.schedule):
            raise ValueError("schedule: hours ascend and openings are not negative")
        if self.crest <= self.sill:
            raise ValueError("crest must be above the sill")
        return self


class Bridge(_Line):
    """Free flow below the deck; from the deck's underside on orifice flow below and weir flow over it (HEC-RAS pressure and weir method)."""

    kind: Literal["bridge"]
    low_chord: float = Field(description="Level of the deck's underside, m.")
    deck: float = Field(description="Level above which water runs over the deck, m.")
    piers: float = Field(0.0, ge=0, lt=1, description="Share of the width taken by piers.")
    discharge: float = Field(0.8, gt=0, le=1)
    coefficient: float = Field(1.4, ge=0.5, le=3)

    @model_validator(mode="after")
    def _thick(self) -> Bridge:
        if self.deck <= self.low_chord:
            raise ValueError("deck must be above low_chord")
        return self


class Culvert(_Line):
    """A pipe or box from the line's first to its last point: inlet or outlet control, whichever carries less (FHWA HDS-5, 2012)."""

    kind: Literal["culvert"]
    diameter_m: float | None = Field(None, gt=0, description="Round pipe (or width_m and height_m).")
    width_m: float | None = Field(None, gt=0)
    height_m: float | None = Field(None, gt=0)
    barrels: int = Field(1, ge=1, le=100)
    invert_from: float = Field(description="Level of its floor at the first point, m.")
    invert_to: float = Field(description="Level of its floor at the last point, m.")
    roughness: float = Field(0.013, gt=0, le=0.1)
    entrance_loss: float = Field(0.5, ge=0, le=2)
    one_way: bool = Field(False, description="A flap keeps water from flowing back.")
    inlet: tuple[float, float, float, float] | None = Field(None, description="HDS-5 inlet constants K, M, c, Y; empty: square edge in a headwall.")

    @model_validator(mode="after")
    def _section(self) -> Culvert:
        box = self.width_m is not None and self.height_m is not None
        if box == (self.diameter_m is not None) or (self.width_m is None) != (self.height_m is None):
            raise ValueError("a culvert needs diameter_m, or width_m and height_m")
        return self


class Pump(_Row):
    """Takes water at the line's first point to its last one; with a single point the water leaves the area."""

    kind: Literal["pump"]
    line: tuple[Place, ...] = Field(min_length=1, max_length=2)
    curve: tuple[tuple[float, float], ...] = Field(min_length=1, description="[[lift in m, m³/s], …], lift ascending; one pair: constant.")
    start_level: float = Field(description="Water level at the intake that starts it, m.")
    stop_level: float = Field(description="Water level at the intake that stops it, m.")
    radius_m: float = Field(0.0, ge=0, le=1000, description="The intake draws from all cells within this distance.")
    failures: tuple[Window, ...] = Field((), description="[[from hour, until hour], …] when it does not run.")

    @model_validator(mode="after")
    def _runs(self) -> Pump:
        lifts = [lift for lift, _ in self.curve]
        if lifts != sorted(set(lifts)) or any(flow < 0 for _, flow in self.curve):
            raise ValueError("curve: lifts ascend and flows are not negative")
        if self.stop_level >= self.start_level:
            raise ValueError("stop_level must be below start_level")
        if any(until <= begin for begin, until in self.failures):
            raise ValueError("failures: each window ends after it begins")
        return self


Structure = Annotated[Crest | Gate | Bridge | Culvert | Pump, Field(discriminator="kind")]
ROWS: TypeAdapter[tuple[Structure, ...]] = TypeAdapter(tuple[Structure, ...])


def from_geojson(value: Any) -> Any:
    """GeoJSON (object or text), or rows as JSON text → rows; anything else is passed on for the model to judge.

    The properties are the row's fields; a LineString is its line, a Point a line of one place.
    """
    if isinstance(value, str):
        if not value.strip():
            return ()
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(f"not JSON ({error})") from error
    if isinstance(value, dict) and value.get("type") == "Feature":
        value = {"type": "FeatureCollection", "features": [value]}
    if not isinstance(value, dict) or value.get("type") != "FeatureCollection":
        return value
    rows = []
    for number, feature in enumerate(value.get("features") or [], 1):
        geometry = feature.get("geometry") or {}
        places: Any = {"LineString": geometry.get("coordinates"), "Point": [geometry.get("coordinates")]}.get(str(geometry.get("type")))
        if not isinstance(places, list) or not all(isinstance(place, list | tuple) for place in places):
            raise ValueError(f"feature {number}: the geometry is {geometry.get('type')!r}; a LineString or a Point is needed")
        rows.append({**{k: v for k, v in (feature.get("properties") or {}).items() if v is not None}, "line": [place[:2] for place in places]})
    return rows


def names(rows: tuple[Any, ...]) -> list[str]:
    """A name for each row: its own, or its kind and number.

    Raises:
        BadOption: two rows bear the same name.
    """
    found = [row.name or f"{row.kind}-{i}" for i, row in enumerate(rows, 1)]
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise BadOption(f"structures: the name {twice[0]!r} stands twice.", "Give each its own.")
    return found
