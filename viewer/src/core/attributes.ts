/** A feature's properties as titled rows and sections, ready to print. */
import type { Column, Feature } from "../api/types";
import { commonTitle, commonValue } from "./columns";
import { attribute } from "./format";
import type { Lang } from "./i18n";
import { bilingual, isMessageKey, translate } from "./i18n";

export interface Row {
  name: string;
  label: string;
  value: string;
}
export interface Section {
  title: string;
  rows: Row[];
}
export interface Card {
  id: string;
  title: string;
  subtitle: string;
  rows: Row[];
  /** Property sets and quantities, each collapsible. */
  sections: Section[];
}

const NAMES = ["name", "name_zh", "name:zh", "名称", "名字", "title", "longname", "label"];

/** The name a reader would call the feature by; in English a column like `name_en` comes first. */
export function featureName(properties: Record<string, unknown>, lang: Lang): string {
  const wanted = lang === "en" ? ["name_en", "name:en", ...NAMES] : NAMES;
  for (const key of wanted) {
    const hit = Object.entries(properties).find(([name]) => name.toLowerCase() === key);
    if (hit && (typeof hit[1] === "string" || typeof hit[1] === "number") && String(hit[1]).trim()) return String(hit[1]);
  }
  return "";
}

export function toCard(feature: Feature, schema: readonly Column[], lang: Lang): Card {
  const columns = new Map(schema.map((column) => [column.name, column]));
  const rows: Row[] = [];
  const sections: Section[] = [];
  for (const [name, value] of Object.entries(feature.properties)) {
    if (isRecord(value)) {
      sections.push(...nested(name, value, lang));
      continue;
    }
    if (name === "id" && String(value) === feature.id) continue;
    const column = columns.get(name);
    rows.push({ name, label: columnTitle(name, column, lang), value: bilingual(lang, commonValue(name, value)) || attribute(lang, value, column?.unit) });
  }
  const name = featureName(feature.properties, lang);
  return { id: feature.id, title: name || feature.id, subtitle: name ? feature.id : "", rows, sections };
}

/** The source's own title in this language, else the usual one, else whatever the source has, else the bare name. */
export function columnTitle(name: string, column: Column | undefined, lang: Lang): string {
  return column?.title?.[lang] || bilingual(lang, commonTitle(name)) || bilingual(lang, column?.title, name);
}

/** `psets` and `quantities` hold sets by name; any other object is one section of its own. */
function nested(name: string, value: Record<string, unknown>, lang: Lang): Section[] {
  const sets = Object.entries(value).filter((entry): entry is [string, Record<string, unknown>] => isRecord(entry[1]));
  const own = Object.entries(value).filter(([, item]) => !isRecord(item));
  const key = `pick.${name}`;
  const title = isMessageKey(key) ? translate(lang, key) : name;
  const found: Section[] = own.length > 0 ? [{ title, rows: own.map((entry) => plainRow(entry, lang)) }] : [];
  for (const [set, items] of sets)
    found.push({ title: set, rows: Object.entries(items).map((entry) => plainRow(entry, lang)) });
  return found;
}

/** A value of a set may come bare or as {value, unit}. */
function plainRow([name, value]: [string, unknown], lang: Lang): Row {
  if (isRecord(value) && "value" in value) {
    const unit = typeof value["unit"] === "string" ? value["unit"] : null;
    return { name, label: name, value: attribute(lang, value["value"], unit) };
  }
  return { name, label: name, value: attribute(lang, value) };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
