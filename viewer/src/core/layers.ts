/** From the API's collections to what the layer tree and the scene need: groups, order, what is on at first. */
import type { Bbox, Collection, Column, GradeBasis, Kind, LayerStyle, Legend } from "../api/types";
import type { Condition } from "./filter";
import type { Lang } from "./i18n";
import { bilingual } from "./i18n";
import type { Thematic } from "./thematic";

/** The six data groups of CJJ/T 315-2022, in the standard's order. */
export const GROUPS = ["时空基础", "资源调查", "规划管控", "工程建设项目", "公共专题", "物联感知"] as const;
export type GroupId = (typeof GROUPS)[number] | "results" | "other";

export type Colouring = "depth" | "use" | "height" | "plain";

export interface Layer {
  id: string;
  kind: Kind;
  group: GroupId;
  title: { zh: string; en: string };
  description: string;
  grade: string | null;
  /** Why it has it: the rule's grade, and a person's; null for results of scenarios. */
  gradeBasis: GradeBasis | null;
  version: number | null;
  /** Key of the derived tiles: a new key means new contents, so the scene reads the layer again. */
  key: string;
  stale: boolean;
  style: LayerStyle;
  schema: Column[];
  count: number | null;
  run: string | null;
  heights: [number, number] | null;
  bbox: Bbox | null;
  licence: string | null;
  /** CRS and vertical datum in which the source is kept. */
  reference: { horizontal: string; vertical: string | null } | null;
  links: { tiles3d?: string; terrain?: string; map?: string; items?: string };
}

/** What the reader can change about a layer. */
export interface LayerState {
  visible: boolean;
  /** 0 (clear) … 1. */
  opacity: number;
  colouring: Colouring;
  /** Colours by the values of any column; comes before `colouring`. */
  thematic: Thematic | null;
  /** Only features that match all of these are drawn. */
  conditions: readonly Condition[];
  /** On which side of the swipe line the layer is drawn, when there is one. */
  side: Side;
}

export const SIDES = ["both", "left", "right"] as const;
export type Side = (typeof SIDES)[number];

export function toLayer(collection: Collection): Layer {
  const title = collection["twin:title"];
  const name = collection.title ?? collection.id;
  const run = collection["twin:run"] ?? null;
  const group = collection["twin:group"] ?? "";
  const links: Layer["links"] = {};
  for (const rel of ["tiles3d", "terrain", "map", "items"] as const) {
    const href = collection.links.find((link) => link.rel === rel)?.href;
    if (href) links[rel] = href;
  }
  return {
    id: collection.id,
    kind: collection["twin:kind"],
    group: run ? "results" : (GROUPS as readonly string[]).includes(group) ? (group as GroupId) : "other",
    title: { zh: bilingual("zh", title, name), en: bilingual("en", title, name) },
    description: collection.description ?? "",
    grade: collection["twin:grade"] ?? null,
    gradeBasis: collection["twin:gradeBasis"] ?? null,
    version: collection["twin:version"] ?? null,
    key: `${collection["twin:version"] ?? ""}/${collection["twin:tileset"] ?? ""}`,
    stale: collection["twin:stale"] ?? false,
    style: collection["twin:style"] ?? {},
    schema: collection["twin:schema"] ?? [],
    count: collection["twin:count"] ?? null,
    run,
    heights: collection["twin:heights"] ?? null,
    bbox: collection.extent?.spatial?.bbox?.[0] ?? null,
    licence: collection["twin:licence"] ?? null,
    reference: collection["twin:reference"] ?? null,
    links,
  };
}

export const layerTitle = (layer: Layer, lang: Lang): string => layer.title[lang] || layer.id;

/** Groups in the standard's order (results of runs first, unknown groups last), empty ones left out. */
export function grouped(layers: Layer[]): { group: GroupId; layers: Layer[] }[] {
  const order: GroupId[] = ["results", ...GROUPS, "other"];
  const kinds: Kind[] = ["blocks", "mesh", "tileset", "points", "vector", "raster", "terrain", "table"];
  return order.flatMap((group) => {
    const members = layers.filter((layer) => layer.group === group);
    members.sort((a, b) => kinds.indexOf(a.kind) - kinds.indexOf(b.kind) || a.id.localeCompare(b.id));
    return members.length > 0 ? [{ group, layers: members }] : [];
  });
}

