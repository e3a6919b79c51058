/** What a tool found, in figures with units and, where a picture says more, a chart. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, property } from "lit/decorators.js";
import type { ColumnStatistics } from "../api/types";
import { columnTitle } from "../core/attributes";
import { fixed, metres, number, sexagesimal, squareMetres, withUnit } from "../core/format";
import { isMessageKey } from "../core/i18n";
import { layerTitle } from "../core/layers";
import { save } from "../picture";
import type { LayerAnswer, Result } from "../tools/types";
import { look, Panel } from "./base";
import { INK } from "./chart";
import "./chart";
import "./flood-result";

/** Features that one export holds; more need the API. */
const EXPORT = 10_000;

@customElement("twin-tool-result")
export class ToolResult extends Panel {
  static override styles = [look, css`
    dl { display: grid; grid-template-columns: auto 1fr; gap: 2px 12px; margin: 0; }
    dt { color: var(--soft); }
    dd { margin: 0; text-align: right; font-weight: 600; }
    details { border-top: 1px solid var(--line); padding: 5px 0; }
    summary { cursor: pointer; display: flex; justify-content: space-between; gap: 8px; font-weight: 600; }
    h4 { margin: 6px 0 0; font-size: 12px; font-weight: 600; display: flex; justify-content: space-between; }
    h4 span { font-weight: 400; color: var(--soft); }
    .two dt { padding-left: 8px; }
    .swatches { display: flex; gap: 14px; margin-top: 4px; }
    .swatches span { display: flex; gap: 6px; align-items: center; }
    .swatches i { width: 18px; height: 12px; border-radius: 2px; background: #009e73; }
    .swatches i.hidden { background: repeating-linear-gradient(45deg, #5a1400 0 2px, #a03200 2px 6px); }
    p { margin: 4px 0 0; }
    .hours { display: flex; height: 14px; border-radius: 3px; overflow: hidden; border: 1px solid var(--line); }
    .hours i { flex: 1; background: #59636b; }
    .hours i.sun { background: #f4c04a; }
  `];

  @property({ attribute: false }) result!: Result;

  protected override render(): TemplateResult {
    const { result } = this;
    switch (result.kind) {
      case "length": return this.list(this.lengths(result));
      case "area": return html`${this.list([
        ["measure.area", squareMetres(this.app.lang, result.area.level, 2)], ["measure.surface", squareMetres(this.app.lang, result.area.surface, 2)],
        ["measure.perimeter", metres(this.app.lang, result.area.perimeter, 2)], ["measure.cut", `${number(this.app.lang, result.cut, 0)} m³`],
        ["measure.fill", `${number(this.app.lang, result.fill, 0)} m³`]])}
        ${result.unknown > 0 ? html`<p class="muted">${this.t("measure.unknown", { n: number(this.app.lang, result.unknown) })}</p>` : nothing}`;
      case "slope": return this.slope(result);
      case "position": return this.position(result);
      case "viewshed": return this.viewshed(result);
      case "flood": return html`<twin-flood-result .app=${this.app} .result=${result}></twin-flood-result>`;
      case "profile": return this.profile(result);
      case "sight": return html`<b>${this.t(result.free ? "sight.free" : "sight.blocked")}</b>${this.list(this.lengths(result))}`;
      case "sun": return html`<b>${this.t("sun.hours", { date: result.date, n: number(this.app.lang, result.hours, 2) })}</b>
        <div class="hours" role="img" aria-label=${this.t("sun.hours", { date: result.date, n: number(this.app.lang, result.hours, 2) })}>
          ${result.lit.map(({ hour, sun }) => html`<i class=${sun ? "sun" : ""} title=${number(this.app.lang, hour, 2)}></i>`)}</div>`;
      case "section": return html`<span>${this.t("section.hint")}</span>`;
      case "select": return result.answers.length === 0 ? html`<span>${this.t("ask.none")}</span>` : html`
        ${result.area ? this.list([["measure.area", squareMetres(this.app.lang, result.area.level)]]) : nothing}
        ${result.answers.map((answer, index) => this.answer(answer, index === 0))}`;
    }
  }

