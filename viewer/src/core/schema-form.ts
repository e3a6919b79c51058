/** A scenario's form, made from its description: JSON Schema in, fields out; text in, checked inputs out. */
import type { Bilingual, Process, ProcessInput, Schema } from "../api/types";
import type { MessageKey } from "./messages";
import { parseRows } from "./rows";

export type FieldKind = "number" | "integer" | "text" | "boolean" | "select" | "layer" | "point" | "points" | "line" | "polygon" | "bbox" | "numbers" | "words" | "rows" | "json";
/** Kinds that can be drawn on the map. */
export const DRAWN: readonly FieldKind[] = ["point", "points", "line", "polygon"];

export interface Field {
  name: string;
  kind: FieldKind;
  title: Bilingual;
  help: Bilingual;
  unit: string;
  required: boolean;
  /** Text of the default, as the form shows it. */
  initial: string;
  options: string[];
  /** What the options are called, where their own words are not for people. */
  names: Record<string, Bilingual>;
  /** Part of the form it belongs to; null where the process does not say. */
  group: Bilingual | null;
  /** Other fields by which it counts: some of their values, or any that is not empty. */
  when: Record<string, readonly string[] | true>;
  /** Field that names the layer of which this one names a column, or "". */
  columnOf: string;
  min?: number;
  max?: number;
  /** The bound itself is not allowed. */
  minOpen?: boolean;
  maxOpen?: boolean;
  /** Layer kinds that fit, for `layer` fields; empty = any. */
  layerKinds: string[];
  /** What its value must look like, without the `null` of an optional one. */
  schema: Schema;
}

export interface Fault {
  key: MessageKey;
  n?: number;
  /** The field of a row that is meant. */
  name?: string;
}

export function fieldsOf(process: Process): Field[] {
  return Object.entries(process.inputs ?? {}).map(([name, input]) => fieldOf(name, input));
}

export function fieldOf(name: string, input: ProcessInput): Field {
  const { schema, nullable } = unwrap(input.schema);
  const merged: Schema = { ...input.schema, ...schema };
  const field: Field = {
    name,
    kind: kindOf(merged, `${name} ${text(input, "title") ?? ""}`),
    title: names(text(input, "title") ?? text(merged, "title") ?? name, text(input, "x-title-zh") ?? text(merged, "x-title-zh")),
    help: names(text(input, "description") ?? text(merged, "description") ?? "", text(input, "x-description-zh") ?? text(merged, "x-description-zh")),
    unit: text(input, "x-unit") ?? text(merged, "x-unit") ?? text(input, "x-twin-unit") ?? text(merged, "x-twin-unit") ?? "",
    required: merged.default === undefined && !nullable && input.minOccurs !== 0,
    initial: show(merged.default),
    options: (merged.enum ?? []).map(show),
    names: (merged["x-choices"] ?? {}) as Record<string, Bilingual>,
    group: (input["x-group"] ?? null) as Bilingual | null,
    when: (merged["x-when"] ?? {}) as Field["when"],
    columnOf: text(merged, "x-column-of") ?? "",
    layerKinds: list(merged["x-layer-kinds"] ?? merged["x-layer-kind"]),
    schema: merged,
  };
  field.initial = initialText(field.kind, merged.default);
  const low = merged.minimum ?? merged.exclusiveMinimum;
  const high = merged.maximum ?? merged.exclusiveMaximum;
  if (low !== undefined) Object.assign(field, { min: low, minOpen: merged.minimum === undefined });
  if (high !== undefined) Object.assign(field, { max: high, maxOpen: merged.maximum === undefined });
  return field;
}

/** `anyOf: [X, null]` is how an optional X is written. */
export function unwrap(schema: Schema): { schema: Schema; nullable: boolean } {
  const choices = schema.anyOf ?? schema.oneOf;
  if (!choices) return { schema, nullable: schema.default === null };
  const real = choices.filter((choice) => choice.type !== "null");
  const only = real.length === 1 ? real[0] : undefined;
  return { schema: only ?? {}, nullable: real.length < choices.length };
}

