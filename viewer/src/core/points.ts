/** Point clouds by class, intensity or height: their legends, from what the tiles and the catalogue say. */
import type { Legend, LegendEntry } from "../api/types";
import type { Layer } from "./layers";
import { OTHER, type Ramp, type Thematic } from "./thematic";

/** A row of the class table that every tile of a cloud carries; points name it by its place. */
export interface PointClass {
  code: number;
  zh: string;
  en: string;
}
/** What is known of a cloud. */
export interface PointFacts {
  /** null until the first tile has come. */
  classes: readonly PointClass[] | null;
  intensity: readonly [number, number] | null;
}

export const CLASS = "classification";
export const INTENSITY = "intensity";
export const HEIGHT = "height";

/** Names by which a cloud can be coloured. */
export function pointColumns(layer: Pick<Layer, "kind" | "heights">, facts: PointFacts): string[] {
  if (layer.kind !== "points") return [];
  return [CLASS, ...(facts.intensity ? [INTENSITY] : []), ...(layer.heights && layer.heights[1] > layer.heights[0] ? [HEIGHT] : [])];
}

/** By ASPRS code; neighbours in a scene (ground, plants, roofs, water, wires) differ in lightness as well as in hue. */
const CLASS_COLORS: Readonly<Record<number, string>> = {
  2: "#a88c68", 3: "#b9dc9a", 4: "#74b85c", 5: "#28703a", 6: "#e0703c", 7: "#c83cc8", 9: "#3f86d6", 10: "#5a4a78", 11: "#77777c",
  13: "#f2dd5a", 14: "#e8b020", 15: "#9696c8", 16: "#caa2e0", 17: "#d8cdb4", 18: "#d22c6a",
};

/** Five stops of each ramp at equal steps (matplotlib's colour maps, which are in the public domain). */
const STOPS: Readonly<Record<Ramp, readonly string[]>> = {
  viridis: ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"],
  cividis: ["#00224e", "#434e6c", "#7d7c78", "#bcae6c", "#fee838"],
  magma: ["#000004", "#51127c", "#b73779", "#fc8961", "#fcfdbf"],
};

/** The legend of a cloud by one of its columns; null when that cannot be known. */
export function pointLegend({ column, ramp }: Pick<Thematic, "column" | "ramp">, layer: Pick<Layer, "heights">, { classes, intensity }: PointFacts): Legend | null {
  if (column === CLASS) {
    const entries = (classes ?? []).map(({ code, zh, en }): LegendEntry => ({ value: code, color: CLASS_COLORS[code] ?? OTHER, label: { zh, en } }));
    return entries.length > 0 ? { type: "classes", entries } : null;
  }
  const range = column === INTENSITY ? intensity : column === HEIGHT ? layer.heights : null;
  if (!range) return null;
  const [low, high] = range;
  const stops = STOPS[ramp];
  // Most returns are weak and a few very strong: the square spreads them, as display gamma does.
  const bent = column === INTENSITY ? 2 : 1;
  const entries = stops.map((color, i): LegendEntry => ({ value: low + (high - low) * (i / (stops.length - 1)) ** bent, color }));
  return { type: "continuous", ...(column === HEIGHT ? { unit: "m" } : {}), entries };
}

/** Class table rows in the tiles' order, from what each row says; rows of another make are left out. */
export function classRows(rows: readonly Readonly<Record<string, unknown>>[]): PointClass[] {
  return rows.flatMap(({ classification, class_zh, class_en }): PointClass[] => {
    const code = Number(classification);
    return Number.isInteger(code) ? [{ code, zh: String(class_zh ?? code), en: String(class_en ?? code) }] : [];
  });
}

/** The range of intensities in a tileset's statistics, or null. */
export function intensityRange(statistics: unknown): [number, number] | null {
  const classes = (statistics as { classes?: Record<string, { properties?: Record<string, { min?: unknown; max?: unknown }> }> } | undefined)?.classes ?? {};
  for (const { properties } of Object.values(classes)) {
    const { min, max } = properties?.["intensity"] ?? {};
    if (typeof min === "number" && typeof max === "number" && max > min) return [min, max];
  }
  return null;
}
