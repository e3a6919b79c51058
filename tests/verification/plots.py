"""Draw the figures of docs/verification.md: `python tests/verification/plots.py [shared flood folder [closed|smooth|published|merewether]]`. Figures are measured anew and printed."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).parent)]

import cross_cases as cross  # noqa: E402
import flood_cases as cases  # noqa: E402
import more_cases as more  # noqa: E402

OUT = Path(__file__).resolve().parents[2] / "docs" / "images" / "verification"
NAMES = {"hllc": "HLLC, first order", "hllc2": "HLLC, second order", "inertial": "local inertial"}
STYLE = {"hllc": {"color": "#d1495b", "lw": 1.1}, "hllc2": {"color": "#1f5a9e", "lw": 1.1}, "inertial": {"color": "#5b8c5a", "lw": 1.1}}


def save(figure: plt.Figure, name: str) -> None:
    """Write one picture."""
    figure.tight_layout()
    figure.savefig(OUT / f"{name}.png", dpi=80)
    plt.close(figure)


def profile(ax: plt.Axes, title: str, results: dict[str, dict]) -> None:
    """Depth or level over x beside the exact one."""
    first = next(iter(results.values()))
    bed = first.get("z", np.zeros_like(first["x"]))
    wet = np.where(first["exact"] > 0, first["exact"] + bed, np.nan)
    ax.plot(first["x"], wet, "k", lw=2.6, alpha=0.35, label="exact")
    if "z" in first:
        ax.fill_between(first["x"], bed, bed.min(), color="#b9a48a", lw=0)
    for scheme, result in results.items():
        ax.plot(result["x"], np.where(result["h"] > 1e-4, result["h"] + bed, np.nan), label=f"{NAMES[scheme]}: {result['error']:.2%}", **STYLE[scheme])
        print(f"{title} | {scheme} | {result['error']:.3%} | mass {result.get('mass', float('nan')):.1e}")
    ax.set_title(title, fontsize=9)
    ax.set_xlabel("x (m)", fontsize=8)
    ax.set_ylabel("level (m)", fontsize=8)
    ax.tick_params(labelsize=7)
    ax.legend(fontsize=7)


def closed_forms() -> None:
    """Dam breaks, bumps, channel, basin, planes."""
    full = ("hllc", "hllc2")
    figure, axes = plt.subplots(1, 2, figsize=(9, 3))
    profile(axes[0], "Stoker: 6 m / 1 m, 60 s", {s: cases.dam_break(s, 1.0) for s in full})
    profile(axes[1], "Ritter: 6 m / dry, 60 s", {s: cases.dam_break(s, 0.0) for s in full})
    save(figure, "dam_break")
    figure, axes = plt.subplots(1, 3, figsize=(12, 3))
    for ax, case in zip(axes, ("subcritical", "transcritical", "shock"), strict=True):
        profile(ax, f"Bump, {case}", {s: cases.bump(s, case) for s in full})
    save(figure, "bump")
    figure, axes = plt.subplots(1, 2, figsize=(9, 3))
    profile(axes[0], "MacDonald channel with friction", {s: cases.macdonald(s) for s in full})
    profile(axes[1], "Thacker, one period, middle row", {s: cases.thacker(s) for s in full})
    save(figure, "macdonald_thacker")
    figure, axes = plt.subplots(1, 3, figsize=(12, 3))
    for ax, slope in zip(axes, (0.005, 0.05, 0.3), strict=True):
        profile(ax, f"Rain 100 mm/h on a plane of {slope:.1%}, 5 m cells (depth)", {s: cases.rain_on_plane(s, slope) for s in full})
        ax.set_ylabel("depth (m)", fontsize=8)
    save(figure, "rain_on_plane")


def published(folder: Path) -> None:
    """EA tests 3 and 4 (4 with the inertial scheme and first-order HLLC)."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.4))
    for scheme in ("hllc", "hllc2"):
        series = cases.ea_test3(scheme, folder / "ea_test3")["series"]
        for column, dash in ((1, "-"), (2, "--")):
            axes[0].plot(series[:, 0], series[:, column], dash, label=f"{NAMES[scheme]}, P{column}: {series[-1, column]:.3f} m", **STYLE[scheme])
    for level in (9.985, 9.815):
        axes[0].axhline(level, color="k", lw=2.6, alpha=0.25)
    axes[0].set_title("EA test 3: levels (grey: published final levels)", fontsize=9)
    known = np.loadtxt(folder / "ea_test4" / "lisflood_fp8_dg2_5m_selected.csv", delimiter=",", skiprows=2)
    for scheme in ("inertial", "hllc"):
        result = cases.ea_test4(scheme, folder / "ea_test4")
        for point in range(1, 7):
            axes[1].plot(result["series"][:, 0] / 60, result["series"][:, point], label=NAMES[scheme] if point == 1 else None, **STYLE[scheme])
    axes[1].plot(known[known[:, 0] < 7300, 0] / 60, known[known[:, 0] < 7300, 1:], "k.", ms=4)
    axes[1].set_title("EA test 4: depth at six points (dots: LISFLOOD-FP DG2)", fontsize=9)
    for ax, label in zip(axes, ("time (s)", "time (min)"), strict=True):
        ax.set_xlabel(label, fontsize=8)
        ax.legend(fontsize=7)
        ax.tick_params(labelsize=7)
    save(figure, "ea")


