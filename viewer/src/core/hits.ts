/** Who is hit: rows for the lists of buildings and closed roads, sorted; and what two runs' lists have not in common. */
import type { Column, Feature } from "../api/types";
import { featureName } from "./attributes";
import { bilingual, type Lang } from "./i18n";

export interface Hit {
  id: string;
  name: string;
  /** Greatest depth, m; null where it is not told. */
  depth: number | null;
  /** Seconds after the start when the water came; null where it is not told. */
  entry: number | null;
  place: { lon: number; lat: number } | null;
}
export type HitOrder = "entry" | "depth" | "name";

export interface Closure extends Hit {
  /** Seconds closed, the longest of all who use the road first. */
  closed: { who: string; from: number; until: number | null }[];
}

const finite = (value: unknown): number | null => (typeof value === "number" && Number.isFinite(value) ? value : null);

export function hitOf(feature: Feature, lang: Lang): Hit {
  const p = feature.properties;
  return {
    id: String(feature.id), name: featureName(p, lang).trim() || String(feature.id), depth: finite(p["flood_depth"]), entry: finite(p["flood_entry"]),
    place: middle(feature.geometry),
  };
}

/** Sorted; what is not told comes last either way. */
export function sortHits<T extends Hit>(hits: readonly T[], by: HitOrder, down: boolean): T[] {
  const sign = down ? -1 : 1;
  return [...hits].sort((a, b) => {
    if (by === "name") return sign * a.name.localeCompare(b.name, "zh-CN", { numeric: true });
    const [x, y] = [a[by], b[by]];
    if (x === null || y === null) return Number(x === null) - Number(y === null) || a.id.localeCompare(b.id);
    return sign * (x - y) || a.id.localeCompare(b.id);
  });
}

/** Roads that are closed to somebody, from the columns `closed_<who>_from` and `closed_<who>_until`. */
export function closuresOf(features: readonly Feature[], columns: readonly Column[], lang: Lang): Closure[] {
  const users = columns.flatMap(({ name, title }) => {
    const who = /^closed_(.+)_from$/.exec(name)?.[1];
    return who === undefined ? [] : [{ who, said: bilingual(lang, title as Parameters<typeof bilingual>[1], who).split("：")[0]!.replace(/^Closed to (.+) from$/, "$1") }];
  });
  return features.flatMap((feature) => {
    const closed = users.flatMap(({ who, said }) => {
      const from = finite(feature.properties[`closed_${who}_from`]);
      return from === null ? [] : [{ who: said, from, until: finite(feature.properties[`closed_${who}_until`]) }];
    });
    return closed.length > 0 ? [{ ...hitOf(feature, lang), closed }] : [];
  });
}

export interface Difference {
  id: string;
  name: string;
  a: number | null;
  b: number | null;
  /** b − a in metres; a building without water counts as 0. */
  change: number;
  place: Hit["place"];
}

/** Buildings by the difference of their depths, the greatest first; equal ones are left out. */
export function differences(a: readonly Hit[], b: readonly Hit[]): Difference[] {
  const left = new Map(a.map((hit) => [hit.id, hit]));
  const right = new Map(b.map((hit) => [hit.id, hit]));
  return [...new Set([...left.keys(), ...right.keys()])]
    .map((id) => {
      const [x, y] = [left.get(id), right.get(id)];
      return { id, name: (y ?? x)!.name, a: x?.depth ?? null, b: y?.depth ?? null, change: (y?.depth ?? 0) - (x?.depth ?? 0), place: (y ?? x)!.place };
    })
    .filter(({ change }) => Math.abs(change) >= 0.0005)
    .sort((x, y) => Math.abs(y.change) - Math.abs(x.change) || x.id.localeCompare(y.id));
}

/** Middle of a geometry's box. */
export function middle(geometry: Feature["geometry"]): Hit["place"] {
  let [west, south, east, north] = [Infinity, Infinity, -Infinity, -Infinity];
  const walk = (value: unknown): void => {
    if (!Array.isArray(value)) return;
    if (typeof value[0] === "number" && typeof value[1] === "number") {
      [west, south, east, north] = [Math.min(west, value[0]), Math.min(south, value[1]), Math.max(east, value[0]), Math.max(north, value[1])];
    } else value.forEach(walk);
  };
  walk(geometry?.coordinates);
  for (const part of geometry?.geometries ?? []) walk(part.coordinates);
  return west <= east ? { lon: (west + east) / 2, lat: (south + north) / 2 } : null;
}
