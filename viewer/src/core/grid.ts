/** Even grids of cells over the ground, row 0 in the north as in a picture: what viewshed, flood preview and slope are worked out on. */
import { toEnu, type Spot } from "./measure";

export interface Grid {
  columns: number;
  rows: number;
  /** Side of a cell, metres. */
  cell: number;
  /** Outer edges, degrees. */
  west: number;
  north: number;
  /** Degrees that a cell spans. */
  dLon: number;
  dLat: number;
}

/** A square of `side` × `side` cells around a spot, from which its edges are `radius` metres away. */
export function gridAround({ lon, lat, height }: Spot, radius: number, side: number): Grid {
  const cell = (2 * radius) / side;
  const step = 1e-4;
  const [east] = toEnu({ lon, lat, height }, { lon: lon + step, lat, height });
  const [, north] = toEnu({ lon, lat, height }, { lon, lat: lat + step, height });
  const [dLon, dLat] = [(cell * step) / east, (cell * step) / north];
  return { columns: side, rows: side, cell, west: lon - (dLon * side) / 2, north: lat + (dLat * side) / 2, dLon, dLat };
}

/** Middle of every cell, row by row. */
export function middles({ columns, rows, west, north, dLon, dLat }: Grid): { lon: number; lat: number }[] {
  return Array.from({ length: columns * rows }, (_, i) =>
    ({ lon: west + ((i % columns) + 0.5) * dLon, lat: north - (Math.floor(i / columns) + 0.5) * dLat }));
}

/** West, south, east, north in degrees. */
export const edges = ({ columns, rows, west, north, dLon, dLat }: Grid): [number, number, number, number] =>
  [west, north - rows * dLat, west + columns * dLon, north];

/**
 * Values of a coarser grid over the same ground at the middles of a finer one, bilinear; a corner without a value (NaN) is left out of the mean.
 * The source's outer half cells are constant.
 */
export function refine(values: ArrayLike<number>, from: Grid, to: Grid): Float64Array {
  const made = new Float64Array(to.columns * to.rows);
  for (let i = 0; i < made.length; i += 1) {
    const column = clamp((((i % to.columns) + 0.5) * from.columns) / to.columns - 0.5, from.columns - 1);
    const row = clamp(((Math.floor(i / to.columns) + 0.5) * from.rows) / to.rows - 0.5, from.rows - 1);
    const [c, r] = [Math.min(Math.floor(column), Math.max(0, from.columns - 2)), Math.min(Math.floor(row), Math.max(0, from.rows - 2))];
    const [u, v] = [column - c, row - r];
    let [sum, weight] = [0, 0];
    for (const [dc, dr, w] of [[0, 0, (1 - u) * (1 - v)], [1, 0, u * (1 - v)], [0, 1, (1 - u) * v], [1, 1, u * v]] as const) {
      const value = w > 0 ? values[(r + dr) * from.columns + c + dc]! : NaN;
      if (!Number.isFinite(value)) continue;
      sum += w * value;
      weight += w;
    }
    made[i] = weight > 0 ? sum / weight : NaN;
  }
  return made;
}

const clamp = (value: number, most: number): number => Math.min(most, Math.max(0, value));

export interface Slope {
  /** Of the steepest way, degrees from level. */
  angle: number;
  /** The same as rise over level distance, percent. */
  percent: number;
  /** Where the ground falls to, degrees clockwise from north; null on level ground. */
  aspect: number | null;
}

/** Slope in the middle of 3 × 3 heights, `spacing` metres apart, rows from the north (Horn 1981, Proc. IEEE 69). Null where one is missing. */
export function slopeOf(heights: readonly number[], spacing: number): Slope | null {
  if (heights.length !== 9 || !heights.every(Number.isFinite)) return null;
  const [nw, n, ne, w, , e, sw, s, se] = heights as [number, number, number, number, number, number, number, number, number];
  const east = (ne + 2 * e + se - nw - 2 * w - sw) / (8 * spacing);
  const north = (nw + 2 * n + ne - sw - 2 * s - se) / (8 * spacing);
  const steep = Math.hypot(east, north);
  const aspect = steep > 1e-9 ? ((Math.atan2(-east, -north) * 180) / Math.PI + 360) % 360 : null;
  return { angle: (Math.atan(steep) * 180) / Math.PI, percent: steep * 100, aspect };
}
