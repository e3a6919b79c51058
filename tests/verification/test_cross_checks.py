"""The flood solver beside other programs: landlab, an ODE solver, a routing of ponds; figures in `docs/verification.md`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import cross_cases as cases


@pytest.mark.parametrize(("scheme", "limits"), [("inertial", (0.10, 0.10)), ("hllc", (0.08, 0.07)), ("hllc2", (0.11, 0.07))])
def test_rain_in_a_valley_beside_landlab(scheme: str, limits: tuple[float, float]) -> None:
    """At 10 m landlab itself is 8.4% and 5.7% from the solution that finer cells tend to."""
    result = cases.rain_beside_landlab(scheme)
    assert result["error"][0] < limits[0]
    assert result["error"][1] < limits[1]
    assert abs(result["mass"]) < 1e-6


@pytest.mark.parametrize(("scheme", "limits"), [("inertial", (0.10, 0.085)), ("hllc", (0.085, 0.05)), ("hllc2", (0.06, 0.04))])
def test_rain_in_a_valley_beside_cells_of_a_quarter(scheme: str, limits: tuple[float, float]) -> None:
    """Bed steps of ten times the depth, curved both ways: the second order lost a quarter of the film here until its slopes' own steps were seen to."""
    apart = cases.rain_beside_finer(scheme)
    assert apart[0] < limits[0]
    assert apart[1] < limits[1]


@pytest.mark.parametrize(("case", "scheme", "limit"), [("M1", "inertial", 0.015), ("M1", "hllc", 1e-3), ("M1", "hllc2", 5e-4), ("M2", "inertial", 0.008), ("M2", "hllc", 1.5e-3),
                                                       ("M2", "hllc2", 2e-4), ("S2", "hllc", 5e-4), ("S2", "hllc2", 2e-4)])  # fmt: skip
def test_gradually_varied_flow(case: str, scheme: str, limit: float) -> None:
    """The inertial scheme leaves out the convective term, hence its error of the order of the Froude number squared (0.13 and 0.3)."""
    assert cases.backwater(scheme, case)["error"] < limit


@pytest.mark.parametrize("scheme", ["inertial", pytest.param("hllc", marks=pytest.mark.slow)])
def test_ponds_fill_and_spill(shared_data: Path, scheme: str) -> None:
    """After 48 h every full pond stands within 2.5 cm of the sill that a routing on the same ground finds (it is still spilling), the others below theirs."""
    result = cases.ponds(scheme, shared_data / "flood" / "ea_test2")
    room, depth = result["sill"] - result["bed"][result["at"]], result["depth"]
    full = depth > 0.9 * room
    assert full[[0, 1, 2, 3, 5, 6, 7]].all()
    assert not full[[4, 8, 9, 10, 11, 13, 14, 15]].any()
    assert ((result["level"] - result["sill"])[full & (room > 0)] < 0.025).all()
    assert (result["level"] - result["sill"])[full & (room > 0)].min() > -0.005
    assert (depth[[8, 9, 12, 13, 14, 15]] < 0.001).all(), "what lies beyond the water's reach stays dry"
    assert abs(result["mass"]) < 1e-6
    assert result["added"] == pytest.approx((5 + 5) * 60 * 10 + 76 * 60 * 20, rel=1e-3)
