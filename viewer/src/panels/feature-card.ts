/** The card of what was clicked: attributes with units, property sets folded, or the list of what lies there. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement } from "lit/decorators.js";
import { featureName, toCard, type Row, type Section } from "../core/attributes";
import { degrees, number } from "../core/format";
import { layerTitle } from "../core/layers";
import type { Place } from "../cesium/pick";
import type { Found, Picked } from "../selection";
import { icon, look, Panel } from "./base";
import "./feature-more";

/** Attributes without a value that are shown in their places. */
const FEW_EMPTY = 4;

@customElement("twin-feature-card")
export class FeatureCard extends Panel {
  static override styles = [look, css`
    :host { display: block; }
    .card {
      background: var(--paper); border-radius: 12px; box-shadow: 0 6px 28px rgba(18, 38, 56, 0.18); display: flex; flex-direction: column;
      max-height: 100%; overflow: hidden;
    }
    header { display: flex; align-items: flex-start; gap: 6px; padding: 13px 10px 10px 16px; border-bottom: 1px solid var(--line); }
    header div { flex: 1; min-width: 0; }
    header h2 { font-size: 16px; line-height: 1.35; overflow-wrap: anywhere;
      display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden; }
    .layer { color: var(--accent); font-size: 12px; font-weight: 600; }
    .id { color: var(--soft); font-size: 12px; overflow-wrap: anywhere; }
    .body { padding: 6px 0 10px; }
    dl { margin: 0; display: grid; grid-template-columns: minmax(6.5em, 38%) 1fr; }
    dt, dd { margin: 0; padding: 5px 0; overflow-wrap: anywhere; }
    dt { color: var(--soft); padding-left: 16px; padding-right: 10px; }
    dd { padding-right: 16px; }
    details { border-top: 1px solid var(--line); margin-top: 4px; }
    summary { cursor: pointer; padding: 8px 16px; font-weight: 600; list-style: none; display: flex; align-items: center; gap: 6px; }
    summary::-webkit-details-marker { display: none; }
    summary svg { width: 15px; height: 15px; transform: rotate(-90deg); transition: transform 0.15s; color: var(--soft); }
    details[open] summary svg { transform: none; }
    summary .n { margin-left: auto; font-weight: 400; color: #566673; }
    .none { color: #a3afb9; }
    footer { border-top: 1px solid var(--line); padding: 8px 10px 8px 16px; display: flex; align-items: center; gap: 8px; color: var(--soft); font-size: 12px; }
    footer span { flex: 1; }
    .hit { display: block; width: 100%; text-align: left; padding: 8px 16px; border-radius: 0; }
    .hit:hover { background: var(--accent-wash); }
    .hit small { display: block; color: var(--soft); }
    .say { padding: 14px 16px; color: var(--soft); }
    .bad { color: var(--bad); }
    .bar { height: 2px; background: linear-gradient(90deg, transparent, var(--accent), transparent); background-size: 50% 100%; animation: run 1.1s linear infinite; }
    @keyframes run { from { background-position: -60% 0; } to { background-position: 160% 0; } }
  `];

  protected override render(): TemplateResult | typeof nothing {
    const { picked } = this.app.selection;
    if (picked.kind === "none") return nothing;
    return html`<section class="card" role="region" aria-label=${this.t("pick.title")} data-state=${picked.kind}>
      ${this.content(picked)}${picked.place ? this.position(picked.place) : nothing}</section>`;
  }

  private content(picked: Exclude<Picked, { kind: "none" }>): TemplateResult {
    switch (picked.kind) {
      case "loading":
        return html`${this.head(picked.layer ? layerTitle(picked.layer, this.app.lang) : this.t("pick.here"), picked.id || this.t("pick.loading"), "")}
          <div class="bar"></div>`;
      case "failed":
        return html`${this.head("", this.t("pick.title"), "")}
          <p class="say bad">${this.t("pick.failed", { why: picked.why })}</p>
          <p class="say"><button class="quiet" @click=${picked.again}>${this.t("pick.retry")}</button></p>`;
      case "list":
        return this.list(picked.found, picked.place, picked.partial);
      case "feature":
        return this.feature(picked);
    }
  }

