/** The viewer's state in a link: what a colleague must see to see the same. Text after `#s=` is JSON in base64url. */
import type { View } from "./camera";
import type { Condition } from "./filter";
import type { Lang } from "./i18n";
import type { Colouring } from "./layers";
import { SIDES, type SectionBox } from "./section";
import type { Thematic } from "./thematic";

export interface SharedLayer {
  visible: boolean;
  opacity: number;
  colouring?: Colouring;
  thematic?: Thematic | null;
  conditions?: Condition[];
}
export interface Shared {
  view?: View;
  lang?: Lang;
  layers?: Record<string, SharedLayer>;
  selected?: { layer: string; id: string };
  /** Solar hour and date of the light. */
  sun?: { date: string; hour: number };
  asOf?: string;
  tab?: string;
  ground?: number;
  /** What the city is cut to. */
  section?: SectionBox;
}

export function encode(state: Shared): string {
  const bytes = new TextEncoder().encode(JSON.stringify(state));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** The state in a hash, or null when there is none or it is damaged; parts of the wrong type are left out. */
export function decode(hash: string): Shared | null {
  const text = /^#?s=([\w-]+)$/.exec(hash)?.[1];
  if (!text) return null;
  try {
    const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    return checked(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown);
  } catch {
    return null;
  }
}

const BOX_PAIRS = [["west", "east"], ["south", "north"], ["bottom", "top"]] as const;
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

function checked(value: unknown): Shared | null {
  if (!isRecord(value)) return null;
  const state: Shared = {};
  const { view, lang, layers, selected, sun, asOf, tab, ground, section } = value;
  if (isRecord(view) && ["lon", "lat", "height", "heading", "pitch", "range"].every((key) => Number.isFinite(view[key]))) state.view = view as unknown as View;
  if (lang === "zh" || lang === "en") state.lang = lang;
  if (isRecord(layers)) {
    const good = Object.entries(layers).filter((entry): entry is [string, Record<string, unknown>] =>
      isRecord(entry[1]) && typeof entry[1]["visible"] === "boolean" && Number.isFinite(entry[1]["opacity"]));
    state.layers = Object.fromEntries(good.map(([id, layer]) => [id, sharedLayer(layer)]));
  }
  if (isRecord(selected) && typeof selected["layer"] === "string" && typeof selected["id"] === "string") state.selected = { layer: selected["layer"], id: selected["id"] };
  if (isRecord(sun) && typeof sun["date"] === "string" && /^\d{4}-\d\d-\d\d$/.test(sun["date"]) && Number.isFinite(sun["hour"])) state.sun = { date: sun["date"], hour: sun["hour"] as number };
  if (typeof asOf === "string") state.asOf = asOf;
  if (typeof tab === "string") state.tab = tab;
  if (typeof ground === "number" && ground >= 0 && ground <= 1) state.ground = ground;
  if (isRecord(section) && typeof section["ground"] === "boolean" && ["lon", "lat", "height", "heading", ...SIDES].every((key) => Number.isFinite(section[key]))
    && BOX_PAIRS.every(([low, high]) => (section[low] as number) < (section[high] as number))) state.section = section as unknown as SectionBox;
  return state;
}

function sharedLayer(layer: Record<string, unknown>): SharedLayer {
  const { visible, opacity, colouring, thematic, conditions } = layer;
  const good: SharedLayer = { visible: visible as boolean, opacity: Math.min(1, Math.max(0, opacity as number)) };
  if (typeof colouring === "string") good.colouring = colouring as Colouring;
  if (isRecord(thematic) && typeof thematic["column"] === "string") good.thematic = thematic as unknown as Thematic;
  if (Array.isArray(conditions)) good.conditions = conditions.filter((one) => isRecord(one) && typeof one["column"] === "string") as Condition[];
  return good;
}
