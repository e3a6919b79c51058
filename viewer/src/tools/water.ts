/** The flood preview: a level sheet of water about a clicked point. A look at the relief, no simulation. */
import { groundHeights } from "../cesium/looking";
import { painted, type Overlay } from "../cesium/overlay";
import { bathtub } from "../core/bathtub";
import { edges, gridAround, middles } from "../core/grid";
import type { Kind, Preview, Task } from "./types";

/** Cells along a side: 8 m each at 500 m around. */
const SIDE = 125;
/** Metres of water over the clicked point at first. */
const FIRST = 1;
/** Shallow to deep: up to so many metres, red, green, blue, alpha. Light to dark, so that it reads without hues. */
const DEPTHS = [[0.5, 190, 222, 240, 170], [1, 130, 186, 224, 185], [2, 70, 140, 200, 195], [4, 30, 92, 165, 205], [Infinity, 12, 50, 115, 215]] as const;

export const WATER = { flood: { least: 1, ends: true, work: preview } } as const satisfies Record<string, Kind>;

async function preview({ app, widget, spots: [spot], settings: { basin }, overlay }: Task): Promise<Preview> {
  const grid = gridAround(spot!, basin, SIDE);
  // Levels above a datum need the server; without it they are said above the ellipsoid.
  const asked = app.api.position(spot!.lon, spot!.lat).then(({ datum }) => datum, () => null);
  const heights = Float64Array.from(await groundHeights(widget, middles(grid), grid.cell));
  const from = (SIDE * SIDE - 1) / 2;
  const level = (Number.isFinite(heights[from]) ? heights[from]! : spot!.height) + FIRST;
  return filled({ kind: "flood", grid, heights, from, level, datum: await asked }, level, overlay);
}

/** The preview at another level, painted. */
export function filled(before: Omit<Preview, "pool">, level: number, overlay: Overlay): Preview {
  const { grid, heights, from } = before;
  const pool = bathtub({ ...grid, area: grid.cell * grid.cell, heights, from }, level);
  overlay.show(edges(grid), painted(grid.columns, grid.rows, 1, (index) => {
    const depth = pool.depth[index]!;
    if (depth <= 0) return [0, 0, 0, 0];
    const [, ...colour] = DEPTHS.find(([limit]) => depth <= limit)!;
    return colour;
  }), false);
  return { ...before, level, pool };
}