  private head(layer: string, title: string, id: string, back = false): TemplateResult {
    return html`<header>
      ${back ? html`<button class="icon" title=${this.t("pick.back")} aria-label=${this.t("pick.back")}
        @click=${() => this.app.selection.back()}>${icon("back")}</button>` : nothing}
      <div>${layer ? html`<span class="layer">${layer}</span>` : nothing}<h2 title=${title}>${title}</h2>
        ${id ? html`<span class="id" data-field="id">${id}</span>` : nothing}</div>
      <button class="icon" title=${this.t("panel.close")} aria-label=${this.t("panel.close")}
        @click=${() => this.app.selection.clear()}>${icon("close")}</button>
    </header>`;
  }

  private feature({ layer, feature, from }: Extract<Picked, { kind: "feature" }>): TemplateResult {
    const card = toCard(feature, layer.schema, this.app.lang);
    // A BIM part has dozens of columns that only other classes fill: a few stay in their places, many are folded away.
    const empty = card.rows.filter(({ value }) => !value);
    const [known, unknown] = empty.length > FEW_EMPTY ? [card.rows.filter(({ value }) => value), empty] : [card.rows, []];
    return html`${this.head(layerTitle(layer, this.app.lang), card.title, card.id, from.length > 0)}
      <div class="body scroll">
        ${card.rows.length > 0 ? this.rows(known) : html`<p class="say">${this.t("pick.empty")}</p>`}
        ${card.sections.map((section, index) => this.section(section, index === 0))}
        ${unknown.length > 0 ? this.section({ title: this.t("pick.unknown"), rows: unknown }, false) : nothing}
        <twin-feature-more .app=${this.app} .layer=${layer} .feature=${feature}></twin-feature-more>
      </div>`;
  }

  private rows(rows: Row[]): TemplateResult {
    return html`<dl>${rows.map(({ name, label, value }) => html`<dt title=${name}>${label}</dt>
      <dd data-attribute=${name}>${value || html`<span class="none">—</span>`}</dd>`)}</dl>`;
  }

  private section({ title, rows }: Section, open: boolean): TemplateResult {
    return html`<details ?open=${open}><summary>${icon("chevron")}${title}<span class="n">${rows.length}</span></summary>${this.rows(rows)}</details>`;
  }

  private list(found: Found[], place: Place, partial: boolean): TemplateResult {
    const { lang } = this.app;
    const title = found.length === 0 ? this.t("pick.nothing") : this.t("pick.hits", { n: found.length });
    return html`${this.head(this.t("pick.here"), title, "")}
      ${found.length === 0 ? nothing : html`<div class="body scroll">${found.map((hit) => html`
        <button class="hit" data-hit=${hit.feature.id} @click=${() => this.app.selection.open(hit, place, found)}>
          ${featureName(hit.feature.properties, lang) || hit.feature.id}<small>${layerTitle(hit.layer, lang)}</small></button>`)}
        ${partial ? html`<p class="say">${this.t("pick.partial", { n: found.length })}</p>` : nothing}</div>`}`;
  }

  private position({ lon, lat, height }: Place): TemplateResult {
    const text = `${degrees(this.app.lang, lon, "lon")}  ${degrees(this.app.lang, lat, "lat")}`;
    return html`<footer><span data-field="position">${text}<br />${this.t("coord.height")} ${number(this.app.lang, height, 2)} m</span>
      <button class="icon" title=${this.t("coord.copy")} aria-label=${this.t("coord.copy")}
        @click=${() => void navigator.clipboard?.writeText(`${lon.toFixed(8)},${lat.toFixed(8)},${height.toFixed(3)}`)}>${icon("copy")}</button>
    </footer>`;
  }
}
