"""What can be said of how an IFC model is read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ingest_bim.anchor_options import Anchor, AnchorLonLat, Numbers
from twin.options import ReaderOptions


class Options(ReaderOptions):
    """How to place and read a model."""

    anchor: Anchor = None
    anchor_lonlat: AnchorLonLat = None
    footprint: str | None = Field(None, description="Lay the model's plan on a footprint of the city: LAYER/ID.")
    rotation: float = Field(0.0, ge=-360, le=360, description="Degrees clockwise from grid north to the model's y axis (placing by hand).")
    height: float | None = Field(None, ge=-12_000, le=12_000, description="Height of the origin point in the vertical datum, metres; for IfcSite it replaces RefElevation.")
    origin: Numbers = Field("0,0,0", description="The model point x,y,z (metres) that stands at the anchor.")
    scale: float = Field(1.0, gt=0.5, lt=2, description="Grid metres per model metre (placing by hand).")
    use: Literal["auto", "map", "site"] = Field("auto", description="Which georeference of the file to believe.")
    confirm: bool = Field(False, description="Accept a georeference that contradicts itself or is a tool's default.")
    kernel: Literal["auto", "fast", "opencascade", "none"] = Field(
        "auto", description="Geometry kernel: fast ones checked on samples, fast unchecked, the reference, or none (attributes alone)."
    )
    element_seconds: float = Field(20.0, ge=0.1, le=3600, description="CPU seconds one element may take (an engine tried first because it is quick: a quarter); then it is left out and listed.")
    workers: int = Field(0, ge=0, le=64, description="Geometry processes; 0: as many as there are cores.")
    encoding: str | None = Field(None, min_length=1, description="Encoding of raw non-ASCII text (utf-8, gb18030, latin-1); guessed if not given.")
