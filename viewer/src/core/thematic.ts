/** Colouring by any attribute: from a legend of the server to the conditions of a 3D Tiles style. */
import type { Column, Legend, LegendEntry } from "../api/types";
import { columnKind, toCql2, type Condition } from "./filter";
import { propertyIds, unknown } from "./properties";

export const OTHER = "#b9bdc0";
export const METHODS = ["quantile", "equal", "continuous"] as const;
export type Method = (typeof METHODS)[number];
export const RAMPS = ["viridis", "cividis", "magma"] as const;
export type Ramp = (typeof RAMPS)[number];

export interface Thematic {
  column: string;
  method: Method;
  classes: number;
  ramp: Ramp;
}

/** Query of a drawn vector layer's map tiles: what matches the filter, in the colours of a column; "" for the layer as it is. */
export function mapQuery(conditions: readonly Condition[], thematic: Thematic | null, schema: readonly Column[]): string {
  const filter = toCql2(conditions, schema);
  const given = new URLSearchParams(filter ? { filter } : {});
  if (thematic) {
    const { column, method, classes, ramp } = thematic;
    for (const [name, value] of Object.entries({ "color-by": column, method, classes, ramp })) given.set(name, String(value));
  }
  const text = given.toString();
  return text ? `?${text}` : "";
}

/** Columns that a legend can be made of; JSON in a text column is none. */
export function thematicColumns(schema: readonly Column[]): Column[] {
  return schema.filter(({ name, type }) => columnKind(type) !== "other" && name !== "psets" && name !== "quantities");
}

/** Conditions in order, the last one for everything else. Continuous legends are drawn in many narrow classes. */
export function legendConditions(column: string, schema: readonly Column[], legend: Legend): [string, string][] {
  const property = `\${${propertyIds(schema.map(({ name }) => name)).get(column) ?? column}}`;
  const entries = legend.type === "continuous" ? narrow(legend.entries ?? []) : legend.entries ?? [];
  const rows = entries.flatMap((entry, index): [string, string][] => {
    const { value } = entry;
    if (Array.isArray(value)) return [[`${property} >= ${value[0]} && ${property} ${index === entries.length - 1 ? "<=" : "<"} ${value[1]}`, `color('${entry.color}')`]];
    if (typeof value === "string") return [[`String(${property}) === '${value.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`, `color('${entry.color}')`]];
    return [];
  });
  const rest = entries.find(({ value }) => value === null || value === undefined)?.color ?? OTHER;
  const numbers = entries.some(({ value }) => Array.isArray(value));
  return [...(numbers ? [[unknown(property), `color('${rest}')`] as [string, string]] : []), ...rows, ["true", `color('${rest}')`]];
}

/** Stops of a ramp → 24 classes with mixed colours. */
export function narrow(stops: readonly LegendEntry[], count = 24): LegendEntry[] {
  const known = stops.filter((stop): stop is LegendEntry & { value: number } => typeof stop.value === "number");
  const [first, last] = [known[0], known[known.length - 1]];
  if (!first || !last || first === last) return first ? [{ value: [first.value, first.value], color: first.color }] : [];
  return Array.from({ length: count }, (_, i) => {
    const [low, high] = [i, i + 1].map((k) => first.value + ((last.value - first.value) * k) / count) as [number, number];
    return { value: [low, high] as [number, number], color: mix(known, (low + high) / 2) };
  });
}

function mix(stops: readonly (LegendEntry & { value: number })[], at: number): string {
  const next = Math.max(1, stops.findIndex(({ value }) => value >= at));
  const [a, b] = [stops[next - 1]!, stops[next]!];
  const t = b.value === a.value ? 0 : (at - a.value) / (b.value - a.value);
  const [from, to] = [rgb(a.color), rgb(b.color)];
  return `#${from.map((v, i) => Math.round(v + (to[i]! - v) * t).toString(16).padStart(2, "0")).join("")}`;
}

const rgb = (color: string): number[] => [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
