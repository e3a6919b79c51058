/**
 * A filter as rows of column, comparison and value. One list says it three times: in CQL2 for the server (counts, tables, statistics, drawn
 * vectors), as an expression of the 3D Tiles style language for the tiles, and in words for the reader. A row may be a place instead of an
 * attribute (`within`); which features of the tiles touch it is for the server to say, so it has no expression.
 */
import type { Column } from "../api/types";
import { propertyIds } from "./properties";

export const WITHIN = "within";
export const COMPARISONS = ["=", "<>", "<", "<=", ">", ">=", "like", "null", "notnull"] as const;
export type Comparison = (typeof COMPARISONS)[number] | typeof WITHIN;

export interface Condition {
  /** Name of the column; "" of a place. */
  column: string;
  op: Comparison;
  /** Of a place its corners: "lon, lat; lon, lat; …", degrees. */
  value: string;
}

export type ColumnKind = "number" | "text" | "boolean" | "other";

/** What a column's Arrow type is to a filter. */
export function columnKind(type: string): ColumnKind {
  if (/^(u?int|float|double|half|decimal)/i.test(type)) return "number";
  if (/^(large_)?(string|utf8)|^dictionary/i.test(type)) return "text";
  return /^bool/i.test(type) ? "boolean" : "other";
}

/** Comparisons that make sense for a kind of column. */
export function comparisons(kind: ColumnKind): Comparison[] {
  if (kind === "number") return ["=", "<>", "<", "<=", ">", ">=", "null", "notnull"];
  return kind === "text" ? ["=", "<>", "like", "null", "notnull"] : ["=", "null", "notnull"];
}

/** Rows that can be asked: the column exists, and the value suits it. */
export function complete(conditions: readonly Condition[], schema: readonly Column[]): Condition[] {
  return conditions.filter(({ column, op, value }) => {
    if (op === WITHIN) return cornersOf(value).length >= 3;
    const found = schema.find(({ name }) => name === column);
    if (!found) return false;
    if (op === "null" || op === "notnull") return true;
    const kind = columnKind(found.type);
    if (kind === "number") return value.trim() !== "" && Number.isFinite(Number(value));
    return kind === "boolean" ? /^(true|false)$/.test(value) : value !== "";
  });
}

const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const named = (column: string): string => `"${column.replaceAll('"', '""')}"`;
/** Wildcards of LIKE that the reader typed are meant as letters. */
const literal = (text: string): string => text.replace(/[\\%_]/g, (c) => `\\${c}`);

/** Corners of a drawn place in degrees; none where the text is no place. */
export function cornersOf(text: string): [number, number][] {
  const corners = text.split(";").map((place) => place.split(",").map(Number));
  const good = corners.every((place) => place.length === 2 && Math.abs(place[0]!) <= 180 && Math.abs(place[1]!) <= 90);
  return good ? (corners as [number, number][]) : [];
}

/** The places among the conditions: features must touch every one of them. */
export const places = (conditions: readonly Condition[]): [number, number][][] =>
  conditions.filter(({ op }) => op === WITHIN).map(({ value }) => cornersOf(value)).filter(({ length }) => length >= 3);

function ring(corners: readonly (readonly [number, number])[]): string {
  return `POLYGON((${[...corners, corners[0]!].map(([lon, lat]) => `${lon} ${lat}`).join(", ")}))`;
}

/** CQL2 text; "" for no condition. */
export function toCql2(conditions: readonly Condition[], schema: readonly Column[]): string {
  return complete(conditions, schema).map(({ column, op, value }) => {
    if (op === WITHIN) return `S_INTERSECTS(geometry, ${ring(cornersOf(value))})`;
    const kind = columnKind(schema.find(({ name }) => name === column)!.type);
    if (op === "null") return `${named(column)} IS NULL`;
    if (op === "notnull") return `${named(column)} IS NOT NULL`;
    if (op === "like") return `CASEI(${named(column)}) LIKE CASEI(${quoted(`%${literal(value)}%`)})`;
    return `${named(column)} ${op} ${kind === "text" ? quoted(value) : kind === "number" ? String(Number(value)) : value}`;
  }).join(" AND ");
}

/**
 * Expression of the 3D Tiles style language that is true for what matches; null for no condition.
 * A feature without the value matches no comparison, as in CQL2.
 */
export function toStyle(conditions: readonly Condition[], schema: readonly Column[]): string | null {
  const ids = propertyIds(schema.map(({ name }) => name));
  const tests = complete(conditions, schema).filter(({ op }) => op !== WITHIN).map(({ column, op, value }) => {
    const kind = columnKind(schema.find(({ name }) => name === column)!.type);
    const property = `\${${ids.get(column)!}}`;
    const known = `(${property} !== undefined && ${property} !== null)`;
    if (op === "null") return `!${known}`;
    if (op === "notnull") return known;
    if (op === "like") return `(${known} && regExp(${styleText(escapeRegExp(value))}, 'i').test(String(${property})))`;
    const operator = op === "=" ? "===" : op === "<>" ? "!==" : op;
    const right = kind === "text" ? styleText(value) : kind === "number" ? String(Number(value)) : value;
    // Booleans with nulls are stored as an enum of "true" and "false".
    if (kind === "boolean") return `(${known} && String(${property}) ${operator} '${value}')`;
    return `(${known} && ${property} ${operator} ${right})`;
  });
  return tests.length > 0 ? tests.join(" && ") : null;
}

const escapeRegExp = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, (c) => `\\${c}`);

/** A text literal of the style language, which knows backslash escapes. */
function styleText(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'").replaceAll("\n", "\\n")}'`;
}
