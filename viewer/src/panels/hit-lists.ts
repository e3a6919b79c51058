/** Who a flood hits: buildings by time of entry, depth or name, and closed roads. A click flies there and opens the card. */
import { css, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { Feature } from "../api/types";
import { clockText } from "../core/timeline";
import { number } from "../core/format";
import { closuresOf, hitOf, sortHits, type Closure, type Hit, type HitOrder } from "../core/hits";
import type { Layer } from "../core/layers";
import type { Run } from "../runs";
import { look, Panel } from "./base";

/** Lines that a list shows; sorting is over all. */
const SHOWN = 200;

@customElement("twin-hits")
export class HitLists extends Panel {
  static override styles = [look, css`
    :host { display: block; }
    h4 { margin: 9px 0 3px; font-size: 12.5px; }
    .list { max-height: 210px; overflow: auto; border: 1px solid var(--line); border-radius: 7px; }
    table { width: 100%; border-collapse: collapse; font-size: 12px; }
    th { position: sticky; top: 0; background: var(--wash); text-align: right; font-weight: 600; padding: 0; }
    th button { padding: 4px 7px; width: 100%; text-align: inherit; font-weight: 600; }
    th:first-child, td:first-child { text-align: left; }
    td { padding: 3px 7px; border-top: 1px solid var(--line); text-align: right; }
    td button { color: var(--accent); text-align: left; }
    tr.wet td { background: #e9f3fb; }
    small { display: block; color: var(--soft); }
  `];

  @property({ attribute: false }) run!: Run;
  /** As read; their names are worked out in the language of the moment. */
  @state() private rows: { buildings: Feature[]; roads: Feature[]; columns: Layer["schema"] } | null = null;
  private said: { lang: string; rows: object; buildings: Hit[]; roads: Closure[] } | null = null;
  @state() private why = "";
  @state() private order: HitOrder = "entry";
  @state() private down = false;
  private read = "";

  protected override listen(): () => void {
    const stops = [super.listen(), this.app.playback.ticked.on(() => this.requestUpdate())];
    return () => stops.forEach((stop) => stop());
  }

  protected override updated(changes: PropertyValues<this>): void {
    super.updated(changes);
    const layers = [this.app.runs.buildingsOf(this.run), this.app.runs.roadsOf(this.run)];
    const key = layers.map((layer) => `${layer?.id}@${layer?.key}`).join();
    if (key === this.read) return;
    this.read = key;
    void this.load(layers[0], layers[1]);
  }

  private async load(buildings: Layer | undefined, roads: Layer | undefined): Promise<void> {
    try {
      const read = async (layer: Layer | undefined): Promise<Feature[]> => (layer ? (await this.app.runs.rows(layer)).features : []);
      this.rows = { buildings: await read(buildings), roads: await read(roads), columns: roads?.schema ?? [] };
      this.why = "";
    } catch (error) {
      this.why = this.app.why(error);
    }
  }

  protected override render(): TemplateResult {
    if (this.why) return html`<p class="muted" role="alert">${this.t("pick.failed", { why: this.why })}
      <button class="quiet" @click=${() => { this.read = ""; this.requestUpdate(); }}>${this.t("pick.retry")}</button></p>`;
    if (!this.rows) return html`<p class="muted">${this.t("pick.loading")}</p>`;
    const { buildings, roads } = this.worded(this.rows);
    if (buildings.length + roads.length === 0) return html`<p class="muted">${this.t("run.empty")}</p>`;
    return html`${buildings.length > 0 ? this.buildingList(buildings) : nothing}${roads.length > 0 ? this.roadList(roads) : nothing}`;
  }

  /** Once for each language, not for each tick of the clock. */
  private worded(rows: NonNullable<HitLists["rows"]>): { buildings: Hit[]; roads: Closure[] } {
    const { lang } = this.app;
    if (this.said?.lang !== lang || this.said.rows !== rows) {
      this.said = { lang, rows, buildings: rows.buildings.map((one) => hitOf(one, lang)), roads: closuresOf(rows.roads, rows.columns, lang) };
    }
    return this.said;
  }

  private buildingList(hits: Hit[]): TemplateResult {
    const now = this.app.playback.tracks.length > 0 ? this.app.playback.time : null;
    const layer = this.app.runs.buildingsOf(this.run);
    return html`<h4>${this.t("hits.buildings", { n: number(this.app.lang, hits.length) })}</h4>
      <div class="list scroll" data-hits="buildings" tabindex="0"><table><thead><tr>${this.head("name")}${this.head("entry")}${this.head("depth")}</tr></thead><tbody>
        ${sortHits(hits, this.order, this.down).slice(0, SHOWN).map((hit) => html`<tr data-hit=${hit.id} class=${now !== null && hit.entry !== null && hit.entry <= now ? "wet" : ""}>
          <td><button @click=${() => this.fly(layer, hit)}>${hit.name}</button></td>
          <td>${hit.entry === null ? "–" : this.clock(hit.entry)}</td><td>${hit.depth === null ? "–" : `${number(this.app.lang, hit.depth)} m`}</td></tr>`)}
      </tbody></table></div>${this.cut(hits)}`;
  }

  private head(order: HitOrder): TemplateResult {
    const mine = this.order === order;
    return html`<th aria-sort=${mine ? (this.down ? "descending" : "ascending") : "none"}><button data-sort=${order} @click=${() => {
      // The deepest and the earliest are what is looked for first.
      this.down = mine ? !this.down : order === "depth";
      this.order = order;
    }}>${this.t(`hits.${order}`)}${mine ? (this.down ? " ▾" : " ▴") : ""}</button></th>`;
  }

  private roadList(roads: Closure[]): TemplateResult {
    const layer = this.app.runs.roadsOf(this.run);
    const sorted = [...roads].sort((a, b) => Math.min(...a.closed.map(({ from }) => from)) - Math.min(...b.closed.map(({ from }) => from)));
    return html`<h4>${this.t("hits.roads", { n: number(this.app.lang, roads.length) })}</h4>
      <div class="list scroll" data-hits="roads" tabindex="0"><table><tbody>
        ${sorted.slice(0, SHOWN).map((road) => html`<tr data-hit=${road.id}><td><button @click=${() => this.fly(layer, road)}>${road.name}</button>
          ${road.closed.map(({ who, from, until }) => html`<small>${this.t("hits.closed", { who, from: this.clock(from), until: until === null ? this.t("hits.open") : this.clock(until) })}</small>`)}</td>
          <td>${road.depth === null ? "–" : `${number(this.app.lang, road.depth)} m`}</td></tr>`)}
      </tbody></table></div>${this.cut(roads)}`;
  }

  private cut(all: readonly unknown[]): TemplateResult | typeof nothing {
    return all.length > SHOWN ? html`<span class="muted">${this.t("hits.first", { n: SHOWN })}</span>` : nothing;
  }

  private clock(seconds: number): string {
    return clockText(this.app.lang, { start: this.app.playback.tracks[0]?.line.start ?? null }, seconds);
  }

  private fly(layer: Layer | undefined, hit: Hit): void {
    if (!layer || !hit.place) return;
    void this.app.camera.goTo({ kind: "feature", title: hit.name, ...hit.place, layer: layer.id, feature: hit.id });
  }
}