/** What the results of a run are called, from the names of its layers (`flood-2-depth`, `flood-2-roads`: `flood-2`); "" where that cannot be told. */
export function runName(layers: readonly Layer[]): string {
  const [first, ...others] = layers.map(({ id }) => id);
  if (first === undefined) return "";
  let common = first;
  for (const name of others) while (!name.startsWith(common)) common = common.slice(0, -1);
  return others.length === 0 ? common.slice(0, Math.max(0, common.lastIndexOf("-"))) : common.replace(/-[^-]*$/, "");
}

/** Layers by the run that wrote them, in the order in which the runs first occur; those of none are under "". */
export function byRun(layers: readonly Layer[]): Map<string, Layer[]> {
  const runs = new Map<string, Layer[]>();
  for (const layer of layers) runs.set(layer.run ?? "", [...(runs.get(layer.run ?? "") ?? []), layer]);
  return runs;
}

const WATER = /water|river|lake|canal|pond|stream|hydro|水|河|湖|渠|塘/i;
const ROADS = /road|street|highway|path|rail|traffic|道路|街|公路|铁路|路网/i;

const named = (layer: Layer, pattern: RegExp): boolean =>
  pattern.test(layer.id) || pattern.test(layer.title.zh) || pattern.test(layer.title.en);

/** Whether a layer of areas is the city's water by its name. */
export const isWater = (layer: Layer): boolean => layer.kind === "vector" && layer.run === null && named(layer, WATER);

/** Draping order over the ground, low first: relief, pictures, areas, water, streets, results of runs. */
export function drapeRank(layer: Layer): number {
  if (layer.run) return 50;
  if (layer.kind === "terrain") return 0;
  if (layer.kind === "raster") return 10;
  if (named(layer, WATER)) return 30;
  if (named(layer, ROADS)) return 40;
  return 20;
}

/** Plans and projects (pipes, parcels) are looked up when they are wanted; lying over the streets they only clutter. */
const ON_DEMAND: GroupId[] = ["results", "规划管控", "工程建设项目"];

/**
 * What is on when the city opens. Earlier results stay off: they are somebody's finding, not the city.
 * Of the rasters only true pictures are on; a thematic raster would hide the city below it. A point cloud is on where there are no
 * buildings: over them it is their walls a second time, and the dearest part of the first picture.
 */
export function firstState(layer: Layer, legend: Legend | null, city: readonly Layer[] = []): LayerState {
  const opacity = typeof layer.style.opacity === "number" && layer.kind !== "vector" ? layer.style.opacity : 1;
  const hidden = layer.run !== null || layer.kind === "terrain" || (layer.kind === "vector" && ON_DEMAND.includes(layer.group)) || layer.kind === "table"
    || (layer.kind === "raster" && legend?.type !== "rgb")
    || (layer.kind === "points" && city.some((other) => other.kind === "blocks" && other.run === null));
  return { visible: !hidden, opacity, colouring: colourings(layer)[0] ?? "plain", thematic: null, conditions: [], side: "both" };
}

/** String column that tells a building's use, if the schema has one. */
export function useColumn(layer: Layer): string | null {
  const names = ["use", "usage", "function", "purpose", "landuse", "building", "type", "class", "yongtu", "用途", "功能", "类型"];
  return findColumn(layer, names, (column) => /str|text|char|utf8|dict/i.test(column.type));
}

export function heightColumn(layer: Layer): string | null {
  const names = ["height", "hgt", "measuredheight", "building_height", "gao", "高度", "建筑高度"];
  return findColumn(layer, names, (column) => !/str|text|char|utf8|bool/i.test(column.type));
}

/** Column of a flood's depth at each building, as scenarios write it. */
export function depthColumn(layer: Layer): string | null {
  return findColumn(layer, ["flood_depth", "max_depth", "water_depth", "depth", "水深"], (column) => !/str|text|char|utf8|bool/i.test(column.type));
}

function findColumn(layer: Layer, names: string[], suits: (column: Column) => boolean): string | null {
  const columns = layer.schema.filter(suits);
  for (const name of names) {
    const found = columns.find((column) => column.name.toLowerCase() === name);
    if (found) return found.name;
  }
  return null;
}

/** Ways in which a blocks layer can be coloured, the best first. A declared colour comes before our guess. */
export function colourings(layer: Layer): Colouring[] {
  if (layer.kind !== "blocks") return [];
  const height: Colouring[] = heightColumn(layer) ? ["height"] : [];
  if (layer.run && depthColumn(layer)) return ["depth", ...height, "plain"];
  if (!useColumn(layer)) return ["plain", ...height];
  return layer.style.color ? ["plain", "use", ...height] : ["use", ...height, "plain"];
}
