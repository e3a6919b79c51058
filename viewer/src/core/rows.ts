/**
 * Lists of rows in a form: structures, inflows, sections. A row is an object of one of several shapes; its members become fields, those of an
 * object inside it as `breach.at`. Rows are kept as JSON text, so that a reader can also paste rows or GeoJSON.
 */
import type { Schema } from "../api/types";
import { ROW_NAMES } from "./row-names";
import { fieldOf, initialText, parse, rowSchemas, unwrap, type Fault, type Field } from "./schema-form";

/** A shape that a row may have. */
export interface Variant {
  /** Value of the member that tells shapes apart, "" where there is none. */
  tag: string;
  fields: Field[];
}
export type Row = Record<string, unknown>;

/** The member whose value tells the shapes apart. */
const TAG = "kind";

export function variantsOf(field: Field): Variant[] {
  return rowSchemas(field.schema.items ?? {}).flatMap((schema) => {
    const tags = tagsOf(schema.properties?.[TAG]);
    const fields = fieldsIn(schema, "").filter(({ name }) => tags.length === 0 || name !== TAG);
    return (tags.length > 0 ? tags : [""]).map((tag) => ({ tag, fields }));
  });
}

function tagsOf(schema: Schema | undefined): string[] {
  if (schema?.const !== undefined) return [String(schema.const)];
  return (schema?.enum ?? []).map(String);
}

function fieldsIn(schema: Schema, before: string): Field[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, raw]) => {
    const inner = unwrap(raw).schema;
    if (inner.properties && before === "") return fieldsIn(inner, `${name}.`);
    const required = schema.required?.includes(name) ?? false;
    const said = ROW_NAMES[name];
    const field = fieldOf(name, { schema: raw, minOccurs: Number(required) });
    const part = before ? ROW_NAMES[before.slice(0, -1)] : undefined;
    const title = said ? { zh: part ? `${part[0]}：${said[0]}` : said[0], en: part ? `${part[1]}: ${said[1]}` : said[1] } : field.title;
    return [{ ...field, name: before + name, title, initial: before ? "" : field.initial }];
  });
}

export const tagName = (tag: string, lang: "zh" | "en"): string => ROW_NAMES[tag]?.[lang === "zh" ? 0 : 1] ?? tag;

/** The shape that a row has; the first one if it does not say. */
export const variantOf = (variants: readonly Variant[], row: Row): Variant | undefined =>
  variants.find(({ tag }) => tag !== "" && tag === row[TAG]) ?? variants[0];

export const newRow = (variant: Variant): Row => (variant.tag ? { [TAG]: variant.tag } : {});

/** What a field of a row shows: its value as text, else its default. */
export function textIn(row: Row, field: Field): string {
  const [first, second] = field.name.split(".") as [string, string?];
  const outer = row[first];
  const value = second === undefined ? outer : (outer as Row | undefined | null)?.[second];
  return value === undefined || value === null ? field.initial : typeof value === "string" ? value : initialText(field.kind, value);
}

/** The row with one field's text put in; text that does not parse is kept as it is, for `faultIn` to find. */
export function withText(row: Row, field: Field, text: string): Row {
  const { value, fault } = parse({ ...field, required: false }, text);
  const next = fault ? text : value;
  const [first, second] = field.name.split(".") as [string, string?];
  const put = (into: Row, name: string): Row => {
    const { [name]: _old, ...rest } = into;
    return next === undefined ? rest : { ...rest, [name]: next };
  };
  if (second === undefined) return put(row, first);
  const inner = put((row[first] as Row | undefined) ?? {}, second);
  const { [first]: _old, ...rest } = row;
  return Object.keys(inner).length === 0 ? rest : { ...rest, [first]: inner };
}

/** What is wrong with a row, field by field. */
export function faultsIn(row: Row, variant: Variant): Record<string, Fault> {
  const faults: Record<string, Fault> = {};
  for (const field of variant.fields) {
    const part = field.name.includes(".") ? field.name.split(".")[0]! : null;
    const absent = part !== null && (row[part] === undefined || row[part] === null);
    const { fault } = parse({ ...field, required: field.required && !absent }, textIn(row, field));
    if (fault) faults[field.name] = fault;
  }
  return faults;
}

/** Rows from JSON text: a list, or GeoJSON whose properties are the members and whose geometry is the line. Throws what JSON.parse throws. */
export function rowsFrom(text: string): Row[] | null {
  if (!text.trim()) return [];
  const value = JSON.parse(text) as { type?: string; features?: unknown; geometry?: unknown } | Row[];
  if (Array.isArray(value)) return value.every((row) => typeof row === "object" && row !== null && !Array.isArray(row)) ? value : null;
  const features = value?.type === "Feature" ? [value] : value?.type === "FeatureCollection" ? value.features : null;
  if (!Array.isArray(features)) return null;
  const rows = (features as { geometry?: { type?: string; coordinates?: number[][] | number[] }; properties?: Row }[]).map(({ geometry, properties }) => {
    const points = geometry?.type === "LineString" ? (geometry.coordinates as number[][]) : geometry?.type === "Point" ? [geometry.coordinates as number[]] : null;
    return points && { ...properties, line: points.map(([lon, lat]) => [lon, lat]) };
  });
  return rows.every((row) => row !== null) ? rows : null;
}

/** The list's value, or what is wrong with it. */
export function parseRows(field: Field, text: string): { value?: unknown; fault?: Fault } {
  let rows: Row[] | null;
  try {
    rows = rowsFrom(text);
  } catch {
    return { fault: { key: "form.json" } };
  }
  if (rows === null) return { fault: { key: "form.rows" } };
  const variants = variantsOf(field);
  for (const [index, row] of rows.entries()) {
    const variant = variantOf(variants, row);
    const wrong = variant ? Object.keys(faultsIn(row, variant)) : [];
    if (wrong.length > 0) return { fault: { key: "form.row", n: index + 1, name: wrong[0]! } };
  }
  return { value: rows };
}
