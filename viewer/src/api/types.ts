/**
 * What the HTTP API says, as it says it: the generated types of its definition under the names that the viewer uses.
 * What the definition leaves open (a style, a JSON Schema, GeoJSON) is said here. Names with `twin:` are this project's additions to OGC records.
 */
import type * as Api from "./openapi";

export type Kind = Api.Collection["twin:kind"];
/** west, south, east, north in degrees (CRS84). */
export type Bbox = [number, number, number, number];
export type Bilingual = { zh?: string | null; en?: string | null };
export type Link = Api.Link;
export type GradeBasis = Api.GradeBasis;
export type Grade = Api.GivenGrade["grade"];
export type Column = Pick<Api.Attribute, "name" | "type"> & Partial<Api.Attribute>;
export interface LayerStyle {
  color?: string;
  width?: number;
  label?: string;
  opacity?: number;
  [key: string]: unknown;
}
/** The members that the viewer reads; tests need no others. */
export type Collection = Pick<Api.Collection, "id" | "links" | "twin:kind"> & Partial<Omit<Api.Collection, "twin:schema" | "twin:style">>
  & { "twin:schema"?: Column[] | null; "twin:style"?: LayerStyle | null };
export type City = Pick<Api.CityView, "title"> & Partial<Api.CityView>;
export type Geometry = { type: string; coordinates?: unknown; geometries?: Geometry[] };
export type Feature = Omit<Api.Feature, "geometry"> & { geometry: Geometry | null };
export type FeatureCollection = Omit<Partial<Api.FeatureCollection>, "features" | "type"> & { type: "FeatureCollection"; features: Feature[] };
export type LegendEntry = Omit<Api.LegendEntry, "value"> & { value?: number | string | [number, number] | null };
export type Legend = Omit<Api.Legend, "entries"> & { entries?: LegendEntry[] };
/** `twin:times`: moments of a field over time, seconds after `twin:start` or RFC 3339 times; the tiles' `time` parameter takes them. */
export type TileJson = Pick<Api.TileJson, "tiles"> & Partial<Omit<Api.TileJson, "twin:legend" | "twin:times" | "twin:start">>
  & { "twin:legend"?: Legend | null; "twin:times"?: readonly (number | string)[] | null; "twin:start"?: string | null };
export type ColumnStatistics = Api.ColumnStatistics;
export type Statistics = Api.Statistics;
export type PlaceFound = Omit<Api.Place, "links">;
export type PositionFound = Api.Position;
export type FeatureHistory = Api.FeatureHistory;
export type VersionEntry = Api.VersionEntry;
export type JobStatus = Api.StatusInfo["status"];
export type Job = Pick<Api.StatusInfo, "jobID" | "status"> & Partial<Api.StatusInfo>;
/** One figure of two runs; `change` is b − a. */
export interface Change {
  quantity: string;
  unit: string;
  a: number;
  b: number;
  change: number;
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
  properties?: Record<string, Schema>;
  required?: string[];
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