function kindOf(schema: Schema, said: string): FieldKind {
  const hint = String(schema.format ?? schema["x-format"] ?? "");
  if (/layer/.test(hint) || "x-layer-kind" in schema || "x-layer-kinds" in schema) return "layer";
  if (schema.enum) return "select";
  const type = Array.isArray(schema.type) ? schema.type.find((name) => name !== "null") : schema.type;
  if (type === "array") return listKind(schema, said);
  if (type === "number" || type === "integer" || type === "boolean") return type;
  return type === "string" ? "text" : "json";
}

function listKind(schema: Schema, said: string): FieldKind {
  // A pydantic tuple writes its members one by one (prefixItems), a plain list writes `items`.
  const member = schema.items ?? schema.prefixItems?.[0];
  if (schema.items && rowSchemas(schema.items).length > 0) return "rows";
  if (schema.items && isPlace(schema.items)) return /polygon|area|ring/i.test(`${schema["x-geometry"] ?? said}`) ? "polygon" : "line";
  if (member?.type === "string") return "words";
  if (member?.type !== "number") return "json";
  const size = schema.minItems === schema.maxItems ? schema.minItems : undefined;
  if (size === 2) return "point";
  // Four numbers are a box only where they are said to be one.
  if (size === 4 && /bbox|extent|west|\bbox\b/i.test(said)) return "bbox";
  return /longitude|lon\b/i.test(said) ? "points" : "numbers";
}

/** A pair bounded like longitude and latitude. */
export function isPlace(schema: Schema): boolean {
  const [lon, lat] = schema.prefixItems ?? [];
  return schema.minItems === 2 && schema.maxItems === 2 && lon?.maximum === 180 && lat?.maximum === 90;
}

/** What a row of a list may look like: one object, or one of several. */
export function rowSchemas(items: Schema): Schema[] {
  const choices = items.oneOf ?? items.anyOf ?? [items];
  return choices.every((choice) => choice.properties) ? choices : [];
}

const text = (from: object, key: string): string | undefined => {
  const value = (from as Record<string, unknown>)[key];
  return typeof value === "string" && value ? value : undefined;
};
const names = (en: string, zh: string | undefined): Bilingual => ({ en, zh: zh ?? en });
const list = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : typeof value === "string" ? [value] : []);

/** Corners as text: "lon, lat; lon, lat". */
export const placesText = (places: readonly (readonly number[])[]): string => places.map((place) => place.join(", ")).join("; ");

function pairs(numbers: readonly number[]): number[][] {
  return Array.from({ length: Math.ceil(numbers.length / 2) }, (_, i) => numbers.slice(2 * i, 2 * i + 2));
}

/** The text that stands for a value of this kind. */
export function initialText(kind: FieldKind, value: unknown): string {
  if (!Array.isArray(value)) return show(value);
  if (kind === "points") return placesText(pairs(value.map(Number)));
  if (kind === "line" || kind === "polygon") return placesText(value as number[][]);
  if (kind === "words") return value.join(", ");
  if (kind === "rows") return value.length === 0 ? "" : JSON.stringify(value);
  return show(value);
}

