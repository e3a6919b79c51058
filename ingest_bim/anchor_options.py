"""Options by which a model is placed by hand, as the readers of models and meshes have them in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from ingest_bim.number_lists import numbers


def _listed(text: str) -> str:
    numbers(text)
    return text


Numbers = Annotated[str, AfterValidator(_listed)]
"""A list of numbers, kept as it was written."""
Anchor = Annotated[Numbers | None, Field(description="Place by hand: E,N or E,N,H of the origin point, in --crs and its vertical datum, metres.")]
AnchorLonLat = Annotated[Numbers | None, Field(description="Place by hand: longitude,latitude or longitude,latitude,H of the origin point, degrees.")]
