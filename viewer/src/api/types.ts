/** What the HTTP API says, as it says it. Names with `twin:` are this project's additions to the OGC records. */

export type Kind = "blocks" | "mesh" | "points" | "tileset" | "vector" | "raster" | "terrain" | "table";
/** west, south, east, north in degrees (CRS84). */
export type Bbox = [number, number, number, number];
export interface Bilingual {
  zh?: string;
  en?: string;
}
export interface Link {
  rel: string;
  href: string;
  type?: string;
  title?: string;
}
export interface Column {
  name: string;
  type: string;
  unit?: string | null;
  title?: Bilingual | null;
}
export interface LayerStyle {
  color?: string;
  width?: number;
  label?: string;
  opacity?: number;
  [key: string]: unknown;
}
export interface Collection {
  id: string;
  title?: string;
  description?: string | null;
  "twin:title"?: Bilingual | null;
  "twin:kind": Kind;
  "twin:group"?: string | null;
  "twin:grade"?: string | null;
  "twin:version"?: number | null;
  "twin:tileset"?: string | null;
  "twin:stale"?: boolean;
  "twin:style"?: LayerStyle | null;
  "twin:schema"?: Column[] | null;
  "twin:count"?: number | null;
  "twin:run"?: string | null;
  /** Lowest and highest ellipsoidal height in metres. */
  "twin:heights"?: [number, number] | null;
  extent?: { spatial?: { bbox?: Bbox[] } };
  links: Link[];
}
export interface City {
  title: Bilingual;
  bbox: Bbox;
  heights?: [number, number] | null;
  terrain?: string | null;
  version?: string;
}
export interface Feature {
  type: "Feature";
  id: string;
  geometry: Geometry | null;
  properties: Record<string, unknown>;
  links?: Link[];
}
export interface Geometry {
  type: string;
  coordinates?: unknown;
  geometries?: Geometry[];
}
export interface FeatureCollection {
  type: "FeatureCollection";
  features: Feature[];
  numberMatched?: number;
  numberReturned?: number;
}
export interface LegendEntry {
  value?: number | string | [number, number] | null;
  color: string;
  label?: Bilingual | null;
}
export interface Legend {
  type: "classes" | "continuous" | "rgb" | "vector";
  unit?: string | null;
  title?: Bilingual | null;
  entries?: LegendEntry[];
}
export interface TileJson {
  tiles: string[];
  minzoom?: number;
  maxzoom?: number;
  bounds?: Bbox;
  "twin:legend"?: Legend | null;
}
/** The part of JSON Schema that process inputs use. */
export interface Schema {
  type?: string | string[];
  title?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  const?: unknown;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  format?: string;
  items?: Schema;
  prefixItems?: Schema[];
  minItems?: number;
  maxItems?: number;
  anyOf?: Schema[];
  oneOf?: Schema[];
  [extension: `x-${string}`]: unknown;
}
export interface ProcessInput {
  title?: string;
  description?: string;
  schema: Schema;
  minOccurs?: number;
  maxOccurs?: number | string;
  [extension: `x-${string}`]: unknown;
}
export interface Process {
  id: string;
  title?: string;
  description?: string;
  inputs?: Record<string, ProcessInput>;
  outputs?: Record<string, unknown>;
  [extension: `x-${string}`]: unknown;
}
export type JobStatus = "accepted" | "running" | "successful" | "failed" | "dismissed";
export interface Job {
  jobID: string;
  processID?: string;
  status: JobStatus;
  progress?: number;
  message?: string | null;
}
/** What the matching features of a layer hold, column by column. */
export interface ColumnStatistics {
  name: string;
  type: "number" | "text" | "boolean" | "instant" | "array";
  unit: string | null;
  count: number;
  nulls: number;
  min?: number;
  max?: number;
  mean?: number;
  sum?: number;
  quantiles?: Record<string, number>;
  histogram?: { edges: number[]; counts: number[]; sampled: boolean };
  distinct?: number;
  values?: { value: string; count: number }[];
}
export interface Statistics {
  layer: string;
  numberMatched: number;
  properties: ColumnStatistics[];
}
export interface PlaceFound {
  kind: "feature" | "position";
  title: string;
  lon: number | null;
  lat: number | null;
  layer: string | null;
  feature: string | null;
}
export interface PositionFound {
  lon: number;
  lat: number;
  zone: { crs: string; zone: number; meridian: number; easting: number; northing: number } | null;
  other: { crs: string; x: number; y: number } | null;
  ground: { layer: string; ellipsoidal: number } | null;
}
export interface VersionEntry {
  version: number;
  created: string;
  count: number | null;
  who: string | null;
  pinned: boolean;
  current: boolean;
  shown: { from: string; to: string | null }[];
  links: Link[];
}