def smooth_forms() -> None:
    """Smooth wave with its order, radial basin, channel with rain."""
    full, cells = ("hllc", "hllc2"), np.array([100, 200, 400, 800])
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.2))
    for scheme in full:
        errors = [more.simple_wave(scheme, int(n))["error"] for n in cells]
        order = np.log2(errors[-2] / errors[-1])
        print(f"simple wave | {scheme} | {errors}")
        axes[0].loglog(1000 / cells, errors, "o-", label=f"{NAMES[scheme]}: order {order:.2f}", **STYLE[scheme])
    axes[0].set_title("Smooth wave: L1 error over the cell", fontsize=9)
    axes[0].set_xlabel("cell (m)", fontsize=8)
    axes[0].legend(fontsize=7)
    axes[0].tick_params(labelsize=7)
    profile(axes[1], "Thacker radial, one period, middle row", {s: more.thacker_radial(s) for s in full})
    profile(axes[2], "MacDonald channel with rain", {s: more.macdonald_rain(s) for s in full})
    save(figure, "smooth")


def cross_checks(folder: Path) -> None:
    """Rain in a valley beside landlab, backwater curves, ponds beside their sills."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.4))
    fine = cross.rain_in_the_valley("hllc", 4)[0][-1]
    place = (np.arange(cross.CELLS) + 0.5) * cross.CELL
    for scheme, name in NAMES.items():
        result = cross.rain_beside_landlab(scheme)
        print("valley", scheme, result["error"], cross.rain_beside_finer(scheme))
        axes[0].semilogy(place, result["h"][-1][:, 20], label=name, **STYLE[scheme])
    axes[0].semilogy(place, result["known"][-1][:, 20], "k.", ms=4, label="landlab")
    axes[0].semilogy(place, fine[:, 20], "k-", lw=0.7, label="first order, cells of 2.5 m")
    axes[0].set_title("Rain in a valley, 30 min: depth across it (m)", fontsize=9)
    axes[0].set_xlabel("y (m)", fontsize=8)
    for case in ("M1", "M2", "S2"):
        for scheme in NAMES if case != "S2" else ("hllc", "hllc2"):
            result = cross.backwater(scheme, case)
            print("backwater", case, scheme, result["error"], result["largest"])
            axes[1].plot(result["x"][3:], result["h"][3:], label=NAMES[scheme] if case == "M1" else None, **STYLE[scheme])
        axes[1].plot(result["x"][::12], result["exact"][::12], "k.", ms=4, label="Runge-Kutta" if case == "M1" else None)
    axes[1].set_title("Backwater M1, M2, S2: depth (m)", fontsize=9)
    axes[1].set_xlabel("x (m)", fontsize=8)
    for scheme, mark in (("inertial", "bo"), ("hllc", "r+")):
        result = cross.ponds(scheme, folder / "ea_test2")
        print("ponds", scheme, np.round(result["level"] - result["sill"], 3), result["mass"])
        axes[2].plot(np.arange(1, 17), result["depth"], mark, mfc="none", label=NAMES[scheme])
    axes[2].plot(np.arange(1, 17), result["sill"] - result["bed"][result["at"]], "k_", ms=10, label="sill of the pond")
    axes[2].set_title("Sixteen ponds after 48 h: depth at the points (m)", fontsize=9)
    axes[2].set_xlabel("point", fontsize=8)
    for ax in axes:
        ax.legend(fontsize=7)
        ax.tick_params(labelsize=7)
    save(figure, "cross")


def merewether(folder: Path) -> None:
    """Depth in the street and levels at the five points."""
    result = more.merewether("hllc", folder)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), width_ratios=(1, 1.3))
    picture = axes[0].imshow(np.where(result["h"] > 0.02, result["h"], np.nan), cmap="Blues", vmin=0, vmax=2)
    figure.colorbar(picture, ax=axes[0], label="depth (m)")
    axes[0].set_title("Merewether at 1 m, steady", fontsize=9)
    place = np.argsort(result["id"])
    for name, mark in (("observed", "ks"), ("tuflow", "g^"), ("level", "ro")):
        axes[1].plot(result["id"][place], result[name][place], mark, mfc="none" if name != "level" else "r", ms=8, label="computed" if name == "level" else name)
    print("merewether", result["id"], result["level"] - result["observed"], result["level"] - result["tuflow"], result["mass"])
    axes[1].set_title("Levels at the five points (m)", fontsize=9)
    axes[1].set_xlabel("point", fontsize=8)
    axes[1].legend(fontsize=8)
    save(figure, "merewether")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    chosen = sys.argv[2] if len(sys.argv) > 2 else "all"
    if chosen in ("all", "closed"):
        closed_forms()
    if chosen in ("all", "smooth"):
        smooth_forms()
    if len(sys.argv) > 1 and chosen in ("all", "published"):
        published(Path(sys.argv[1]))
    if len(sys.argv) > 1 and chosen in ("all", "cross"):
        cross_checks(Path(sys.argv[1]))
    if len(sys.argv) > 1 and chosen in ("all", "merewether"):
        merewether(Path(sys.argv[1]).parent / "dem_flood" / "merewether")
