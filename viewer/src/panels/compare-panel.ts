/** Two finished runs side by side: A left of the swipe line, B right of it, and in a table what differs. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import type { Change } from "../api/types";
import { number, withUnit } from "../core/format";
import { closuresOf, differences, hitOf, type Difference, type Hit } from "../core/hits";
import { isMessageKey } from "../core/i18n";
import { layerTitle, type Layer } from "../core/layers";
import type { Run } from "../runs";
import { look, Panel } from "./base";

const SHOWN = 100;

interface Figures {
  hits: Hit[];
  closed: number | null;
}

@customElement("twin-compare")
export class ComparePanel extends Panel {
  static override styles = [look, css`
    details { margin: 10px 12px 4px; padding: 8px 12px; border: 1px solid var(--line); border-radius: 9px; background: #fff; }
    summary { cursor: pointer; font-weight: 600; }
    label { display: grid; gap: 2px; margin-top: 7px; font-size: 12px; color: var(--soft); }
    select { font: inherit; color: var(--ink); width: 100%; min-width: 0; padding: 5px 7px; border: 1px solid #cfd8df; border-radius: 7px; background: #fff; }
    .acts { display: flex; flex-wrap: wrap; gap: 6px; margin: 9px 0 4px; }
    table { width: 100%; border-collapse: collapse; font-size: 12px; margin-top: 6px; }
    th, td { text-align: right; padding: 3px 4px; border-top: 1px solid var(--line); font-weight: 400; }
    thead th { font-weight: 600; border: 0; }
    th:first-child, td:first-child { text-align: left; }
    td button { color: var(--accent); text-align: left; }
    h4 { margin: 9px 0 0; font-size: 12.5px; }
    .list { max-height: 190px; overflow: auto; }
    .up { color: var(--bad); }
    .down { color: var(--good); }
  `];

  @state() private a = "";
  @state() private b = "";
  @state() private what = "";
  @state() private figures: [Figures, Figures] | null = null;
  /** What the server says of the two; empty where it does not know. */
  @state() private changes: Change[] = [];
  @state() private why = "";
  @state() private making: "" | "busy" | "done" = "";
  @state() private on = false;
  private turn = 0;

  protected override render(): TemplateResult | typeof nothing {
    const runs = this.app.runs.finished();
    if (runs.length < 2) return nothing;
    const [a, b] = this.pair(runs);
    const kinds = this.kinds(a, b);
    const what = kinds.some(({ key }) => key === this.what) ? this.what : kinds[0]?.key ?? "";
    return html`<details data-role="compare"><summary>${this.t("compare.title")}</summary>
      ${this.choice("compare.a", "a", runs, a)}${this.choice("compare.b", "b", runs, b)}
      ${kinds.length > 0 ? html`<label>${this.t("compare.what")}<select data-role="what" @change=${(event: Event) => { this.what = (event.target as HTMLSelectElement).value; if (this.on) this.show(a, b); }}>
        ${kinds.map(({ key, title }) => html`<option value=${key} ?selected=${key === what}>${title}</option>`)}</select></label>` : nothing}
      <div class="acts"><button class="primary" data-role="compare-show" ?disabled=${a === b || kinds.length === 0} @click=${() => this.begin(a, b)}>${this.t("compare.show")}</button>
        ${this.on && this.changes.length > 0 && this.making !== "done" ? html`<button class="quiet" data-role="compare-layers" ?disabled=${this.making === "busy"} @click=${() => void this.make(a, b)}>
          ${this.t(this.making === "busy" ? "compare.layers.busy" : "compare.layers")}</button>` : nothing}
        ${this.on ? html`<button class="quiet" data-role="compare-end" @click=${() => this.end(b)}>${this.t("compare.end")}</button>` : nothing}</div>
      ${this.why ? html`<p class="muted" role="alert">${this.t("pick.failed", { why: this.why })}</p>` : nothing}
      ${this.on && this.figures ? this.table(this.figures, b) : nothing}
    </details>`;
  }

  /** The chosen two; of what is not chosen, the newest is B and the one before it A. */
  private pair(runs: Run[]): [Run, Run] {
    const find = (id: string) => runs.find(({ job }) => job.jobID === id);
    const b = find(this.b) ?? runs.find((run) => run.job.jobID !== this.a)!;
    return [find(this.a) ?? runs.find((run) => run !== b && run.process.id === b.process.id) ?? runs.find((run) => run !== b)!, b];
  }

  private choice(key: "compare.a" | "compare.b", side: "a" | "b", runs: Run[], chosen: Run): TemplateResult {
    return html`<label>${this.t(key)}<select data-role=${`run-${side}`} @change=${(event: Event) => { this[side] = (event.target as HTMLSelectElement).value; }}>
      ${runs.map((run) => html`<option value=${run.job.jobID} ?selected=${run === chosen}>${this.label(run)}</option>`)}</select></label>`;
  }

  private label(run: Run): string {
    const time = run.job.finished ?? run.job.created;
    const when = time ? new Date(time).toLocaleString(this.app.lang === "zh" ? "zh-CN" : "en", { dateStyle: "short", timeStyle: "short" }) : "";
    return `${this.app.runs.nameOf(run)} · ${when}`;
  }

  /** A run's layers by what they show: the part of their names after the run's. */
  private parts(run: Run): Map<string, Layer> {
    const name = this.app.runs.nameOf(run);
    return new Map(this.app.runs.results(run).filter((layer) => layer.links.map || layer.links.tiles3d).map((layer) => [layer.id.replace(`${name}-`, ""), layer]));
  }

  private kinds(a: Run, b: Run): { key: string; title: string }[] {
    const [left, right] = [this.parts(a), this.parts(b)];
    const moving = ({ id }: Layer) => Number(this.app.playback.hasTime(id));
    return [...right].filter(([key, layer]) => left.has(key) && layer.kind === "raster")
      .sort(([, x], [, y]) => moving(y) - moving(x)).map(([key, layer]) => ({ key, title: layerTitle(layer, this.app.lang) }));
  }

  private begin(a: Run, b: Run): void {
    this.show(a, b);
    void this.read(a, b);
  }

  private show(a: Run, b: Run): void {
    this.on = true;
    const kinds = this.kinds(a, b);
    const what = kinds.some(({ key }) => key === this.what) ? this.what : kinds[0]!.key;
    const sides = new Map([...this.sided(a, what, "left"), ...this.sided(b, what, "right")]);
    for (const { id, run } of this.app.layers) if (run) this.app.setState(id, { visible: sides.has(id), side: sides.get(id) ?? "both" });
    this.app.setSplit(this.app.split ?? 0.5);
  }

  /** What is compared, with the buildings that it hits. */
  private sided(run: Run, what: string, side: "left" | "right"): [string, "left" | "right"][] {
    return [...this.parts(run)].filter(([key, layer]) => key === what || layer.kind === "blocks").map(([, { id }]) => [id, side]);
  }

  private end(b: Run): void {
    this.on = false;
    for (const { id, run } of this.app.layers) if (run) this.app.setState(id, { side: "both" });
    this.app.setSplit(null);
    this.app.runs.bring(b);
  }

  private async read(a: Run, b: Run): Promise<void> {
    const turn = ++this.turn;
    this.figures = null;
    this.changes = [];
    this.making = "";
    this.why = "";
    try {
      // Runs of other scenarios, or on other grids, have no table; their lists can still be compared.
      const asked = this.app.api.comparison(a.job.jobID, b.job.jobID).catch(() => []);
      const [x, y, changes] = await Promise.all([this.figuresOf(a), this.figuresOf(b), asked]);
      if (turn !== this.turn) return;
      this.changes = changes;
      this.figures = [x, y];
    } catch (error) {
      if (turn === this.turn) this.why = this.app.why(error);
    }
  }

  /** Layers of the difference, written by the server; the change of depth is shown over the whole map, without the swipe line. */
  private async make(a: Run, b: Run): Promise<void> {
    const { api, runs } = this.app;
    this.making = "busy";
    try {
      const job = await runs.settled(await api.compareLayers(a.job.jobID, b.job.jobID, `${runs.nameOf(b)}-less-${runs.nameOf(a)}`));
      if (job.status !== "successful") throw new Error(job.message ?? job.status);
      const layers = await api.resultLayers(job.jobID);
      await this.app.refresh();
      for (const { id, run, kind } of this.app.layers) if (run && kind === "raster") this.app.setState(id, { visible: false });
      for (const id of layers) this.app.setState(id, { visible: true, side: "both" });
      this.app.setSplit(null);
      this.making = "done";
    } catch (error) {
      this.making = "";
      this.app.notices.set("compare", "compare.layers.failed", { why: this.app.why(error) }, "bad");
    }
  }

  /** The server's figures that differ, and those of who is hit. */
  private said({ quantity }: Change): string {
    const [first, rest] = quantity.split(":");
    if (first === "water" && rest) return this.t("compare.q.water", { name: rest });
    return isMessageKey(`compare.q.${quantity}`) ? this.t(`compare.q.${quantity}` as Parameters<Panel["t"]>[0]) : quantity;
  }

  private async figuresOf(run: Run): Promise<Figures> {
    const { runs } = this.app;
    const [buildings, roads] = [runs.buildingsOf(run), runs.roadsOf(run)];
    const hits = buildings ? (await runs.rows(buildings)).features.map((one) => hitOf(one, this.app.lang)) : [];
    return { hits, closed: roads ? closuresOf((await runs.rows(roads)).features, roads.schema, this.app.lang).length : null };
  }

  private table([a, b]: [Figures, Figures], run: Run): TemplateResult {
    const depths = (hits: Hit[]) => hits.flatMap(({ depth }) => (depth === null ? [] : [depth]));
    const most = ({ hits }: Figures) => depths(hits).reduce((x, y) => Math.max(x, y), 0);
    const mean = ({ hits }: Figures) => (hits.length > 0 ? depths(hits).reduce((x, y) => x + y, 0) / hits.length : 0);
    const row = (key: Parameters<Panel["t"]>[0], x: number | null, y: number | null, digits: number) => {
      const change = (y ?? 0) - (x ?? 0);
      const show = (value: number | null) => (value === null ? "–" : number(this.app.lang, value, digits));
      return html`<tr data-figure=${key}><th scope="row">${this.t(key)}</th><td>${show(x)}</td><td>${show(y)}</td><td class=${change > 0 ? "up" : change < 0 ? "down" : ""}>${change > 0 ? "+" : ""}${show(change)}</td></tr>`;
    };
    const changed = differences(a.hits, b.hits);
    return html`<table data-role="difference"><thead><tr><th></th><th scope="col">A</th><th scope="col">B</th><th scope="col">${this.t("compare.diff")}</th></tr></thead><tbody>
        ${this.changes.filter(({ quantity, change }) => !quantity.startsWith("water:") || Math.abs(change) > 1e-6).map((one) => html`<tr data-figure=${one.quantity}>
          <th scope="row">${this.said(one)}</th><td>${number(this.app.lang, one.a)}</td><td>${withUnit(number(this.app.lang, one.b), one.unit)}</td>
          <td class=${one.change > 0 ? "up" : one.change < 0 ? "down" : ""}>${one.change > 0 ? "+" : ""}${number(this.app.lang, one.change)}</td></tr>`)}
        ${this.changes.length > 0 ? nothing : html`${row("compare.hit", a.hits.length, b.hits.length, 0)}${row("compare.deepest", most(a), most(b), 2)}`}
        ${row("compare.mean", mean(a), mean(b), 2)}
        ${a.closed === null && b.closed === null ? nothing : row("compare.roads", a.closed, b.closed, 0)}</tbody></table>
      ${changed.length === 0 ? html`<p class="muted">${this.t("compare.same")}</p>` : html`<h4>${this.t("compare.changed", { n: number(this.app.lang, changed.length) })}</h4>
      <div class="list scroll" tabindex="0" data-role="changed"><table><tbody>${changed.slice(0, SHOWN).map((one) => this.line(one, run))}</tbody></table></div>
      ${changed.length > SHOWN ? html`<span class="muted">${this.t("hits.first", { n: SHOWN })}</span>` : nothing}`}`;
  }

  private line({ id, name, a, b, change, place }: Difference, run: Run): TemplateResult {
    const show = (value: number | null) => (value === null ? "–" : number(this.app.lang, value));
    const layer = this.app.runs.buildingsOf(run);
    return html`<tr data-changed=${id}><td><button @click=${() => place && void this.app.camera.goTo(
      { kind: "feature", title: name, ...place, layer: b === null ? null : layer?.id ?? null, feature: b === null ? null : id })}>${name}</button></td>
      <td>${show(a)}</td><td>${show(b)}</td><td class=${change > 0 ? "up" : "down"}>${change > 0 ? "+" : ""}${show(change)}</td></tr>`;
  }
}
