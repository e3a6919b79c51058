"""The spread of an uncertain run: three runs, not a probability.

`likely` takes every uncertain parameter as given; `least` and `most` take each at the end that is expected to leave less or more water
standing (`uncertain.UNCERTAIN`). The spread is, cell by cell, the lowest and the highest of the three greatest depths; that a truth lies
between them is not claimed, only that these three runs do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.contract import World
from scenarios.flood import outputs
from scenarios.flood.model import Flood
from scenarios.flood.params import Params
from twin.model import Batch

MEMBERS = ("least", "most", "likely")
"""In this order, so that the last one is there when the outputs are written."""


@dataclass
class Ensemble:
    """The model of `scenarios.contract` that runs its members one after the other.

    Attributes:
        open: builds a member by name.
        depths: greatest depth of the members that have ended, m.
        found: what they found.
    """

    params: Params
    world: World
    open: Callable[[str], Flood]
    depths: list[NDArray[np.float32]] = field(default_factory=list)
    found: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.span = self.params.hours * 3600
        self.end = self.span * len(MEMBERS)
        self.now = self.open(MEMBERS[0])

    @property
    def time(self) -> float:
        """Model seconds of all members together."""
        return self.span * len(self.depths) + self.now.time

    def step(self) -> None:
        """A step of the present member, or on to the next."""
        self.now.step()
        if self.now.time >= self.now.end and len(self.depths) < len(MEMBERS) - 1:
            self.depths.append(self.now.best[0].copy())
            facts = self.now.facts()
            self.found.append({name: facts[name] for name in ("flooded_m2", "max_depth_m", "imbalance_share")})
            self.now.close()
            self.now = self.open(MEMBERS[len(self.depths)])

    def fields(self) -> dict[str, NDArray[Any]]:
        """Of the present member."""
        return self.now.fields()

    def checkpoint(self) -> dict[str, NDArray[Any]]:
        """The present member and the depths of those before."""
        found = np.array([list(facts.values()) for facts in self.found], np.float64).reshape(-1, 3)
        return {**self.now.checkpoint(), "members": np.array(self.depths, np.float32).reshape(-1, *self.now.best[0].shape), "found": found}

    def restore(self, saved: dict[str, NDArray[Any]]) -> None:
        """The inverse of `checkpoint`."""
        self.depths = list(saved["members"])
        self.found = [dict(zip(("flooded_m2", "max_depth_m", "imbalance_share"), map(float, row), strict=True)) for row in saved["found"]]
        if self.depths:
            self.now.close()
            self.now = self.open(MEMBERS[len(self.depths)])
        self.now.restore({name: values for name, values in saved.items() if name not in ("members", "found")})

    def close(self) -> None:
        """End the present member."""
        self.now.close()

    def facts(self) -> dict[str, Any]:
        """Of the likely run, with the others' main figures beside them."""
        facts = self.now.facts()
        names = {MEMBERS[i]: found for i, found in enumerate(self.found)}
        names[MEMBERS[len(self.depths)]] = {name: facts[name] for name in ("flooded_m2", "max_depth_m", "imbalance_share")}
        return {**facts, "spread": {"what": "three runs, not a probability", "members": names, "parameters": [row.model_dump() for row in self.params.uncertain]}}

    def frame(self) -> dict[str, Sequence[Batch]]:
        """The likely run's outputs, and the lowest and highest greatest depth of the members that ran."""
        if MEMBERS[len(self.depths)] != "likely":
            self.world.report.note("warned", "run", f"it ended within the {MEMBERS[len(self.depths)]!r} of its three runs; the outputs are of that one")
        out, domain, threshold = self.now.frame(), self.now.domain, self.params.threshold
        depths = np.stack([*self.depths, self.now.best[0]])
        for name, values in (("depth-least", depths.min(axis=0)), ("depth-most", depths.max(axis=0))):
            if name in out:
                out[name] = outputs.raster(domain, np.where(values >= threshold, values, outputs.NODATA), name, "m", name)
        return out

    def page(self, out: Mapping[str, Sequence[Batch]]) -> str:
        """The report of the likely run, with the spread."""
        return self.now.page(out, self.facts())
