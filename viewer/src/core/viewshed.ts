/**
 * What is seen from a point over a field of heights. Every cell is looked at along the straight line from the eye, past each cell between;
 * heights are above the tangent plane of the eye's place, so the earth's curvature is in them. Refraction is left out.
 */
export const HIDDEN = 0;
export const SEEN = 1;
/** Out of reach, out of the sector, or without a height. */
export const OUTSIDE = 2;

export interface Field {
  columns: number;
  rows: number;
  /** Side of a cell, metres. */
  cell: number;
  /** Metres up, row by row from the north; NaN where nothing is known. */
  heights: ArrayLike<number>;
}
export interface Eye {
  /** In cells from the field's north-west corner: 2.5 is the middle of the third. */
  column: number;
  row: number;
  /** Metres up, in the field's heights. */
  up: number;
}
export interface Reach {
  /** Metres. */
  radius: number;
  /** Middle of the sector, degrees clockwise from north, and its whole width; 360 is all round. */
  heading: number;
  width: number;
}
export interface Viewshed {
  /** HIDDEN, SEEN or OUTSIDE by cell. */
  state: Uint8Array;
  /** Square metres seen from above. */
  seen: number;
  total: number;
  /** Cells in reach without a height. */
  unknown: number;
}

export function viewshed(field: Field, eye: Eye, reach: Reach): Viewshed {
  const { columns, rows, cell, heights } = field;
  const state = new Uint8Array(columns * rows).fill(OUTSIDE);
  let [seen, total, unknown] = [0, 0, 0];
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const [x, y] = [column + 0.5 - eye.column, row + 0.5 - eye.row];
      if (!within(x * cell, y * cell, reach)) continue;
      const at = row * columns + column;
      if (!Number.isFinite(heights[at])) {
        unknown += 1;
        continue;
      }
      total += 1;
      state[at] = clear(field, eye, column, row) ? SEEN : HIDDEN;
      seen += state[at]!;
    }
  }
  return { state, seen: seen * cell * cell, total: total * cell * cell, unknown };
}

/** Whether a place `x` metres east and `y` metres south of the eye is in reach. */
function within(x: number, y: number, { radius, heading, width }: Reach): boolean {
  if (Math.hypot(x, y) > radius) return false;
  if (width >= 360) return true;
  const bearing = (Math.atan2(x, -y) * 180) / Math.PI;
  const off = Math.abs(((((bearing - heading) % 360) + 540) % 360) - 180);
  return off <= width / 2;
}

/**
 * The line of sight crosses the middles of the columns (or rows, whichever are more) between eye and cell; the height there is
 * that of the two neighbours, in proportion. The eye's own cell and its neighbour stand in nobody's way.
 */
function clear(field: Field, eye: Eye, column: number, row: number): boolean {
  const [dx, dy] = [column + 0.5 - eye.column, row + 0.5 - eye.row];
  const wide = Math.abs(dx) >= Math.abs(dy);
  const [long, from, start] = wide ? [dx, column, eye.column] : [dy, row, eye.row];
  const rise = field.heights[row * field.columns + column]! - eye.up;
  const back = long > 0 ? -1 : 1;
  for (let k = from + back; (k + 0.5 - start) * -back > 1; k += back) {
    const t = (k + 0.5 - start) / long;
    const across = (wide ? eye.row + dy * t : eye.column + dx * t) - 0.5;
    if (between(field, wide, k, across) > eye.up + rise * t + 1e-9) return false;
  }
  return true;
}

/** Height in the middle of column (or row) `k` at a fractional place across. */
function between({ columns, rows, heights }: Field, wide: boolean, k: number, across: number): number {
  const last = (wide ? rows : columns) - 1;
  const low = Math.min(Math.max(0, Math.floor(across)), last);
  const high = Math.min(low + 1, last);
  const [a, b] = wide ? [heights[low * columns + k]!, heights[high * columns + k]!] : [heights[k * columns + low]!, heights[k * columns + high]!];
  const share = Math.min(1, Math.max(0, across - low));
  return share === 0 ? a : a + (b - a) * share;
}
