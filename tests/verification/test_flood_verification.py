"""The flood solver against closed forms and published benchmarks; `docs/verification.md` shows the figures and plots."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import flood_cases as cases

FULL = ("hllc", "hllc2")


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("scheme", [*FULL, "inertial"])
def test_a_lake_with_islands_and_buildings_stays_at_rest(scheme: str, dtype: type, limit: float) -> None:
    assert cases.lake(scheme, dtype) < limit


@pytest.mark.parametrize(("scheme", "right", "limit"), [("hllc", 1.0, 0.008), ("hllc", 0.0, 0.010), ("hllc2", 1.0, 0.0015), ("hllc2", 0.0, 0.0020)])
def test_dam_break(scheme: str, right: float, limit: float) -> None:
    result = cases.dam_break(scheme, right)
    assert result["error"] <= limit
    assert abs(result["mass"]) < 1e-7


@pytest.mark.parametrize("scheme", FULL)
def test_dam_break_converges(scheme: str) -> None:
    coarse, fine = (cases.dam_break(scheme, 1.0, cell)["error"] for cell in (10.0, 5.0))
    assert np.log2(coarse / fine) > (0.6 if scheme == "hllc" else 0.75), "a shock allows order 1 at most"


@pytest.mark.parametrize(("scheme", "case", "limit"), [("hllc", "subcritical", 2e-3), ("hllc2", "subcritical", 2e-4), ("hllc", "transcritical", 6e-3),
                                                       ("hllc2", "transcritical", 1e-3), ("hllc", "shock", 1e-2), ("hllc2", "shock", 5e-3)])  # fmt: skip
def test_flow_over_a_bump(scheme: str, case: str, limit: float) -> None:
    assert cases.bump(scheme, case)["error"] < limit


@pytest.mark.parametrize(("scheme", "limit"), [("hllc", 2e-3), ("hllc2", 2e-4)])
def test_macdonald_channel_with_friction(scheme: str, limit: float) -> None:
    assert cases.macdonald(scheme)["error"] < limit


@pytest.mark.parametrize(("scheme", "limit"), [("hllc", 0.12), ("hllc2", 0.02)])
def test_thacker_planar_surface_after_one_period(scheme: str, limit: float) -> None:
    result = cases.thacker(scheme)
    assert result["error"] < limit
    assert abs(result["mass"]) < 1e-7


@pytest.mark.parametrize("scheme", FULL)
@pytest.mark.parametrize("slope", [0.005, 0.01, 0.05, 0.3])
def test_rain_on_a_plane_at_production_resolution(scheme: str, slope: float) -> None:
    """At 5 m the bed step is 0.5 to 100 times the depth."""
    result = cases.rain_on_plane(scheme, slope)
    assert result["error"] < 0.03
    assert abs(result["mass"]) < 1e-6


@pytest.mark.parametrize("scheme", FULL)
def test_ea_test_3_water_overtops_and_stands_at_the_published_levels(scheme: str, shared_data: Path) -> None:
    result = cases.ea_test3(scheme, shared_data / "flood" / "ea_test3")
    assert result["p1"] == pytest.approx(9.985, abs=0.02)
    assert result["p2"] == pytest.approx(9.815, abs=0.02)
    assert abs(result["mass"]) < 1e-6


def reference(folder: Path) -> np.ndarray:
    """LISFLOOD-FP 8.0 DG2 at 5 m: time (s) and depth at the six points."""
    return np.loadtxt(folder / "lisflood_fp8_dg2_5m_selected.csv", delimiter=",", skiprows=2)


def test_ea_test_4_first_hour_at_10_m(shared_data: Path) -> None:
    folder = shared_data / "flood" / "ea_test4"
    series, known = cases.ea_test4("inertial", folder, end=3600, cell=10.0)["series"], reference(folder)
    row = known[np.argmin(np.abs(known[:, 0] - 3600))]
    assert np.abs(series[-1, 1:4] - row[1:4]).max() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "depth", "minutes"), [("inertial", 0.001, 1.0), ("hllc", 0.008, 4.0)])
def test_ea_test_4_against_lisflood_dg2(shared_data: Path, scheme: str, depth: float, minutes: float) -> None:
    folder = shared_data / "flood" / "ea_test4"
    error, late, mass = ea4_errors(cases.ea_test4(scheme, folder), reference(folder))
    assert error < depth
    assert late <= minutes
    assert abs(mass) < 1e-7


def ea4_errors(result: dict, known: np.ndarray) -> tuple[float, float, float]:
    """(worst depth difference at 2 h in m, worst difference of the time to reach 2 cm in min, volume error)."""
    series = result["series"]
    row = known[np.argmin(np.abs(known[:, 0] - 7200))]
    now = series[np.argmin(np.abs(series[:, 0] - 7200))]
    late = 0.0
    for point in range(1, 7):
        after = np.argmax(known[:, point] >= 0.02)
        before = known[after - 1] if after else known[0]
        mine = float(series[np.argmax(series[:, point] >= 0.02), 0])
        low, high = float(before[0]), float(known[after, 0])  # the reference reached 2 cm between these rows
        late = max(late, (low - mine) / 60, (mine - high) / 60)
    return float(np.abs(now[1:] - row[1:]).max()), late, result["mass"]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["hllc", "inertial"])
def test_newcastle_city_grid_keeps_its_rain(shared_data: Path, scheme: str) -> None:
    result = cases.newcastle(scheme, shared_data / "flood" / "newcastle_centre", end=300.0)
    assert abs(result["mass"]) < 1e-5
    assert result["lowest"] > -1e-5
