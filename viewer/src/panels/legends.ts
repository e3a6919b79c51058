/** Legends of the visible rasters and results: what the colours over the ground mean. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import type { LegendEntry } from "../api/types";
import { number } from "../core/format";
import { entryText, legendHeading, shownLegends, type ShownLegend } from "../core/legends";
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
    const { layers, states, legends, themes } = this.app;
    const shown = shownLegends(layers, states, legends, themes);
    if (shown.length === 0) return nothing;
    return html`<section class="box" aria-label=${this.t("legend.title")}>
      <button class="title" aria-expanded=${this.open} @click=${() => { this.open = !this.open; }}>${this.t("legend.title")}${icon("chevron")}</button>
      ${this.open ? html`<div class="body scroll">${shown.map((one) => this.legend(one))}</div>` : nothing}</section>`;
  }

  private legend(shown: ShownLegend): TemplateResult {
    const entries = shown.legend.entries ?? [];
    const { title, unit } = legendHeading(this.app.lang, shown);
    return html`<article data-legend=${shown.layers.map(({ id }) => id).join(" ")}>
      <h3>${title} ${unit ? html`<span>(${unit})</span>` : nothing}</h3>
      ${shown.legend.type === "continuous" ? this.ramp(shown, entries) : entries.slice(0, MAX_CLASSES).map((entry) =>
        html`<div class="row"><i style="background:${entry.color}"></i>${entryText(this.app.lang, shown, entry)}</div>`)}
      ${entries.length > MAX_CLASSES && shown.legend.type !== "continuous" ? html`<div class="row">${this.t("print.more", { n: number(this.app.lang, entries.length - MAX_CLASSES) })}</div>` : nothing}
    </article>`;
  }

  private ramp(shown: ShownLegend, entries: LegendEntry[]): TemplateResult {
    const { lang } = this.app;
    const [first, last] = [entries[0], entries[entries.length - 1]];
    return html`<div class="ramp" style="background:linear-gradient(90deg, ${entries.map(({ color }) => color).join(", ")})"></div>
      <div class="ends"><span>${first ? entryText(lang, shown, first, 0) : ""}</span><span>${last ? entryText(lang, shown, last, 1) : ""}</span></div>`;
  }
}
