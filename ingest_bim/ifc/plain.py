"""Elements made of plain bodies alone (`ingest_bim.geometry.plain`), with their looks, in the reading process: no kernel, no pipe."""

from __future__ import annotations

from typing import Any

import numpy as np

from ingest_bim.geometry.faces import Style, default_look, material_look, style_of
from ingest_bim.geometry.host import PLAIN
from ingest_bim.geometry.plain import Placed, Plain
from ingest_bim.geometry.polygons import NotEvaluated
from ingest_bim.ifc.geometry import Shape
from ingest_bim.ifc.sharing import Plan
from ingest_bim.ifc.step_access import DAMAGED
from ingest_bim.ifc.step_scan import StepText
from ingest_bim.ifc.structure import Structure


class PlainShapes:
    """Shapes elements by step id; called by the ladder like any other engine."""

    def __init__(self, model: Any, structure: Structure, text: StepText, plan: Plan, length: float) -> None:
        self.model, self.structure, self.text, self.plan = model, structure, text, plan
        self.bodies = Plain(text, model.by_id, length)
        self.kinds = {e.id(): e.is_a() for e in structure.elements if e.id() in plan.bodies}
        self._looks: dict[tuple[int, ...], Style | None] = {}
        self._written: dict[bytes, Style | None] = {}

    def __call__(self, step: int) -> tuple[str, Any]:
        """("ok", Shape) or ("failed", reason), as an outcome of the geometry process."""
        items = self.plan.bodies.get(step)
        if items is None:
            return "failed", "not one body representation with a place"
        try:
            return "ok", self._shape(step, list(self.bodies.placed(items)))
        except NotEvaluated as error:
            return "failed", str(error)
        except DAMAGED as error:
            return "failed", f"{type(error).__name__}: {error}"

    def _shape(self, step: int, items: list[Placed]) -> Shape:
        styles: dict[Style, int] = {}
        made = [(*self.bodies.mesh(item), styles.setdefault(self._look(step, item), len(styles))) for item in items]
        if not made:
            raise NotEvaluated("no body")
        matrix = self.plan.world[step]
        if len(made) == 1:
            positions, triangles, row = made[0]
            return Shape(positions, triangles, np.full(len(triangles), row, np.int32), list(styles), matrix, PLAIN)
        starts = np.cumsum([0, *(len(positions) for positions, _, _ in made[:-1])])
        joined = np.concatenate([triangles + np.int32(start) for (_, triangles, _), start in zip(made, starts, strict=True)])
        rows = np.repeat([row for _, _, row in made], [len(triangles) for _, triangles, _ in made]).astype(np.int32)
        return Shape(np.concatenate([positions for positions, _, _ in made]), joined, rows, list(styles), matrix, PLAIN)

    def _look(self, step: int, item: Placed) -> Style:
        """The item's own style, else that of a use of its map, of the element's material, of its type's; else the class's usual one."""
        kind = self.structure.types.get(step)
        for names in ((item.item, *item.outer), (-step,), (-kind.id() if kind is not None else 0,)):
            if names not in self._looks:
                self._looks[names] = self._material(-names[0]) if names[0] <= 0 else self._styled(names)
            found = self._looks[names]
            if found is not None:
                return found
        return default_look(self.kinds[step])

    def _styled(self, names: tuple[int, ...]) -> Style | None:
        found = (self._style(name) for name in names if self.text.is_styled(name))
        return next((style for style in found if style is not None), None)

    def _style(self, name: int) -> Style | None:
        """Of a styled item: many exporters style each by itself, and nearly all in a few ways."""
        written = self.text.style(name)
        if written is None:
            return style_of(self.model.by_id(name))
        if written not in self._written:
            self._written[written] = style_of(self.model.by_id(name))
        return self._written[written]

    def _material(self, owner: int) -> Style | None:
        materials = self.structure.materials.get(owner, ())
        return material_look(self.model.by_id(materials[0])) if len(materials) == 1 else None
