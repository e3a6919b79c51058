/** Below the attributes of a card: what the feature belongs to and consists of (a BIM model's tree), and its history. Each is read when opened. */
import { css, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { Feature, FeatureHistory } from "../api/types";
import type { CityApp } from "../app";
import { columnTitle, featureName } from "../core/attributes";
import { attribute, number } from "../core/format";
import { layerTitle, type Layer } from "../core/layers";
import { family, parentOf, type Family } from "../core/relations";
import { icon, look, Panel } from "./base";

type Part = "tree" | "history";

@customElement("twin-feature-more")
export class FeatureMore extends Panel {
  static override styles = [look, css`
    :host { display: block; }
    details { border-top: 1px solid var(--line); margin-top: 4px; }
    summary { cursor: pointer; padding: 8px 16px; font-weight: 600; list-style: none; display: flex; align-items: center; gap: 6px; }
    summary::-webkit-details-marker { display: none; }
    summary svg { width: 15px; height: 15px; transform: rotate(-90deg); transition: transform 0.15s; color: var(--soft); }
    details[open] summary svg { transform: none; }
    ul { list-style: none; margin: 0; padding: 0 0 6px; }
    li > button, li > b { display: block; width: 100%; text-align: left; padding: 4px 16px 4px calc(16px + var(--deep, 0) * 13px); border-radius: 0; overflow-wrap: anywhere; }
    li > button:hover { background: var(--accent-wash); }
    small { color: var(--soft); margin-left: 6px; }
    p { margin: 0; padding: 4px 16px 8px; color: var(--soft); }
    .bad { color: var(--bad); }
    ol { list-style: none; margin: 0; padding: 0 16px 6px; }
    ol li { padding: 5px 0 5px 12px; border-left: 2px solid var(--line); }
    ol li.now { border-color: var(--accent); }
    ol div { color: var(--soft); font-size: 12px; overflow-wrap: anywhere; }
  `];

  @property({ attribute: false }) layer!: Layer;
  @property({ attribute: false }) feature!: Feature;
  @state() private tree: Family | null = null;
  @state() private past: FeatureHistory | null = null;
  @state() private why: Partial<Record<Part, string>> = {};
  /** What the reader opened stays open from card to card: each is an element of its own, and a tree is walked through many. */
  private static readonly opened = new WeakMap<CityApp, Set<Part>>();

  private get open(): Set<Part> {
    const known = FeatureMore.opened.get(this.app) ?? new Set<Part>();
    FeatureMore.opened.set(this.app, known);
    return known;
  }

  protected override willUpdate(changed: PropertyValues): void {
    if (!changed.has("feature") || changed.get("feature") === this.feature) return;
    this.tree = null;
    this.past = null;
    this.why = {};
    for (const part of this.parts()) if (this.open.has(part)) void this.read(part);
  }

  /** What there is to open about this feature. */
  private parts(): Part[] {
    if (!this.layer.links.items) return [];
    const related = this.layer.kind === "mesh" || parentOf(this.feature) !== null;
    return [...(related ? ["tree" as const] : []), ...((this.layer.version ?? 1) > 1 ? ["history" as const] : [])];
  }

  protected override render(): TemplateResult {
    const content = { tree: this.tree && (() => this.treeOf(this.tree!)), history: this.past && (() => this.historyOf(this.past!)) };
    return html`${this.parts().map((part) => this.section(part, content[part]))}`;
  }

  private section(name: Part, content: (() => TemplateResult) | null): TemplateResult {
    const why = this.why[name];
    return html`<details data-more=${name} ?open=${this.open.has(name)} @toggle=${(event: Event) => this.toggle(name, (event.target as HTMLDetailsElement).open)}>
      <summary>${icon("chevron")}${this.t(`more.${name}`)}</summary>
      ${why ? html`<p class="bad" role="alert">${this.t("pick.failed", { why })}</p>` : content ? content() : html`<p role="status">${this.t("pick.loading")}</p>`}</details>`;
  }

  private toggle(name: Part, open: boolean): void {
    if (open === this.open.has(name)) return;
    if (open) this.open.add(name);
    else this.open.delete(name);
    if (open) void this.read(name);
  }

  private async read(name: Part): Promise<void> {
    const { feature, layer } = this;
    try {
      if (name === "tree") {
        const found = await family(this.app.api, layer, feature);
        if (feature === this.feature) this.tree = found;
      } else {
        const found = await this.app.api.history(layer.id, feature.id);
        if (feature === this.feature) this.past = found;
      }
    } catch (error) {
      if (feature === this.feature) this.why = { ...this.why, [name]: this.app.why(error) };
    }
  }

  private treeOf({ ancestors, parts, count }: Family): TemplateResult {
    const name = (one: Feature) => featureName(one.properties, this.app.lang) || one.id;
    const kind = (one: Feature) => (typeof one.properties["class"] === "string" ? html`<small>${one.properties["class"]}</small>` : nothing);
    const row = (one: Feature, deep: number) => html`<li style="--deep:${deep}"><button data-relative=${one.id}
      @click=${() => void this.app.selection.showFeature(this.layer, one.id, null)}>${name(one)}${kind(one)}</button></li>`;
    const here = ancestors.length;
    return html`<ul>${ancestors.map(row)}
      <li style="--deep:${here}" aria-current="true"><b>${name(this.feature)}${kind(this.feature)}</b></li>
      ${parts.map((one) => row(one, here + 1))}</ul>
      ${count > parts.length ? html`<p>${this.t("hits.first", { n: parts.length })}</p>` : nothing}
      ${here === 0 && count === 0 ? html`<p>${this.t("more.alone", { name: layerTitle(this.layer, this.app.lang) })}</p>` : nothing}`;
  }

  private historyOf({ states, whole }: FeatureHistory): TemplateResult {
    const { lang } = this.app;
    const when = (text: string) => new Date(text).toLocaleString(lang === "zh" ? "zh-CN" : "en", { dateStyle: "medium", timeStyle: "short" });
    const told = states.filter(({ change }) => change !== "absent");
    return html`<ol>${told.map((one) => html`<li class=${one.current ? "now" : ""} data-version=${one.version}>
      ${this.t("layer.version", { n: number(lang, one.version, 0) })} · ${this.t(`history.${one.change as Exclude<typeof one.change, "absent">}`)}
      ${one.current ? html`<small>${this.t("look.now")}</small>` : nothing}
      <div>${one.shown.length > 0 ? one.shown.map(({ from, to }) => html`${when(from)} – ${to ? when(to) : ""} `) : this.t("history.never")}</div>
      ${one.moved ? html`<div>${this.t("history.moved")}</div>` : nothing}
      ${one.alterations.map(({ name, before, after }) => {
        const column = this.layer.schema.find((found) => found.name === name);
        const text = (value: unknown) => attribute(lang, value, column?.unit) || "—";
        return html`<div data-altered=${name}>${columnTitle(name, column, lang)}: ${text(before)} → ${text(after)}</div>`;
      })}</li>`)}</ol>
      ${whole ? nothing : html`<p>${this.t("hits.first", { n: states.length })}</p>`}`;
  }
}