  private lengths({ length }: Extract<Result, { kind: "length" | "sight" }>): [Parameters<Panel["t"]>[0], string][] {
    const { lang } = this.app;
    return [["measure.slant", metres(lang, length.slant, 2)], ["measure.level", metres(lang, length.level, 2)], ["measure.rise", metres(lang, length.rise, 2)],
      ["measure.slope", length.slope === null ? "–" : `${number(lang, length.slope, 1)}%`]];
  }

  private list(rows: [string, string][]): TemplateResult {
    return html`<dl>${rows.map(([key, value]) => html`<dt>${this.t(key as Parameters<Panel["t"]>[0])}</dt><dd data-figure=${key}>${value}</dd>`)}</dl>`;
  }

  private slope({ slope, spacing }: Extract<Result, { kind: "slope" }>): TemplateResult {
    const { lang } = this.app;
    if (!slope) return html`<span>${this.t("measure.noground")}</span>`;
    const wind = slope.aspect === null ? "–" : `${fixed(lang, slope.aspect, 0)}° ${this.t(`compass.${(Math.round(slope.aspect / 45) % 8) as 0}`)}`;
    return html`${this.list([["measure.slope", `${number(lang, slope.percent, 2)}%`], ["measure.angle", `${number(lang, slope.angle, 2)}°`], ["measure.aspect", wind]])}
      <p class="muted">${this.t("measure.spacing", { n: number(lang, spacing) })}</p>`;
  }

  /** Degrees, height above the ellipsoid and the datum, and easting and northing in each zone that a map of the place may be in. */
  private position({ place, found }: Extract<Result, { kind: "position" }>): TemplateResult {
    const { lang } = this.app;
    const { vertical, separation, accuracy } = found.datum;
    const datum = isMessageKey(`datum.${vertical}`) ? this.t(`datum.${vertical}` as Parameters<Panel["t"]>[0]) : vertical;
    return html`<h4>CGCS2000</h4>${this.list([["coord.lon", `${fixed(lang, place.lon, 8)}°`], ["coord.lat", `${fixed(lang, place.lat, 8)}°`]])}
      <dl><dt>${this.t("measure.dms")}</dt><dd data-figure="measure.dms">${sexagesimal(lang, place.lat, "lat")}<br />${sexagesimal(lang, place.lon, "lon")}</dd>
        <dt>${this.t("coord.height")}</dt><dd data-figure="coord.height">${fixed(lang, place.height, 2)} m</dd>
        <dt title=${this.t("measure.above.note", { n: number(lang, accuracy) })}>${this.t("measure.above", { datum })}</dt>
        <dd data-figure="measure.above" title=${this.t("measure.above.note", { n: number(lang, accuracy) })}>${fixed(lang, place.height - separation, 2)} m</dd></dl>
      <p class="muted">${this.t("measure.above.note", { n: number(lang, accuracy) })}</p>
      ${found.zones.map((zone) => html`<div data-zone=${zone.crs}><h4>${this.t("measure.zone", { width: zone.width, zone: zone.zone, meridian: zone.meridian })}<span>${zone.crs} · ${zone.numbered_crs}</span></h4>
        ${this.list([["measure.easting", `${fixed(lang, zone.easting, 3)} m`], ["measure.numbered", `${fixed(lang, zone.numbered_easting, 3)} m`], ["measure.northing", `${fixed(lang, zone.northing, 3)} m`]])}</div>`)}`;
  }

