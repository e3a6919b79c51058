"""Makes landlab_rain.csv: rain on an uneven valley by landlab's OverlandFlow, for the cross-check in `test_cross_checks.py`.

Run in an environment with landlab 2.11 (on Python 3.11 with requireit 0.8.0): ``python landlab_reference.py``. OverlandFlow is the local
inertial scheme of de Almeida et al. (2012), doi:10.1029/2011WR011570, by other authors and in other code; its closed outermost nodes
are no cells, so the valley is laid with a rim of one node around it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

CELLS, CELL, FRICTION, RAIN, TIMES = 48, 10.0, 0.04, 50e-3 / 3600, (900.0, 1800.0)


def valley(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Metres: a valley that falls to the middle of its east side, with knolls and hollows of 15 cm."""
    return np.asarray(0.004 * (480 - x) + 0.01 * np.abs(y - 240) + 0.15 * np.sin(x / 40) * np.cos(y / 30))


def main() -> None:
    """Depths (m) of all cells, a row of the grid a line, the times below each other."""
    from landlab import RasterModelGrid  # noqa: PLC0415  only this script needs it
    from landlab.components import OverlandFlow  # noqa: PLC0415

    grid = RasterModelGrid((CELLS + 2, CELLS + 2), xy_spacing=CELL, xy_of_lower_left=(-CELL / 2, -CELL / 2))
    grid.add_field("topographic__elevation", valley(grid.x_of_node, grid.y_of_node), at="node")
    grid.add_zeros("surface_water__depth", at="node")
    grid.set_closed_boundaries_at_grid_edges(True, True, True, True)  # noqa: FBT003  its signature
    flow = OverlandFlow(grid, mannings_n=FRICTION, steep_slopes=False, rainfall_intensity=RAIN, alpha=0.5, h_init=1e-7)
    time, found = 0.0, []
    for end in TIMES:
        while time < end - 1e-9:
            step = min(flow.calc_time_step(), end - time, 2.0)
            flow.overland_flow(step)
            time += step
        found.append(grid.at_node["surface_water__depth"].reshape(CELLS + 2, CELLS + 2)[1:-1, 1:-1].copy())
        print(f"{end:g} s: {found[-1].sum() * CELL**2:.3f} m3 of {RAIN * end * (CELLS * CELL) ** 2:.3f}; deepest {found[-1].max():.3f} m")
    np.savetxt(Path(__file__).with_name("landlab_rain.csv"), np.concatenate(found), fmt="%.4g", delimiter=",")


if __name__ == "__main__":
    main()
