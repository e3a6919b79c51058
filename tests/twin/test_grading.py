"""Grades by rule: one case a grade, and what tips it."""

from __future__ import annotations

from typing import Any

import pytest

from twin import grading
from twin.errors import BadOption


@pytest.mark.parametrize(("kind", "facts", "expected"), [
    ("terrain", {}, "CIM1"), ("raster", {}, "CIM1"), ("vector", {}, "CIM1"), ("points", {}, "CIM1"), ("blocks", {}, "CIM2"), ("table", {}, ""),
    ("mesh", {}, ""), ("mesh", {"content": {"objects": 1}}, "CIM2"), ("mesh", {"content": {"terrain": 3}}, "CIM1"),
    ("mesh", {"content": {"objects": 1, "textured": 1}}, "CIM3"), ("mesh", {"content": {"objects": 9, "roofs": 2}}, "CIM3"),
    ("mesh", {"content": {"objects": 9, "roofs": 2, "openings": 1}}, "CIM4"), ("mesh", {"content": {"objects": 9, "spaces": 1, "openings": 4}}, "CIM5"),
    ("mesh", {"classes": {"IfcWall": 4, "IfcSpace": 2}}, "CIM6"), ("mesh", {"classes": {"IfcSpace": 2, "IfcSite": 1}}, "CIM5"),
    ("mesh", {"classes": {"IfcWall": 4, "IfcMechanicalFastener": 2}}, "CIM6"),
    ("mesh", {"classes": {"IfcWall": 4, "IfcMechanicalFastener": 2}, "content": {"complete": 2}}, "CIM6"),
    ("mesh", {"classes": {"IfcWall": 4, "IfcMechanicalFastener": 2}, "content": {"complete": 3}}, "CIM7"),
    ("mesh", {"content": {"grades": {"CIM1": 90, "CIM2": 3, "CIM3": 3}}}, "CIM3"), ("mesh", {"content": {"grades": {"CIM1": 1}}}, "CIM1"),
])  # fmt: skip
def test_grade(kind: str, facts: dict[str, Any], expected: str) -> None:
    found = grading.grade(kind, facts)
    assert found.value == expected and found.reasons
    assert found.to_json()["name"] == grading.NAMES.get(expected, "")


@pytest.mark.parametrize(("lod", "has", "expected"), [
    ("0", {}, "CIM2"), ("1.3", {}, "CIM2"), ("2.2", {}, "CIM3"), ("3", {}, "CIM4"), ("4", {}, "CIM5"), ("", {}, "CIM2"),
    ("1", {"textured": True}, "CIM3"), ("2", {"openings": True}, "CIM4"), ("2", {"spaces": True}, "CIM5"), ("2", {"terrain": True}, "CIM1"),
])  # fmt: skip
def test_grade_of_an_object(lod: str, has: dict[str, bool], expected: str) -> None:
    assert grading.of_object(lod, **has) == expected


def test_a_given_grade_is_checked() -> None:
    assert grading.check(" cim4 ") == "CIM4" and grading.check("") == ""
    with pytest.raises(BadOption, match="CIM9"):
        grading.check("CIM9")