  private viewshed({ seen, total, unknown, cell }: Extract<Result, { kind: "viewshed" }>): TemplateResult {
    const { lang } = this.app;
    return html`${this.list([["viewshed.share", total > 0 ? `${number(lang, (100 * seen) / total, 1)}%` : "–"],
      ["viewshed.seen", squareMetres(lang, seen)], ["viewshed.total", squareMetres(lang, total)]])}
      <div class="swatches"><span><i></i>${this.t("viewshed.in")}</span><span><i class="hidden"></i>${this.t("viewshed.out")}</span></div>
      <p class="muted">${this.t("viewshed.note", { n: number(lang, cell, 1) })}${unknown > 0 ? ` ${this.t("measure.unknown", { n: number(lang, unknown) })}` : ""}</p>`;
  }

  private profile({ points, length }: Extract<Result, { kind: "profile" }>): TemplateResult {
    const known = points.filter(({ ground }) => Number.isFinite(ground));
    const heights = known.map(({ ground }) => ground);
    const option = {
      xAxis: { type: "value", name: "m", max: "dataMax" }, yAxis: { type: "value", scale: true, name: "m" },
      series: [{ type: "line", showSymbol: false, areaStyle: { opacity: 0.15 }, itemStyle: { color: INK }, data: known.map(({ distance, ground }) => [round(distance), round(ground)]) }],
    };
    return html`<twin-chart .option=${option} .label=${this.t("tool.profile")}></twin-chart>${this.list([
      ["measure.level", metres(this.app.lang, length.level, 1)],
      ["measure.highest", known.length > 0 ? metres(this.app.lang, Math.max(...heights), 2) : "–"],
      ["measure.lowest", known.length > 0 ? metres(this.app.lang, Math.min(...heights), 2) : "–"]])}`;
  }

  private answer(answer: LayerAnswer, open: boolean): TemplateResult {
    const { layer, statistics } = answer;
    const columns = statistics.properties.filter((column) => column.histogram ?? ((column.values?.length ?? 0) > 0 && column.distinct! < column.count && column.distinct! <= Math.max(12, column.count / 3)));
    return html`<details ?open=${open} data-answer=${layer.id}><summary><span>${layerTitle(layer, this.app.lang)}</span>
      <span data-figure="count">${this.t("ask.count", { n: number(this.app.lang, statistics.numberMatched, 0) })}</span></summary>
      ${columns.slice(0, 6).map((column) => this.column(answer, column))}
      <button class="quiet" data-role="export" @click=${() => void this.export(answer)}>${this.t("ask.export")}</button></details>`;
  }

  private column({ layer }: LayerAnswer, column: ColumnStatistics): TemplateResult {
    const title = columnTitle(column.name, layer.schema.find(({ name }) => name === column.name), this.app.lang);
    const figure = (value: number) => withUnit(number(this.app.lang, value, 1), column.unit);
    const bars = column.histogram
      ? column.histogram.counts.map((count, i) => ({ name: number(this.app.lang, (column.histogram!.edges[i]! + column.histogram!.edges[i + 1]!) / 2, 1), count }))
      : (column.values ?? []).slice(0, 12).map(({ value, count }) => ({ name: value, count }));
    const option = {
      xAxis: { type: "category", data: bars.map(({ name }) => name) }, yAxis: { type: "value", minInterval: 1 },
      series: [{ type: "bar", data: bars.map(({ count }) => count), itemStyle: { color: INK } }],
    };
    return html`<h4>${title}<span>${column.mean === undefined || column.mean === null ? nothing : html`${this.t("ask.mean", { v: figure(column.mean) })} · ${this.t("ask.sum", { v: figure(column.sum ?? 0) })}`}</span></h4>
      <twin-chart .option=${option} .label=${title}></twin-chart>`;
  }

  private async export({ layer, filter }: LayerAnswer): Promise<void> {
    const found = await this.app.api.items(layer.id, { filter, limit: EXPORT });
    save(new Blob([JSON.stringify({ type: "FeatureCollection", features: found.features })], { type: "application/geo+json" }), `${layer.id}.geojson`);
  }
}

const round = (value: number): number => Math.round(value * 100) / 100;
