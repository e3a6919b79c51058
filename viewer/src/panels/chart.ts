/** A chart by ECharts, which is fetched when the first one is shown. */
import { css, html, LitElement, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property } from "lit/decorators.js";
import type { EChartsCoreOption, EChartsType } from "echarts/core";
import { number } from "../core/format";

export const INK = "#14507a";
/** What all charts share: small, quiet, no animation (a moving chart says nothing more). */
const COMMON: EChartsCoreOption = {
  animation: false, grid: { left: 8, right: 10, top: 24, bottom: 6, containLabel: true }, tooltip: { trigger: "axis", confine: true },
  textStyle: { fontFamily: "inherit", fontSize: 11 },
};

@customElement("twin-chart")
export class Chart extends LitElement {
  // Of the box alone: ECharts puts an empty element of its own in it, which would lie over what stands below the chart and take its clicks.
  static override styles = css`:host { display: block; height: 150px; } div[role="img"] { width: 100%; height: 100%; overflow: hidden; }`;

  @property({ attribute: false }) option: EChartsCoreOption = {};
  /** Says in words what the chart shows. */
  @property() label = "";
  private chart: EChartsType | null = null;
  private readonly watch = new ResizeObserver(() => this.chart?.resize());

  protected override render(): TemplateResult {
    return html`<div role="img" aria-label=${this.label}></div>`;
  }

  protected override async updated(changes: PropertyValues<this>): Promise<void> {
    if (!changes.has("option")) return;
    const { init } = await import("./engine");
    const box = this.renderRoot.querySelector("div");
    if (!box || !this.isConnected) return;
    this.chart ??= this.made(init(box, null, { renderer: "svg" }));
    this.watch.observe(this);
    this.chart.setOption(spoken({ ...COMMON, ...this.option }), true);
  }

  /** A click into the plot tells its place on the horizontal axis, as `chart-x`. */
  private made(chart: EChartsType): EChartsType {
    chart.getZr().on("click", ({ offsetX, offsetY }: { offsetX: number; offsetY: number }) => {
      const place = chart.containPixel("grid", [offsetX, offsetY]) ? chart.convertFromPixel("grid", [offsetX, offsetY]) : null;
      if (place && Number.isFinite(place[0])) this.dispatchEvent(new CustomEvent<number>("chart-x", { detail: place[0]! }));
    });
    return chart;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.watch.disconnect();
    this.chart?.dispose();
    this.chart = null;
  }
}

/** Numbers at axes and in tooltips as the page's language writes them. */
function spoken(option: EChartsCoreOption): EChartsCoreOption {
  const lang = document.documentElement.lang.startsWith("zh") ? "zh" : "en";
  const say = (value: unknown): string => (typeof value === "number" ? number(lang, value) : String(value ?? ""));
  const axis = (given: unknown): unknown => {
    const { type, axisLabel } = (given ?? {}) as { type?: string; axisLabel?: object };
    return type === "value" ? { ...(given as object), axisLabel: { formatter: say, ...axisLabel } } : given;
  };
  return { ...option, xAxis: axis(option["xAxis"]), yAxis: axis(option["yAxis"]), tooltip: { ...(option["tooltip"] as object), valueFormatter: say } };
}
