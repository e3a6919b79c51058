/** Hydrographs: rows of a table in long form to one curve each. */

export interface Curve {
  /** What is measured where: "section · 断面一 · discharge". */
  key: string;
  kind: string;
  name: string;
  quantity: string;
  unit: string;
  /** [seconds, value], time ascending. */
  points: [number, number][];
}

/** Whether a layer's columns are those of such a table. */
export const isHydrograph = (columns: readonly { name: string }[]): boolean =>
  ["name", "time_s", "value"].every((wanted) => columns.some(({ name }) => name === wanted));

export function curvesOf(rows: readonly Record<string, unknown>[]): Curve[] {
  const found = new Map<string, Curve>();
  for (const row of rows) {
    const [time, value] = [row["time_s"], row["value"]];
    if (typeof time !== "number" || typeof value !== "number") continue;
    const [kind, name, quantity, unit] = ["kind", "name", "quantity", "unit"].map((column) => String(row[column] ?? "")) as [string, string, string, string];
    const key = [kind, name, quantity].filter(Boolean).join(" · ");
    const curve = found.get(key) ?? { key, kind, name, quantity, unit, points: [] };
    found.set(key, curve);
    curve.points.push([time, value]);
  }
  for (const curve of found.values()) curve.points.sort((a, b) => a[0] - b[0]);
  return [...found.values()];
}

/** A curve's value at a time, linear between its points; null outside them. */
export function valueAt({ points }: Curve, time: number): number | null {
  const after = points.findIndex(([t]) => t >= time);
  if (after < 0) return null;
  const [t1, v1] = points[after]!;
  if (t1 === time) return v1;
  const before = points[after - 1];
  if (!before) return null;
  return before[1] + ((v1 - before[1]) * (time - before[0])) / (t1 - before[0]);
}
