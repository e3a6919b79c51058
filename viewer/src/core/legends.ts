/** What the colours on the map mean, in rows: for the legend beside it, for the layer's settings, and for a printed sheet. */
import type { Legend, LegendEntry } from "../api/types";
import { columnTitle } from "./attributes";
import { commonValue } from "./columns";
import { number, unitText } from "./format";
import { bilingual, translate, type Lang } from "./i18n";
import { drapeRank, layerTitle, type Layer, type LayerState } from "./layers";
import { DEPTHS, HEIGHTS, OTHER_USE, PLAIN, USES } from "./palette";

export interface ShownLegend {
  /** Layers that share it: the two sides of a comparison have one. */
  layers: Layer[];
  legend: Legend;
  /** Set when a layer is coloured by this column. */
  column: string | null;
}

/** Legends of the visible layers, the topmost first; equal ones of several layers are one. */
export function shownLegends(layers: readonly Layer[], states: ReadonlyMap<string, LayerState>, own: ReadonlyMap<string, Legend>, themes: ReadonlyMap<string, Legend>): ShownLegend[] {
  const found = new Map<string, ShownLegend>();
  const visible = layers.filter(({ id }) => states.get(id)?.visible).sort((a, b) => drapeRank(b) - drapeRank(a));
  for (const layer of visible) {
    const column = states.get(layer.id)?.thematic?.column ?? null;
    const themed = column === null ? undefined : themes.get(layer.id);
    const plain = layer.kind === "raster" || layer.kind === "terrain" || layer.run !== null ? own.get(layer.id) : undefined;
    const legend = themed ?? plain ?? (layer.run !== null && layer.kind === "blocks" ? blockLegend(layer, states.get(layer.id)!) : undefined);
    if (!legend || legend.type === "rgb" || (legend.entries?.length ?? 0) === 0) continue;
    // A legend that only says a layer's own colour is told apart by the layer's name.
    const mark = legend.type === "vector" ? layer.id : "";
    const key = JSON.stringify([mark, themed ? column : null, legend.type, legend.unit, legend.title, legend.entries]);
    const same = found.get(key);
    if (same) same.layers.push(layer);
    else found.set(key, { layers: [layer], legend, column: themed ? column : null });
  }
  return [...found.values()];
}

/** Title with unit. */
export function legendHeading(lang: Lang, { layers, legend, column }: ShownLegend): { title: string; unit: string } {
  const names = [...new Set(layers.map((layer) => layerTitle(layer, lang)))].join(" / ");
  const said = column === null ? bilingual(lang, legend.title, names)
    : `${names} · ${columnTitle(column, layers[0]!.schema.find(({ name }) => name === column), lang)}`;
  const unit = unitText(legend.unit);
  // Some titles end in the unit in words, which would stand there twice.
  return { title: unit ? said.replace(/\s*[（(][^（()）]*[)）]$/, "") : said, unit };
}

/** What a usual value of the column means, the entry's own words, else its value, else the name of what is drawn so; of an interval one end may be wanted. */
export function entryText(lang: Lang, { layers, column }: Pick<ShownLegend, "layers" | "column">, { label, value }: LegendEntry, end?: 0 | 1): string {
  const said = bilingual(lang, commonValue(column ?? "", value)) || bilingual(lang, label);
  if (said) return said;
  if (Array.isArray(value)) return end === undefined ? `${number(lang, value[0])} – ${number(lang, value[1])}` : number(lang, value[end]);
  return typeof value === "number" ? number(lang, value) : value || layers.map((layer) => layerTitle(layer, lang)).join(" / ");
}

/** Buildings of a result: their colours come from the viewer, not from the server. */
function blockLegend(layer: Layer, state: LayerState): Legend {
  const [zh, en] = [blockRows("zh", layer, state), blockRows("en", layer, state)];
  return { type: "classes", unit: "", title: {}, entries: zh.map(({ color, text }, row) => ({ color, label: { zh: text, en: en[row]!.text } })) };
}

/** Colours of a layer of blocks that no attribute colours. */
export function blockRows(lang: Lang, layer: Layer, { colouring }: LayerState): { color: string; text: string }[] {
  if (colouring === "use") return [...USES.map(({ key, color }) => ({ color, text: translate(lang, key) })), { color: OTHER_USE, text: translate(lang, "use.other") }];
  if (colouring === "plain") return [{ color: layer.style.color ?? PLAIN, text: layerTitle(layer, lang) }];
  const classes = colouring === "height" ? HEIGHTS : DEPTHS;
  return classes.map(([limit, color], index) => {
    const low = number(lang, index > 0 ? classes[index - 1]![0] : 0);
    return { color, text: Number.isFinite(limit) ? `${low}–${number(lang, limit)} m` : `> ${low} m` };
  });
}
