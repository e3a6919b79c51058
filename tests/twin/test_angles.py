"""Sines, arc tangents, powers and logarithms against the C library's long doubles, and that what is made of them does not depend on the processor."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from twin import angles, cli

RNG = np.random.default_rng(20)
DEGREES = np.concatenate([RNG.uniform(-540, 540, 1500), RNG.uniform(-1e-7, 1e-7, 50), 90 + RNG.uniform(-1e-8, 1e-8, 50), np.arange(-540, 541, 15.0)])
LONG = np.longdouble
PI = LONG("3.14159265358979323846264338327950288")

needs_digits = pytest.mark.skipif(np.finfo(LONG).nmant < 63, reason="long doubles are no longer than doubles here")


def units(found, exact) -> float:
    """The largest error in units in the last place."""
    found, exact = np.asarray(found), np.asarray(exact)
    assert exact.dtype == LONG
    return float((np.abs(found - exact) / np.spacing(np.abs(exact.astype(np.float64)))).max())


def exact_sines(degrees):
    """What is left of quarters of a turn is exact in binary (IEEE remainder), so that only a small angle is turned into radians."""
    rest = np.array([math.remainder(d, 90.0) for d in degrees.tolist()])
    quarter = np.round((degrees - rest) / 90.0).astype(int) % 4
    s, c = np.sin(rest.astype(LONG) * PI / 180), np.cos(rest.astype(LONG) * PI / 180)
    return np.choose(quarter, [s, c, -s, -c]), np.choose(quarter, [c, -s, -c, s])


@needs_digits
def test_sines_and_cosines():
    for found, exact in zip(angles.sine_cosine(DEGREES), exact_sines(DEGREES), strict=True):
        assert units(found, exact) < 1.5


def test_quarters_of_a_turn_are_exact():
    sine, cosine = angles.sine_cosine([[0, 90, 180, 270], [-90, -180, 360, 450]])
    assert sine.tolist() == [[0, 1, 0, -1], [-1, 0, 0, 1]]
    assert cosine.tolist() == [[1, 0, -1, 0], [0, -1, 1, 0]]


def test_no_number_has_no_sine():
    assert np.isnan(angles.sine_cosine([np.nan, np.inf])).all()


@needs_digits
def test_arc_tangents_all_round():
    y, x = RNG.normal(size=(2, 1500))
    x[:300] *= 1e7
    y[300:400] *= 1e-9
    assert units(angles.arc_tangent(y, x), np.arctan2(y.astype(LONG), x.astype(LONG)) * 180 / PI) < 6


def test_arc_tangents_of_the_axes():
    assert angles.arc_tangent([0, 0, 1, -1, 0], [0, 1, 0, 0, -1]).tolist() == [0, 0, 90, -90, 180]


@needs_digits
def test_powers_and_logarithms():
    w = RNG.uniform(-7, 7, 1500)
    assert units(angles.exponential(w), np.exp(w.astype(LONG))) < 2
    x = np.concatenate([RNG.uniform(1e-3, 600, 1500), 1 + RNG.uniform(-1e-9, 1e-9, 100)])
    assert units(angles.logarithm(x), np.log(x.astype(LONG))) < 2


def test_the_logarithm_of_one():
    assert float(angles.logarithm(1.0)) == 0


def test_many_numbers_are_worked_on_in_parts():
    many = RNG.uniform(-180, 180, 20_001)
    sine, cosine = angles.sine_cosine(many)
    assert np.array_equal(sine[8190:8200], angles.sine_cosine(many[8190:8200])[0])
    assert np.abs(sine**2 + cosine**2 - 1).max() < 1e-15


PLACES = """
import hashlib, numpy as np
from twin import crs, keys
from tiling import partition
from tiling.boxes import enu_frames
rng = np.random.default_rng(3)
lon, lat = rng.uniform(-180, 180, 40_000), rng.uniform(-84, 84, 40_000)
ecef = crs.geodetic_to_ecef(np.column_stack([lon, lat, rng.uniform(-50, 900, 40_000)]))
made = [ecef, crs.ecef_to_geodetic(ecef), enu_frames(lon, lat), crs.enu_frame(113.08, 22.58, 7.0), *partition.unproject(*rng.uniform(size=(2, 40_000))), keys.project(lon, lat)]
print(hashlib.sha256(b"".join(np.ascontiguousarray(one).tobytes() for one in made)).hexdigest())
"""


@pytest.mark.parametrize("without", ["AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR", "AVX2 FMA3"])
def test_places_are_the_same_on_a_lesser_processor(without):
    """NumPy chooses its vector library by what the processor has; on one that has less, or where none of these is had, the case is trivial."""
    here = subprocess.run([sys.executable, "-c", PLACES], capture_output=True, text=True, check=True).stdout
    names = " ".join(name for name in without.split() if np._core._multiarray_umath.__cpu_features__.get(name))
    there = subprocess.run([sys.executable, "-c", PLACES], capture_output=True, text=True, check=True, env=os.environ | {"NPY_DISABLE_CPU_FEATURES": names}).stdout
    assert here == there
    assert len(here.strip()) == 64


@pytest.mark.parametrize(("flags", "kernels"), [("fpu sse2 avx avx2 fma avx512f", "Haswell"), ("fpu sse2 avx", None), (None, None)])
def test_matrices_are_multiplied_in_one_way(tmp_path, monkeypatch, flags, kernels):
    monkeypatch.setattr(cli, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "")
    monkeypatch.delenv("OPENBLAS_CORETYPE")
    if flags:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags} bmi2\n")
    cli.plain_products()
    assert os.environ.get("OPENBLAS_CORETYPE") == kernels


def test_who_names_kernels_keeps_them(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    cli.plain_products()
    assert os.environ["OPENBLAS_CORETYPE"] == "Prescott"
