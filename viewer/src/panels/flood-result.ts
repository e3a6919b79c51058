/** The flood preview's level to set, and what lies under water at it. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, property } from "lit/decorators.js";
import { metres, number, squareMetres } from "../core/format";
import { isMessageKey } from "../core/i18n";
import type { MessageKey } from "../core/messages";
import type { Preview } from "../tools/types";
import { look, Panel } from "./base";

/** Metres above the clicked point that the slider reaches; the number field takes more. */
const REACH = 15;

@customElement("twin-flood-result")
export class FloodResult extends Panel {
  static override styles = [look, css`
    :host { display: grid; gap: 6px; }
    label { display: grid; grid-template-columns: 1fr 6.4em; gap: 8px; align-items: center; }
    input { font: inherit; padding: 3px 6px; border: 1px solid var(--line); border-radius: 6px; min-width: 0; width: 100%; background: #fff; }
    input[type="range"] { accent-color: var(--accent); padding: 0; border: 0; background: none; }
    dl { display: grid; grid-template-columns: auto 1fr; gap: 2px 12px; margin: 0; }
    dt { color: var(--soft); }
    dd { margin: 0; text-align: right; font-weight: 600; }
    p { margin: 0; }
    .warn { color: #7a4b00; background: #fff6e0; padding: 3px 8px; border-radius: 5px; }
  `];

  @property({ attribute: false }) result!: Preview;

  protected override render(): TemplateResult {
    const { lang, tools } = this.app;
    const { pool, level, datum, heights, from } = this.result;
    const shift = datum?.separation ?? 0;
    const name = datum && isMessageKey(`datum.${datum.vertical}`) ? this.t(`datum.${datum.vertical}` as MessageKey) : datum?.vertical ?? this.t("flood.ellipsoid");
    const floor = Math.floor(((Number.isFinite(heights[from]!) ? heights[from]! : level) - shift) * 10) / 10;
    const shown = Math.round((level - shift) * 100) / 100;
    const set = (event: Event): void => {
      const { value } = event.target as HTMLInputElement;
      if (value !== "") tools.setLevel(Number(value) + shift);
    };
    const label = this.t("flood.level", { datum: name });
    return html`<label>${label}<input type="number" step="0.1" data-role="level" .value=${String(shown)} @change=${set} /></label>
      <input type="range" min=${floor} max=${floor + REACH} step="0.1" aria-label=${label} data-role="level-slider" .value=${String(shown)} @input=${set} />
      <dl><dt>${this.t("flood.area")}</dt><dd data-figure="flood.area">${squareMetres(lang, pool.area)}</dd>
        <dt>${this.t("flood.volume")}</dt><dd data-figure="flood.volume">${number(lang, pool.volume, 0)} m³</dd>
        <dt>${this.t("flood.deepest")}</dt><dd data-figure="flood.deepest">${metres(lang, pool.deepest, 2)}</dd></dl>
      ${pool.area === 0 ? html`<p class="warn">${this.t("flood.dry")}</p>` : pool.open ? html`<p class="warn" data-role="open">${this.t("flood.open")}</p>` : nothing}
      <p class="muted">${this.t("flood.note")}${datum ? ` ${this.t("measure.above.note", { n: number(lang, datum.accuracy) })}` : ""}</p>`;
  }
}
