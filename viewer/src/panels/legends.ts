/** Legends of the visible rasters and results: what the colours over the ground mean. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import type { Legend, LegendEntry } from "../api/types";
import { number, unitText } from "../core/format";
import { columnTitle } from "../core/attributes";
import { bilingual } from "../core/i18n";
import { drapeRank, layerTitle, type Layer } from "../core/layers";
import { icon, look, Panel } from "./base";

const MAX_CLASSES = 14;

@customElement("twin-legends")
export class Legends extends Panel {
  static override styles = [look, css`
    .box { background: var(--paper); border-radius: 10px; box-shadow: 0 3px 16px rgba(18, 38, 56, 0.14); overflow: hidden; max-height: 100%; display: flex; flex-direction: column; }
    .title { display: flex; align-items: center; gap: 6px; width: 100%; padding: 7px 12px; font-weight: 600; font-size: 12px; }
    .title svg { width: 15px; height: 15px; transition: transform 0.15s; color: var(--soft); margin-left: auto; }
    .title[aria-expanded="false"] svg { transform: rotate(180deg); }
    .body { padding: 0 12px 9px; }
    article + article { margin-top: 9px; padding-top: 8px; border-top: 1px solid var(--line); }
    h3 { margin: 0 0 4px; font-size: 12px; font-weight: 600; }
    h3 span { font-weight: 400; color: var(--soft); }
    .ramp { height: 10px; border-radius: 3px; border: 1px solid rgba(20, 40, 60, 0.15); }
    .ends { display: flex; justify-content: space-between; font-size: 11px; color: var(--soft); }
    .row { display: flex; align-items: center; gap: 7px; font-size: 12px; line-height: 19px; }
    .row i { width: 16px; height: 11px; border-radius: 2px; border: 1px solid rgba(20, 40, 60, 0.15); flex: none; }
  `];

  @state() private open = true;

  protected override render(): TemplateResult | typeof nothing {
    const shown = this.app.layers
      .filter((layer) => this.app.states.get(layer.id)?.visible)
      .flatMap((layer) => {
        const themed = this.app.states.get(layer.id)?.thematic ? this.app.themes.get(layer.id) : undefined;
        const own = layer.kind === "raster" || layer.kind === "terrain" || layer.run !== null ? this.app.legends.get(layer.id) : undefined;
        const legend = themed ?? own;
        return legend && legend.type !== "rgb" && (legend.entries?.length ?? 0) > 0 ? [{ layer, legend }] : [];
      })
      .sort((a, b) => drapeRank(b.layer) - drapeRank(a.layer));
    if (shown.length === 0) return nothing;
    return html`<section class="box" aria-label=${this.t("legend.title")}>
      <button class="title" aria-expanded=${this.open} @click=${() => { this.open = !this.open; }}>${this.t("legend.title")}${icon("chevron")}</button>
      ${this.open ? html`<div class="body scroll">${shown.map(({ layer, legend }) => this.legend(layer, legend))}</div>` : nothing}</section>`;
  }

  private legend(layer: Layer, legend: Legend): TemplateResult {
    const unit = unitText(legend.unit);
    const entries = legend.entries ?? [];
    return html`<article data-legend=${layer.id}>
      <h3>${this.heading(layer, legend)} ${unit ? html`<span>(${unit})</span>` : nothing}</h3>
      ${legend.type === "continuous" ? this.ramp(entries) : entries.slice(0, MAX_CLASSES).map((entry) =>
        html`<div class="row"><i style="background:${entry.color}"></i>${this.text(entry)}</div>`)}
    </article>`;
  }

  private heading(layer: Layer, legend: Legend): string {
    const { lang } = this.app;
    const column = this.app.states.get(layer.id)?.thematic?.column;
    if (column) return `${layerTitle(layer, lang)} · ${columnTitle(column, layer.schema.find(({ name }) => name === column), lang)}`;
    return bilingual(lang, legend.title, layerTitle(layer, lang));
  }

  private ramp(entries: LegendEntry[]): TemplateResult {
    const [first, last] = [entries[0], entries[entries.length - 1]];
    return html`<div class="ramp" style="background:linear-gradient(90deg, ${entries.map(({ color }) => color).join(", ")})"></div>
      <div class="ends"><span>${first ? this.text(first, 0) : ""}</span><span>${last ? this.text(last, 1) : ""}</span></div>`;
  }

  /** The entry's own words, else its value; of an interval one end may be wanted. */
  private text(entry: LegendEntry, end?: 0 | 1): string {
    const { lang } = this.app;
    const label = bilingual(lang, entry.label);
    if (label) return label;
    const { value } = entry;
    if (Array.isArray(value))
      return end === undefined ? `${number(lang, value[0])} – ${number(lang, value[1])}` : number(lang, value[end]);
    return typeof value === "number" ? number(lang, value) : value ?? "";
  }
}
