/** The scenario room: what can be run and its form; below it the runs (each a card of its own) and the comparison of two. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { live } from "lit/directives/live.js";
import type { Process } from "../api/types";
import { bilingual } from "../core/i18n";
import { layerTitle } from "../core/layers";
import { collect, fieldsOf, parse, type Fault, type Field } from "../core/schema-form";
import { unitText } from "../core/format";
import { going, type Run } from "../runs";
import { icon, look, Panel } from "./base";
import { formLook, geometryButton } from "./field-parts";
import "./compare-panel";
import "./rows-field";
import "./run-panel";

@customElement("twin-scenarios")
export class ScenarioPanel extends Panel {
  static override styles = [look, formLook, css`
    .item { display: block; width: 100%; text-align: left; padding: 11px 16px; border-radius: 0; border-bottom: 1px solid var(--line); }
    .item:hover { background: var(--wash); }
    .item b { display: block; font-weight: 600; }
    .item small, .help { color: var(--soft); font-size: 12px; }
    .head { display: flex; align-items: center; gap: 4px; padding: 8px 12px 2px 8px; }
    .intro { margin: 0; padding: 0 16px 8px; color: var(--soft); font-size: 12px; }
    form { padding: 4px 16px 14px; display: grid; gap: 12px; }
    .say { padding: 20px 16px; color: var(--soft); }
    details.earlier { padding: 8px 0 0; }
    details.earlier > summary { padding: 0 16px; cursor: pointer; color: var(--soft); font-weight: 600; }
  `];

  @state() private chosen: string | null = null;
  @state() private values: Record<string, string> = {};
  @state() private runName = "";
  @state() private faults: Record<string, Fault> = {};

  protected override render(): TemplateResult {
    const { runs } = this.app;
    if (!runs.loaded) return html`<p class="say">${this.t("scenario.reads")}</p>`;
    if (runs.processes.length === 0) return html`<p class="say">${this.t("scenario.none")}</p>`;
    const process = runs.processes.find(({ id }) => id === this.chosen);
    const card = (run: Run) => html`<twin-run .app=${this.app} .run=${run}></twin-run>`;
    const earlier = runs.list.filter((run) => run.earlier && (going(run) || runs.results(run).length > 0));
    return html`${runs.list.filter((run) => !run.earlier).map(card)}
      ${earlier.length > 0 ? html`<details class="earlier" data-role="earlier" ?open=${earlier.some(going)}><summary>${this.t("run.earlier")} (${earlier.length})</summary>${earlier.map(card)}</details>` : nothing}
      <twin-compare .app=${this.app}></twin-compare>
      ${process ? this.form(process) : runs.processes.map((each) => this.item(each))}`;
  }

  private name(process: Process): string {
    const zh = process["x-title-zh"];
    return this.app.lang === "zh" && typeof zh === "string" ? zh : process.title ?? process.id;
  }
  private about(process: Process): string {
    const zh = process["x-description-zh"];
    return this.app.lang === "zh" && typeof zh === "string" ? zh : process.description ?? "";
  }

  private item(process: Process): TemplateResult {
    return html`<button class="item" data-process=${process.id} @click=${() => this.choose(process.id)}>
      <b>${this.name(process)}</b><small>${this.about(process)}</small></button>`;
  }

  private choose(id: string | null): void {
    this.app.drawing.cancel();
    this.chosen = id;
    this.runName = "";
    this.values = {};
    this.faults = {};
  }

  private form(process: Process): TemplateResult {
    const fields = fieldsOf(process);
    return html`<div class="head">
        <button class="icon" title=${this.t("scenario.back")} aria-label=${this.t("scenario.back")} @click=${() => this.choose(null)}>${icon("back")}</button>
        <h2>${this.name(process)}</h2></div>
      <p class="intro">${this.about(process)}</p>
      <form data-form=${process.id} novalidate @submit=${(event: Event) => this.submit(event, process, fields)}>
        ${fields.map((field) => this.field(field))}
        <div class="field"><label for="run-name">${this.t("run.name")} <em>${this.t("scenario.optional")}</em></label>
          <div class="with"><input id="run-name" name="run-name" autocomplete="off" placeholder=${this.app.runs.freeName(process)} .value=${this.runName}
            @input=${(event: Event) => { this.runName = (event.target as HTMLInputElement).value; }} /></div><span class="help">${this.t("run.name.hint")}</span></div>
        <div><button class="primary" type="submit">${this.t("scenario.run")}</button></div>
      </form>`;
  }

  private field(field: Field): TemplateResult {
    const { lang } = this.app;
    const fault = this.faults[field.name];
    const help = bilingual(lang, field.help);
    const title = bilingual(lang, field.title, field.name);
    return html`<div class="field">
      <label for=${field.name}>${title} ${field.required ? nothing : html`<em>${this.t("scenario.optional")}</em>`}</label>
      <div class="with">${this.input(field, fault !== undefined)}${field.unit ? html`<i>${unitText(field.unit)}</i>` : nothing}${this.aid(field)}</div>
      ${fault ? html`<span class="fault" role="alert">${this.t(fault.key, { ...(fault.n === undefined ? {} : { n: fault.n }), ...(fault.name === undefined ? {} : { name: fault.name }) })}</span>`
        : help && help !== title ? html`<span class="help">${help}</span>` : nothing}
    </div>`;
  }

  private input(field: Field, wrong: boolean): TemplateResult {
    const value = this.values[field.name] ?? field.initial;
    const put = (event: Event) => this.put(field.name, (event.target as HTMLInputElement).value);
    switch (field.kind) {
      case "boolean":
        return html`<input id=${field.name} name=${field.name} type="checkbox" .checked=${value === "true"}
          @change=${(event: Event) => this.put(field.name, String((event.target as HTMLInputElement).checked))} />`;
      case "select":
      case "layer": {
        const options = field.kind === "select" ? field.options.map((option) => [option, option] as const) : this.layerOptions(field);
        const blank = [["", this.t("form.choose")] as const];
        return html`<select id=${field.name} name=${field.name} @change=${put}>
          ${[...blank, ...options].map(([id, text]) => html`<option value=${id} .selected=${live(id === value)}>${text}</option>`)}</select>`;
      }
      case "rows":
        return html`<twin-rows .app=${this.app} .field=${field} .value=${value} @rows=${(event: CustomEvent<string>) => this.put(field.name, event.detail)}></twin-rows>`;
      case "json":
        return html`<textarea id=${field.name} name=${field.name} rows="3" .value=${value} @input=${put}></textarea>`;
      default:
        if (/csv|text|inp$/i.test(field.name)) return html`<textarea id=${field.name} name=${field.name} rows="3" .value=${value} @input=${put}></textarea>`;
        return html`<input id=${field.name} name=${field.name} .value=${value} @input=${put} autocomplete="off" aria-invalid=${wrong}
          inputmode=${field.kind === "number" || field.kind === "integer" ? "decimal" : "text"} />`;
    }
  }

  private layerOptions(field: Field): (readonly [string, string])[] {
    return this.app.layers
      .filter((layer) => field.layerKinds.length === 0 || field.layerKinds.includes(layer.kind))
      .map((layer) => [layer.id, layerTitle(layer, this.app.lang)] as const);
  }

  /** A point or a box need not be typed. */
  private aid(field: Field): TemplateResult | typeof nothing {
    if (field.kind === "bbox")
      return html`<button type="button" class="quiet small" @click=${() => {
        const box = this.app.camera.viewBox();
        if (box) this.put(field.name, box.map((angle) => angle.toFixed(6)).join(", "));
      }}>${this.t("scenario.useView")}</button>`;
    return geometryButton(this.app, field.name, field, this.values[field.name] ?? field.initial, (text) => this.put(field.name, text));
  }

  /** What the form holds of lines and places is seen on the map while it is open. */
  private drawn(fields: readonly Field[]): void {
    this.app.drawing.show(fields.flatMap((field) => {
      const { value } = parse({ ...field, required: false }, this.values[field.name] ?? field.initial);
      if (field.kind === "point" && value) return [{ places: [value as number[]], closed: false }];
      if ((field.kind === "line" || field.kind === "polygon") && value) return [{ places: value as number[][], closed: field.kind === "polygon" }];
      if (field.kind !== "rows" || !Array.isArray(value)) return [];
      return (value as Record<string, unknown>[]).flatMap(({ line }) => (Array.isArray(line) ? [{ places: line as number[][], closed: false }] : []));
    }));
  }

  protected override updated(): void {
    const process = this.app.runs.processes.find(({ id }) => id === this.chosen);
    this.drawn(process && !this.hidden ? fieldsOf(process) : []);
  }

  private put(name: string, value: string): void {
    this.values = { ...this.values, [name]: value };
    const { [name]: _fixed, ...rest } = this.faults;
    this.faults = rest;
  }

  private submit(event: Event, process: Process, fields: Field[]): void {
    event.preventDefault();
    const { inputs, faults } = collect(fields, this.values);
    this.faults = faults;
    if (Object.keys(faults).length > 0) return void this.toFault();
    this.app.drawing.cancel();
    const name = this.runName.trim() || this.app.runs.freeName(process);
    void this.app.runs.start(process, inputs, name);
    // The run's card stands above the form.
    this.scrollIntoView({ block: "start" });
  }

  /** Brings the first thing that is wrong into view. */
  private async toFault(): Promise<void> {
    await this.updateComplete;
    this.renderRoot.querySelector(".fault")?.scrollIntoView({ block: "center" });
  }
}
