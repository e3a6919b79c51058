/**
 * A level sheet of water in a hollow: all cells below a level that hang together with the one where it is let in (by their sides).
 * A look at the relief, no simulation: water neither moves nor takes time, walls, drains and culverts are not known.
 */
export interface Basin {
  columns: number;
  rows: number;
  /** Square metres of a cell. */
  area: number;
  /** Metres, row by row; NaN where the ground is not known: no water goes there. */
  heights: ArrayLike<number>;
  /** Index of the cell where the water is let in. */
  from: number;
}
export interface Pool {
  /** Depth by cell, metres; 0 where it is dry. */
  depth: Float32Array;
  /** Square metres and cubic metres. */
  area: number;
  volume: number;
  deepest: number;
  /** The water reaches the edge of what was looked at, or unknown ground: there is more of it. */
  open: boolean;
}

export function bathtub({ columns, rows, area, heights, from }: Basin, level: number): Pool {
  const depth = new Float32Array(columns * rows);
  const pool: Pool = { depth, area: 0, volume: 0, deepest: 0, open: false };
  const wet = new Uint8Array(columns * rows);
  const waiting: number[] = [];
  const enter = (index: number): void => {
    const height = heights[index]!;
    if (Number.isNaN(height)) pool.open = true;
    if (!(height < level) || wet[index]) return;
    wet[index] = 1;
    depth[index] = level - height;
    waiting.push(index);
    pool.area += area;
    pool.volume += (level - height) * area;
    pool.deepest = Math.max(pool.deepest, level - height);
  };
  enter(from);
  for (let index = waiting.pop(); index !== undefined; index = waiting.pop()) {
    const [column, row] = [index % columns, Math.floor(index / columns)];
    if (column === 0 || row === 0 || column === columns - 1 || row === rows - 1) pool.open = true;
    if (column > 0) enter(index - 1);
    if (column < columns - 1) enter(index + 1);
    if (row > 0) enter(index - columns);
    if (row < rows - 1) enter(index + columns);
  }
  return pool;
}
