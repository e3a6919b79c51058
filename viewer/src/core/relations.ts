/** What a feature belongs to and consists of, and what it was in other versions of its layer: read when the reader opens it. */
import type { Api } from "../api/client";
import type { Feature } from "../api/types";
import type { Layer } from "./layers";

/** A building has a project, a site, itself, storeys, spaces, parts; a chain longer than this is a loop. */
const DEEPEST = 12;
/** Parts that are listed at most. */
export const MOST_PARTS = 200;

export interface Family {
  /** From the outermost to the parent. */
  ancestors: Feature[];
  /** What names this feature as its parent. */
  parts: Feature[];
  /** How many parts there are, listed or not. */
  count: number;
}

export const parentOf = (feature: Feature): string | null => {
  const parent = (feature as unknown as Record<string, unknown>)["twin:parent"];
  return typeof parent === "string" && parent ? parent : null;
};

/** Reads the chain above a feature and the parts below it. A parent that the layer does not hold ends the chain. */
export async function family(api: Pick<Api, "item" | "items">, layer: Layer, feature: Feature): Promise<Family> {
  const known = new Set(layer.schema.map(({ name }) => name));
  const properties = ["name", "class", "long_name", "storey"].filter((name) => known.has(name)).join(",") || (layer.schema[0]?.name ?? "");
  const below = api.items(layer.id, { limit: MOST_PARTS, properties, filter: `parent = '${feature.id.replaceAll("'", "''")}'` });
  const ancestors: Feature[] = [];
  const seen = new Set([feature.id]);
  let next = parentOf(feature);
  while (next !== null && !seen.has(next) && ancestors.length < DEEPEST) {
    seen.add(next);
    const found = await api.item(layer.id, next).catch(() => null);
    if (!found) break;
    ancestors.unshift({ ...found, id: String(found.id) });
    next = parentOf(found);
  }
  const { features, numberMatched } = await below;
  const parts = features.map((one) => ({ ...one, id: String(one.id) }));
  const text = (one: Feature, name: string): string => String(one.properties[name] ?? "");
  parts.sort((a, b) => text(a, "class").localeCompare(text(b, "class")) || text(a, "name").localeCompare(text(b, "name"), "zh", { numeric: true }));
  return { ancestors, parts, count: numberMatched ?? parts.length };
}