function show(value: unknown): string {
  if (value === undefined || value === null) return "";
  if (Array.isArray(value) && value.every((item) => typeof item === "number")) return value.join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** The value of one field, or what is wrong with the text. `undefined` = leave the input out. */
export function parse(field: Field, raw: string): { value?: unknown; fault?: Fault } {
  const input = raw.trim();
  if (input === "") return field.required ? { fault: { key: "form.required" } } : {};
  switch (field.kind) {
    case "number":
    case "integer":
      return parseNumber(field, input);
    case "boolean":
      return { value: input === "true" };
    case "point":
    case "bbox":
    case "numbers": {
      const numbers = input.split(/[\s,，;；]+/).filter(Boolean).map(Number);
      const wanted = field.kind === "point" ? 2 : field.kind === "bbox" ? 4 : numbers.length;
      if (numbers.length === wanted && numbers.every(Number.isFinite)) return { value: numbers };
      return { fault: { key: field.kind === "numbers" ? "form.number" : `form.${field.kind}` } };
    }
    case "points":
    case "line":
    case "polygon":
      return parsePlaces(field, input);
    case "words":
      return { value: input.split(/[\s,，、;；]+/).filter(Boolean) };
    case "rows":
      return parseRows(field, input);
    case "json":
      try {
        return { value: JSON.parse(input) as unknown };
      } catch {
        return { fault: { key: "form.json" } };
      }
    default:
      return { value: input };
  }
}

/** "lon, lat; lon, lat" → corners; a ring is closed by repeating its first one. */
function parsePlaces(field: Field, input: string): { value?: unknown; fault?: Fault } {
  const places = input.split(/[;；\n]+/).filter((text) => text.trim()).map((text) => text.trim().split(/[\s,，]+/).map(Number));
  const good = places.every(([lon, lat, ...more]) => more.length === 0 && Math.abs(lon ?? NaN) <= 180 && Math.abs(lat ?? NaN) <= 90);
  if (!good) return { fault: { key: "form.places" } };
  if (field.kind === "points") return { value: places.flat() };
  const least = field.kind === "polygon" ? 3 : field.schema.minItems ?? 2;
  if (places.length < least) return { fault: { key: "form.corners", n: least } };
  const [first, last] = [places[0]!, places[places.length - 1]!];
  const open = field.kind === "polygon" && (first[0] !== last[0] || first[1] !== last[1]);
  return { value: open ? [...places, first] : places };
}

function parseNumber(field: Field, input: string): { value?: unknown; fault?: Fault } {
  const value = Number(input);
  if (!Number.isFinite(value)) return { fault: { key: "form.number" } };
  if (field.kind === "integer" && !Number.isInteger(value)) return { fault: { key: "form.integer" } };
  const { min, max } = field;
  if (min !== undefined && (field.minOpen ? value <= min : value < min))
    return { fault: { key: field.minOpen ? "form.minx" : "form.min", n: min } };
  if (max !== undefined && (field.maxOpen ? value >= max : value > max))
    return { fault: { key: field.maxOpen ? "form.maxx" : "form.max", n: max } };
  return { value };
}

/** Whether a field counts with what the others hold: its conditions, and those of the fields that they name. */
export function counts(field: Field, fields: readonly Field[], values: Record<string, string>): boolean {
  return Object.entries(field.when).every(([name, wanted]) => {
    const other = fields.find((each) => each.name === name);
    if (!other || !counts(other, fields, values)) return false;
    const value = (values[name] ?? other.initial).trim();
    return wanted === true ? value !== "" : wanted.includes(value);
  });
}

/** The parts of a form in the order of the fields; what belongs to none stands first, without a name. */
export function groupsOf(fields: readonly Field[]): { name: Bilingual | null; fields: Field[] }[] {
  const groups = new Map<string, { name: Bilingual | null; fields: Field[] }>();
  for (const field of [...fields].sort((a, b) => Number(a.group !== null) - Number(b.group !== null))) {
    const key = field.group?.en ?? "";
    const group = groups.get(key) ?? { name: field.group, fields: [] };
    group.fields.push(field);
    groups.set(key, group);
  }
  return [...groups.values()];
}

/** All inputs, or the faults by field name; of the fields that count. */
export function collect(fields: readonly Field[], values: Record<string, string>):
  { inputs: Record<string, unknown>; faults: Record<string, Fault> } {
  const inputs: Record<string, unknown> = {};
  const faults: Record<string, Fault> = {};
  for (const field of fields) {
    if (!counts(field, fields, values)) continue;
    const { value, fault } = parse(field, values[field.name] ?? field.initial);
    if (fault) faults[field.name] = fault;
    else if (value !== undefined) inputs[field.name] = value;
  }
  return { inputs, faults };
}
