/** Hydrographs of a run: one curve at a time, with the clock's moment in it; a click into the chart sets the clock. */
import { css, html, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { number, unitText, withUnit } from "../core/format";
import { isMessageKey } from "../core/i18n";
import { curvesOf, valueAt, type Curve } from "../core/series";
import type { Run } from "../runs";
import { look, Panel } from "./base";
import { INK } from "./chart";
import "./chart";

@customElement("twin-hydrographs")
export class Hydrographs extends Panel {
  static override styles = [look, css`
    :host { display: block; }
    h4 { margin: 9px 0 3px; font-size: 12.5px; display: flex; justify-content: space-between; }
    h4 span { font-weight: 400; color: var(--soft); }
    select { font: inherit; width: 100%; padding: 4px 7px; border: 1px solid #cfd8df; border-radius: 7px; background: #fff; }
  `];

  @property({ attribute: false }) run!: Run;
  @state() private curves: Curve[] | null = null;
  @state() private chosen = "";
  private read = "";

  protected override listen(): () => void {
    const stops = [super.listen(), this.app.playback.ticked.on(() => this.requestUpdate())];
    return () => stops.forEach((stop) => stop());
  }

  protected override updated(changes: PropertyValues<this>): void {
    super.updated(changes);
    const layer = this.app.runs.hydrographsOf(this.run);
    const key = `${layer?.id}@${layer?.key}`;
    if (key === this.read) return;
    this.read = key;
    if (!layer) this.curves = [];
    else void this.app.runs.rows(layer).then(({ features }) => { this.curves = curvesOf(features.map(({ properties }) => properties)); }, () => { this.curves = []; });
  }

  protected override render(): TemplateResult {
    const { curves } = this;
    if (!curves) return html`<p class="muted">${this.t("pick.loading")}</p>`;
    const curve = curves.find(({ key }) => key === this.chosen) ?? curves[0];
    if (!curve) return html`<p class="muted">${this.t("hydro.none")}</p>`;
    const { time } = this.app.playback;
    const now = valueAt(curve, time);
    return html`<h4>${this.t("hydro.title")}<span data-role="now">${now === null ? "" : this.t("hydro.now", { v: withUnit(number(this.app.lang, now, 2), curve.unit) })}</span></h4>
      <select aria-label=${this.t("hydro.curve")} data-role="curve" @change=${(event: Event) => { this.chosen = (event.target as HTMLSelectElement).value; }}>
        ${curves.map((one) => html`<option value=${one.key} ?selected=${one === curve}>${this.name(one)}</option>`)}</select>
      <twin-chart label=${this.name(curve)} .option=${this.option(curve, time)} @chart-x=${(event: CustomEvent<number>) => this.app.playback.go(event.detail * 60)}></twin-chart>`;
  }

  private name({ kind, name, quantity }: Curve): string {
    const said = (word: string) => (isMessageKey(`hydro.${word}`) ? this.t(`hydro.${word}` as Parameters<Panel["t"]>[0]) : word);
    return [kind && said(kind), name, said(quantity)].filter(Boolean).join(" · ");
  }

  /** Minutes along the axis; the clock as a line over the whole height. */
  private option({ points, unit }: Curve, time: number): object {
    const values = points.map(([, value]) => value);
    const [low, high] = [Math.min(0, ...values), Math.max(...values)];
    return {
      grid: { left: 8, right: 28, top: 24, bottom: 6, containLabel: true },
      xAxis: { type: "value", name: "min", nameGap: 4, max: "dataMax" }, yAxis: { type: "value", name: unitText(unit), scale: true },
      series: [
        { type: "line", showSymbol: false, sampling: "lttb", itemStyle: { color: INK }, areaStyle: { opacity: 0.12 }, data: points.map(([t, v]) => [Math.round(t / 0.6) / 100, v]) },
        { type: "line", showSymbol: false, silent: true, tooltip: { show: false }, lineStyle: { color: "#d9620a", width: 1.5 }, data: [[time / 60, low], [time / 60, high]] },
      ],
    };
  }
}
