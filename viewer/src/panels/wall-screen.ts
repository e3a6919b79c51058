/** The big screen (一屏): what the city holds, in key figures and charts, and what needs somebody's attention. Nothing on it is clicked. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import type { ColumnStatistics, Job, Statistics } from "../api/types";
import { alertsOf, figuresOf, type Alert } from "../core/overview";
import { columnTitle } from "../core/attributes";
import { number, withUnit } from "../core/format";
import { bilingual, locale } from "../core/i18n";
import { layerTitle, type Layer } from "../core/layers";
import { look, Panel } from "./base";
import "./chart";

const EVERY = 30_000;

@customElement("twin-wall-screen")
export class WallScreen extends Panel {
  static override styles = [look, css`
    :host { position: absolute; inset: 0 0 26px 0; pointer-events: none; display: grid; grid-template: auto 1fr / minmax(300px, 23%) 1fr minmax(300px, 23%); gap: 16px; padding: 16px; font-size: 15px; color: #eaf3f9; }
    header { grid-column: 1 / 4; display: flex; align-items: baseline; gap: 20px; padding: 10px 24px; background: linear-gradient(180deg, rgba(7, 29, 48, 0.92), rgba(7, 29, 48, 0.6)); border-radius: 12px; }
    header h1 { margin: 0; font-size: 30px; letter-spacing: 0.08em; flex: 1; text-align: center; }
    header span { color: #b8d2e4; font-size: 17px; min-width: 12em; }
    header span:last-child { text-align: right; }
    section { background: rgba(7, 29, 48, 0.84); border-radius: 12px; padding: 14px 18px; overflow: hidden; align-self: start; max-height: 100%; }
    section:last-child { grid-column: 3; }
    h2 { font-size: 17px; color: #8fd0ef; margin: 0 0 8px; }
    h2:not(:first-child) { margin-top: 16px; }
    dl { display: grid; grid-template-columns: 1fr auto; gap: 4px 12px; margin: 0; align-items: baseline; }
    dt { color: #c3d8e6; }
    dd { margin: 0; font-size: 24px; font-weight: 700; text-align: right; }
    dd small { font-size: 13px; font-weight: 400; color: #b8d2e4; }
    ul { list-style: none; margin: 0; padding: 0; display: grid; gap: 8px; }
    li { border-left: 4px solid #5fb3e0; padding: 2px 0 2px 10px; line-height: 1.45; }
    li.warn { border-color: #f2b03d; }
    li.bad { border-color: #ff7a6b; }
    li.good { border-color: #61c58d; }
    twin-chart { height: 170px; background: rgba(255, 255, 255, 0.94); border-radius: 8px; margin-top: 6px; }
  `];

  @state() private statistics: { layer: Layer; answer: Statistics } | null = null;
  @state() private jobs: Job[] = [];
  @state() private now = new Date();
  private timer = 0;
  private asked = "";

  override connectedCallback(): void {
    super.connectedCallback();
    this.timer = window.setInterval(() => { this.now = new Date(); void this.read(); }, EVERY);
  }
  override disconnectedCallback(): void {
    super.disconnectedCallback();
    window.clearInterval(this.timer);
  }

  protected override updated(): void {
    const main = this.main();
    const key = main ? `${main.id}/${main.key}` : "";
    if (key && key !== this.asked) {
      this.asked = key;
      void this.read();
    }
  }

  /** The buildings of the city: the blocks layer with most features. */
  private main(): Layer | undefined {
    return this.app.layers.filter((layer) => layer.kind === "blocks" && !layer.run && layer.links.items).sort((a, b) => (b.count ?? 0) - (a.count ?? 0))[0];
  }

  private async read(): Promise<void> {
    const layer = this.main();
    try {
      this.jobs = await this.app.api.jobs();
      if (layer) this.statistics = { layer, answer: await this.app.api.statistics(layer.id) };
    } catch {
      // The watch on the server says so already; the last figures stay.
    }
  }

  protected override render(): TemplateResult {
    const { app } = this;
    const date = new Intl.DateTimeFormat(locale(app.lang), { dateStyle: "full" }).format(this.now);
    const time = new Intl.DateTimeFormat(locale(app.lang), { timeStyle: "short" }).format(this.now);
    return html`<header><span>${date}</span><h1>${bilingual(app.lang, app.city?.title, app.t("app.name"))}</h1><span>${time}</span></header>
      <section aria-label=${this.t("wall.figures")}><h2>${this.t("wall.figures")}</h2><dl>${figuresOf(app.layers).map(({ layer, count }) => html`
        <dt>${layerTitle(layer, app.lang)}</dt><dd data-figure=${layer.id}>${number(app.lang, count, 0)}</dd>`)}</dl>${this.charts()}</section>
      <section aria-label=${this.t("wall.alerts")} role="status"><h2>${this.t("wall.alerts")}</h2><ul>${this.alerts().map(({ level, text }) => html`<li class=${level}>${text}</li>`)}</ul></section>`;
  }

  private charts(): TemplateResult | typeof nothing {
    if (!this.statistics) return nothing;
    const { layer, answer } = this.statistics;
    const sums = answer.properties.filter(({ sum, unit }) => sum !== undefined && sum !== null && (unit === "m2" || unit === "m²"));
    const classes = answer.properties.filter(({ values, distinct }) => (values?.length ?? 0) > 1 && (distinct ?? 99) <= 12).slice(0, 1);
    const heights = answer.properties.filter(({ histogram, unit }) => histogram && unit === "m").slice(0, 1);
    return html`${sums.length > 0 ? html`<dl>${sums.slice(0, 2).map((column) => html`<dt>${this.caption(layer, column)}</dt>
        <dd>${number(this.app.lang, column.sum!, 0)} <small>${withUnit("", column.unit)}</small></dd>`)}</dl>` : nothing}
      ${[...classes, ...heights].map((column) => html`<h2>${layerTitle(layer, this.app.lang)} · ${this.caption(layer, column)}${column.histogram && column.unit ? ` (${column.unit})` : ""}</h2>
        <twin-chart .label=${this.caption(layer, column)} .option=${chart(column, (v) => number(this.app.lang, v, 0))}></twin-chart>`)}`;
  }

  private caption = (layer: Layer, column: ColumnStatistics): string =>
    columnTitle(column.name, layer.schema.find(({ name }) => name === column.name), this.app.lang);

  private alerts(): { level: Alert["level"]; text: string }[] {
    const { app } = this;
    const found = alertsOf(app.layers, this.jobs).map(({ level, key, values, layer }) =>
      ({ level, text: this.t(key, { ...values, ...(typeof values["n"] === "number" ? { n: number(app.lang, values["n"], 0) } : {}), ...(layer ? { name: layerTitle(layer, app.lang) } : {}) }) }));
    return found.length > 0 ? found : [{ level: "good", text: this.t("wall.calm") }];
  }
}

function chart(column: ColumnStatistics, text: (value: number) => string): object {
  const bars = column.histogram
    ? column.histogram.counts.map((count, i) => ({ name: text(column.histogram!.edges[i]!), count }))
    : (column.values ?? []).slice(0, 8).map(({ value, count }) => ({ name: value, count }));
  return {
    xAxis: { type: "category", data: bars.map(({ name }) => name), axisLabel: { interval: column.histogram ? Math.ceil(bars.length / 8) - 1 : 0, hideOverlap: true } }, yAxis: { type: "value", minInterval: 1 },
    series: [{ type: "bar", data: bars.map(({ count }) => count), itemStyle: { color: "#2f86b8" } }],
  };
}
