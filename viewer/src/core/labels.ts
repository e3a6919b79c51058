/** Which texts a layer puts on the map and where. */
import type { Feature, Geometry } from "../api/types";
import type { Lang } from "./i18n";

export interface Label {
  text: string;
  lon: number;
  lat: number;
  /** Points stand for places and come before names along lines. */
  priority: number;
  /** A dot marks the place itself. */
  dot: boolean;
  /** One of a numbered series (camera 17, manhole 203): worth reading only from near. */
  serial: boolean;
}

const SERIAL = /[0-9０-９]\s*\D{0,2}$|^[A-Za-z]{0,4}[-_ ]?\d+$/;

/** Labels of features by a column; in English `<column>_en` is preferred. The same name is put once along many pieces of a road. */
export function labelsOf(features: readonly Feature[], column: string, lang: Lang): Label[] {
  const found: Label[] = [];
  const lines = new Map<string, { label: Label; length: number }>();
  for (const feature of features) {
    const text = labelText(feature.properties, column, lang);
    if (!text || !feature.geometry) continue;
    const anchor = anchorOf(feature.geometry);
    if (!anchor) continue;
    const serial = SERIAL.test(text);
    const priority = (anchor.dot ? 2 : 1) - (serial ? 1.5 : 0);
    const label: Label = { text, lon: anchor.lon, lat: anchor.lat, priority, dot: anchor.dot, serial };
    if (anchor.dot) {
      found.push({ ...label, priority: priority + rank(feature.properties) });
      continue;
    }
    const before = lines.get(text);
    if (!before || before.length < anchor.size) lines.set(text, { label, length: anchor.size });
  }
  for (const { label } of lines.values()) found.push(label);
  return found;
}

function labelText(properties: Record<string, unknown>, column: string, lang: Lang): string {
  const value = (lang === "en" ? properties[`${column}_en`] : properties[`${column}_zh`]) ?? properties[column];
  return typeof value === "string" || typeof value === "number" ? String(value).trim() : "";
}

/** Importance 0…1 from a population, when there is one. */
function rank(properties: Record<string, unknown>): number {
  const people = Number(properties["population"] ?? properties["pop"] ?? 0);
  return Number.isFinite(people) && people > 0 ? Math.min(1, Math.log10(people + 1) / 8) : 0;
}

type Position = [number, number, number?];
interface Anchor { lon: number; lat: number; dot: boolean; size: number }

function anchorOf(geometry: Geometry): Anchor | null {
  const coordinates = geometry.coordinates as never;
  switch (geometry.type) {
    case "Point": return at(coordinates, true, 0);
    case "MultiPoint": return at((coordinates as Position[])[0], true, 0);
    case "LineString": return middle(coordinates);
    case "MultiLineString": return largest((coordinates as Position[][]).map(middle));
    case "Polygon": return boxMiddle((coordinates as Position[][])[0] ?? []);
    case "MultiPolygon": return largest((coordinates as Position[][][]).map((rings) => boxMiddle(rings[0] ?? [])));
    default: return null;
  }
}

const at = (position: Position | undefined, dot: boolean, size: number): Anchor | null =>
  position && position.slice(0, 2).every(Number.isFinite) ? { lon: position[0], lat: position[1], dot, size } : null;

const largest = (anchors: (Anchor | null)[]): Anchor | null =>
  anchors.reduce((best, next) => (next && (!best || next.size > best.size) ? next : best), null);

/** Half way along a line. */
function middle(line: Position[]): Anchor | null {
  const lengths = line.slice(1).map((to, index) => Math.hypot(to[0] - line[index]![0], to[1] - line[index]![1]));
  const total = lengths.reduce((sum, length) => sum + length, 0);
  let left = total / 2;
  for (const [index, length] of lengths.entries()) {
    if (length > 0 && left <= length) {
      const [from, to] = [line[index]!, line[index + 1]!];
      const part = left / length;
      return at([from[0] + (to[0] - from[0]) * part, from[1] + (to[1] - from[1]) * part], false, total);
    }
    left -= length;
  }
  return at(line[0], false, total);
}

/** Middle of a ring's box: steady and good enough to hang a name on. */
function boxMiddle(ring: Position[]): Anchor | null {
  if (ring.length === 0) return null;
  const xs = ring.map((p) => p[0]);
  const ys = ring.map((p) => p[1]);
  const [west, east, south, north] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  return at([(west + east) / 2, (south + north) / 2], false, Math.hypot(east - west, north - south));
}
