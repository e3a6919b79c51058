/** How one layer of models is drawn: coloured by any attribute, and only what matches some conditions. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { columnTitle } from "../core/attributes";
import { columnKind, comparisons, cornersOf, WITHIN, type Comparison, type Condition } from "../core/filter";
import { number } from "../core/format";
import { colourings, type Colouring, type Layer, type LayerState } from "../core/layers";
import { CLASS, pointColumns } from "../core/points";
import { placesText } from "../core/schema-form";
import { METHODS, RAMPS, thematicColumns, type Method, type Ramp, type Thematic } from "../core/thematic";
import { icon, look, Panel } from "./base";
import { drawingState } from "./field-parts";

const FIRST: Omit<Thematic, "column"> = { method: "quantile", classes: 5, ramp: "viridis" };
const ATTRIBUTE = "attribute:";

@customElement("twin-layer-style")
export class LayerStylePanel extends Panel {
  static override styles = [look, css`
    :host { display: grid; gap: 8px; }
    label { display: grid; grid-template-columns: 5.2em 1fr; align-items: center; gap: 8px; }
    select, input { font: inherit; padding: 3px 6px; border: 1px solid var(--line); border-radius: 6px; background: #fff; min-width: 0; width: 100%; }
    .two { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; }
    .two label { grid-template-columns: auto 1fr; }
    .head { display: flex; align-items: center; justify-content: space-between; color: var(--soft); }
    .condition { display: grid; grid-template-columns: 1fr 4.6em 1fr 24px; gap: 4px; align-items: center; }
    .condition .icon { width: 24px; height: 24px; }
    .add { color: var(--accent); display: inline-flex; gap: 3px; align-items: center; padding: 2px 6px; }
    .add svg { width: 14px; height: 14px; }
    .where { grid-column: 1 / 4; display: flex; gap: 5px; align-items: center; }
    .where svg { width: 14px; height: 14px; }
    .draw { display: flex; flex-wrap: wrap; gap: 6px; align-items: center; }
  `];

  @property({ attribute: false }) layer!: Layer;
  /** Rows as the reader types them; only complete ones are asked. */
  @state() private rows: Condition[] | null = null;

  protected override render(): TemplateResult | typeof nothing {
    const shown = this.app.states.get(this.layer.id);
    if (!shown) return nothing;
    return html`${this.colours(shown)}${this.filters(shown)}`;
  }

  private colours(shown: LayerState): TemplateResult | typeof nothing {
    const { layer } = this;
    const columns = layer.kind === "points" ? pointColumns(layer, this.app.tilesets.pointFacts(layer.id)).map((name) => ({ name, type: "number" }))
      : layer.links.items ? thematicColumns(layer.schema) : [];
    const ways = colourings(layer).length > 0 ? colourings(layer) : (["plain"] as Colouring[]);
    if (columns.length === 0 && ways.length < 2) return nothing;
    const now = shown.thematic ? ATTRIBUTE + shown.thematic.column : shown.colouring;
    return html`<label>${this.t("layer.colourBy")}
      <select data-role="colour-by" @change=${(event: Event) => this.choose((event.target as HTMLSelectElement).value, shown)}>
        ${ways.map((way) => html`<option value=${way} ?selected=${way === now}>${this.t(`layer.colourBy.${way}`)}</option>`)}
        ${columns.map((column) => html`<option value=${ATTRIBUTE + column.name} ?selected=${ATTRIBUTE + column.name === now}>
          ${this.t("layer.colourBy.attribute", { name: columnTitle(column.name, column, this.app.lang) })}</option>`)}
      </select></label>
      ${shown.thematic ? this.classes(shown.thematic) : nothing}`;
  }

  private choose(value: string, shown: LayerState): void {
    if (value.startsWith(ATTRIBUTE)) {
      void this.app.questions.colour(this.layer, { ...FIRST, ...shown.thematic, column: value.slice(ATTRIBUTE.length) });
      return;
    }
    this.app.setState(this.layer.id, { colouring: value as Colouring });
    void this.app.questions.colour(this.layer, null);
  }

  private classes(thematic: Thematic): TemplateResult | typeof nothing {
    if (this.layer.kind === "points") return thematic.column === CLASS ? nothing : this.ramps(thematic);
    const column = this.layer.schema.find(({ name }) => name === thematic.column);
    if (!column || columnKind(column.type) !== "number") return nothing;
    const set = (change: Partial<Thematic>) => void this.app.questions.colour(this.layer, { ...thematic, ...change });
    const chosen = (event: Event) => (event.target as HTMLSelectElement).value;
    return html`<label>${this.t("layer.method")}
      <select data-role="method" @change=${(event: Event) => set({ method: chosen(event) as Method })}>
        ${METHODS.map((method) => html`<option value=${method} ?selected=${method === thematic.method}>${this.t(`layer.method.${method}`)}</option>`)}
      </select></label>
      <div class="two">${this.ramps(thematic)}
      ${thematic.method === "continuous" ? nothing : html`<label>${this.t("layer.classes")}
        <input type="number" min="1" max="10" .value=${String(thematic.classes)}
          @change=${(event: Event) => set({ classes: Math.min(10, Math.max(1, Number(chosen(event)) || 5)) })} /></label>`}</div>`;
  }

  private ramps(thematic: Thematic): TemplateResult {
    const set = (event: Event) => void this.app.questions.colour(this.layer, { ...thematic, ramp: (event.target as HTMLSelectElement).value as Ramp });
    return html`<label>${this.t("layer.ramp")}<select data-role="ramp" @change=${set}>
      ${RAMPS.map((ramp) => html`<option value=${ramp} ?selected=${ramp === thematic.ramp}>${this.t(`layer.ramp.${ramp}`)}</option>`)}</select></label>`;
  }

  private filters(shown: LayerState): TemplateResult {
    const rows = this.rows ?? [...shown.conditions];
    const matched = this.app.questions.matched.get(this.layer.id);
    const columns = this.layer.links.items ? this.layer.schema.filter(({ type }) => columnKind(type) !== "other") : [];
    return html`<div class="head"><span>${this.t("filter.title")}</span>
      ${typeof matched === "number" ? html`<span role="status">${this.t("filter.matched", { n: number(this.app.lang, matched, 0) })}</span>` : nothing}
      ${columns.length > 0 ? html`<button class="add" data-role="add-condition" @click=${() => this.set([...rows, { column: columns[0]!.name, op: "=", value: "" }])}>
        ${icon("plus")}${this.t("filter.add")}</button>` : nothing}</div>
      ${rows.map((row, index) => (row.op === WITHIN ? this.place(rows, row, index) : this.condition(rows, row, index, columns.map(({ name }) => name))))}
      ${this.drawer(rows)}`;
  }

  /** Draws a place on the map: what touches it stays. */
  private drawer(rows: Condition[]): TemplateResult {
    const name = `filter:${this.layer.id}`;
    if (this.app.drawing.order?.name === name) return html`<div class="draw">${drawingState(this.app)}</div>`;
    const done = (corners: [number, number][]) => this.set([...rows, { column: "", op: WITHIN, value: placesText(corners) }]);
    return html`<div class="draw"><button class="add" data-role="add-place" @click=${() => this.app.drawing.start({ shape: "polygon", name, done })}>
      ${icon("plus")}${this.t("filter.place")}</button></div>`;
  }

  private place(rows: Condition[], row: Condition, index: number): TemplateResult {
    return html`<div class="condition" data-place=${index}><span class="where">${icon("pin")}${this.t("filter.within", { n: cornersOf(row.value).length })}</span>
      <button class="icon" title=${this.t("filter.remove")} aria-label=${this.t("filter.remove")}
        @click=${() => this.set(rows.filter((_, i) => i !== index))}>${icon("close")}</button></div>`;
  }

  private condition(rows: Condition[], row: Condition, index: number, columns: string[]): TemplateResult {
    const column = this.layer.schema.find(({ name }) => name === row.column);
    const ops = comparisons(columnKind(column?.type ?? "string"));
    const set = (change: Partial<Condition>) => this.set(rows.map((other, i) => (i === index ? { ...row, ...change } : other)));
    const value = (event: Event) => (event.target as HTMLInputElement).value;
    const valued = row.op !== "null" && row.op !== "notnull";
    return html`<div class="condition">
      <select aria-label=${this.t("filter.column")} @change=${(event: Event) => set({ column: value(event), op: "=", value: "" })}>
        ${columns.map((name) => html`<option value=${name} ?selected=${name === row.column}>${columnTitle(name, this.layer.schema.find((found) => found.name === name), this.app.lang)}</option>`)}</select>
      <select aria-label=${this.t("filter.comparison")} @change=${(event: Event) => set({ op: value(event) as Comparison })}>
        ${ops.map((op) => html`<option value=${op} ?selected=${op === row.op}>${this.word(op)}</option>`)}</select>
      ${valued ? html`<input aria-label=${this.t("filter.value")} .value=${row.value} @change=${(event: Event) => set({ value: value(event) })} />` : html`<span></span>`}
      <button class="icon" title=${this.t("filter.remove")} aria-label=${this.t("filter.remove")}
        @click=${() => this.set(rows.filter((_, i) => i !== index))}>${icon("close")}</button></div>`;
  }

  private word(op: Comparison): string {
    if (op === "like" || op === "null" || op === "notnull") return this.t(`filter.op.${op}`);
    return ({ "<>": "≠", "<=": "≤", ">=": "≥" } as Record<string, string>)[op] ?? op;
  }

  private set(rows: Condition[]): void {
    this.rows = rows;
    void this.app.questions.filter(this.layer, rows);
  }
}
