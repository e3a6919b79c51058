"""What exchanges water with the surface besides rain and losses: structures, drainage networks, inflows. One protocol for all."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray


class Part(Protocol):
    """Called by the running flood; keeps its own ledger in float64, m³, + into the surface and − out of it."""

    name: str

    def interval(self, start: float, end: float) -> None:
        """Before the flow of [start, end] s (about one second): controls, and exchanges that need no shorter step."""

    def step(self, start: float, end: float) -> None:
        """After each step of the flow."""

    def ledger(self) -> dict[str, float]:
        """Net volume by entry, m³."""

    def facts(self) -> dict[str, Any]:
        """What else the report should say."""

    def saved(self) -> dict[str, NDArray[Any]]:
        """Arrays to go on from here; scalars as 0-d arrays."""

    def restore(self, saved: dict[str, NDArray[Any]]) -> None:
        """The inverse of `saved`."""

    def close(self) -> None:
        """The run has ended, in whatever way."""
