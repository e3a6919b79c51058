/** A scenario's form, made from its description: JSON Schema in, fields out; text in, checked inputs out. */
import type { Bilingual, Process, ProcessInput, Schema } from "../api/types";
import type { MessageKey } from "./messages";

export type FieldKind = "number" | "integer" | "text" | "boolean" | "select" | "layer" | "point" | "bbox" | "json";

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
  min?: number;
  max?: number;
  /** The bound itself is not allowed. */
  minOpen?: boolean;
  maxOpen?: boolean;
  /** Layer kinds that fit, for `layer` fields; empty = any. */
  layerKinds: string[];
}

export interface Fault {
  key: MessageKey;
  n?: number;
}

export function fieldsOf(process: Process): Field[] {
  return Object.entries(process.inputs ?? {}).map(([name, input]) => fieldOf(name, input));
}

function fieldOf(name: string, input: ProcessInput): Field {
  const { schema, nullable } = unwrap(input.schema);
  const merged: Schema = { ...input.schema, ...schema };
  const field: Field = {
    name,
    kind: kindOf(merged),
    title: names(text(input, "title") ?? text(merged, "title") ?? name, text(input, "x-title-zh") ?? text(merged, "x-title-zh")),
    help: names(text(input, "description") ?? text(merged, "description") ?? "", text(input, "x-description-zh") ?? text(merged, "x-description-zh")),
    unit: text(input, "x-unit") ?? text(merged, "x-unit") ?? text(input, "x-twin-unit") ?? text(merged, "x-twin-unit") ?? "",
    required: merged.default === undefined && !nullable && input.minOccurs !== 0,
    initial: show(merged.default),
    options: (merged.enum ?? []).map(show),
    layerKinds: list(merged["x-layer-kinds"] ?? merged["x-layer-kind"]),
  };
  const low = merged.minimum ?? merged.exclusiveMinimum;
  const high = merged.maximum ?? merged.exclusiveMaximum;
  if (low !== undefined) Object.assign(field, { min: low, minOpen: merged.minimum === undefined });
  if (high !== undefined) Object.assign(field, { max: high, maxOpen: merged.maximum === undefined });
  return field;
}

/** `anyOf: [X, null]` is how an optional X is written. */
function unwrap(schema: Schema): { schema: Schema; nullable: boolean } {
  const choices = schema.anyOf ?? schema.oneOf;
  if (!choices) return { schema, nullable: schema.default === null };
  const real = choices.filter((choice) => choice.type !== "null");
  const only = real.length === 1 ? real[0] : undefined;
  return { schema: only ?? {}, nullable: real.length < choices.length };
}

function kindOf(schema: Schema): FieldKind {
  const hint = String(schema.format ?? schema["x-format"] ?? "");
  if (/layer/.test(hint) || "x-layer-kind" in schema || "x-layer-kinds" in schema) return "layer";
  if (schema.enum) return "select";
  const type = Array.isArray(schema.type) ? schema.type.find((name) => name !== "null") : schema.type;
  // A pydantic tuple writes its members one by one (prefixItems), a plain list writes `items`.
  const member = schema.items ?? schema.prefixItems?.[0];
  if (type === "array" && member?.type === "number") {
    if (schema.minItems === 4 && schema.maxItems === 4) return "bbox";
    if (schema.minItems === 2 && schema.maxItems === 2) return "point";
  }
  if (type === "number" || type === "integer" || type === "boolean") return type;
  return type === "string" ? "text" : "json";
}

const text = (from: object, key: string): string | undefined => {
  const value = (from as Record<string, unknown>)[key];
  return typeof value === "string" && value ? value : undefined;
};
const names = (en: string, zh: string | undefined): Bilingual => ({ en, zh: zh ?? en });
const list = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : typeof value === "string" ? [value] : []);

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
    case "bbox": {
      const numbers = input.split(/[\s,，]+/).map(Number);
      const wanted = field.kind === "point" ? 2 : 4;
      return numbers.length === wanted && numbers.every(Number.isFinite) ? { value: numbers } : { fault: { key: "form.number" } };
    }
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

/** All inputs, or the faults by field name. */
export function collect(fields: readonly Field[], values: Record<string, string>):
  { inputs: Record<string, unknown>; faults: Record<string, Fault> } {
  const inputs: Record<string, unknown> = {};
  const faults: Record<string, Fault> = {};
  for (const field of fields) {
    const { value, fault } = parse(field, values[field.name] ?? field.initial);
    if (fault) faults[field.name] = fault;
    else if (value !== undefined) inputs[field.name] = value;
  }
  return { inputs, faults };
}
