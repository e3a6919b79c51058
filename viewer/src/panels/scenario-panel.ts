/** The scenario room: what can be run, its form, how far it is, its results. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { live } from "lit/directives/live.js";
import type { Process } from "../api/types";
import { bilingual } from "../core/i18n";
import { layerTitle } from "../core/layers";
import { collect, fieldsOf, type Fault, type Field } from "../core/schema-form";
import { unitText } from "../core/format";
import type { Run } from "../runs";
import { icon, look, Panel } from "./base";

@customElement("twin-scenarios")
export class ScenarioPanel extends Panel {
  static override styles = [look, css`
    .item { display: block; width: 100%; text-align: left; padding: 11px 16px; border-radius: 0; border-bottom: 1px solid var(--line); }
    .item:hover { background: var(--wash); }
    .item b { display: block; font-weight: 600; }
    .item small, .help { color: var(--soft); font-size: 12px; }
    .head { display: flex; align-items: center; gap: 4px; padding: 8px 12px 2px 8px; }
    .intro { margin: 0; padding: 0 16px 8px; color: var(--soft); font-size: 12px; }
    form { padding: 4px 16px 14px; display: grid; gap: 12px; }
    .field { display: grid; gap: 3px; }
    .field > label, .field > span { font-weight: 600; font-size: 12.5px; }
    .field em { font-style: normal; font-weight: 400; color: #8a99a6; }
    .with { display: flex; align-items: center; gap: 6px; }
    .with i { font-style: normal; color: var(--soft); flex: none; }
    input, select, textarea {
      font: inherit; color: inherit; width: 100%; min-width: 0; padding: 6px 9px; border: 1px solid #cfd8df; border-radius: 7px; background: #fff;
    }
    input[aria-invalid="true"] { border-color: var(--bad); }
    input[type="checkbox"] { width: auto; }
    .fault { color: var(--bad); font-size: 12px; }
    .run { margin: 10px 12px 0; padding: 10px 12px; border: 1px solid var(--line); border-radius: 9px; background: #fff; }
    .run .top { display: flex; gap: 8px; align-items: center; }
    .run .top b { flex: 1; }
    .track { height: 5px; border-radius: 3px; background: #e6ecf0; overflow: hidden; margin: 7px 0 4px; }
    .track i { display: block; height: 100%; background: var(--accent); transition: width 0.3s; }
    .good { color: var(--good); }
    .bad { color: var(--bad); overflow-wrap: anywhere; }
    .result { display: flex; align-items: center; gap: 4px; }
    .result button:first-child { flex: 1; text-align: left; padding: 3px 4px; color: var(--accent); font-weight: 600; }
    .say { padding: 20px 16px; color: var(--soft); }
    .small { padding: 3px 9px; font-size: 12px; flex: none; }
  `];

  @state() private chosen: string | null = null;
  @state() private values: Record<string, string> = {};
  @state() private faults: Record<string, Fault> = {};

  protected override render(): TemplateResult {
    const { runs } = this.app;
    if (!runs.loaded) return html`<p class="say">${this.t("scenario.reads")}</p>`;
    if (runs.processes.length === 0) return html`<p class="say">${this.t("scenario.none")}</p>`;
    const process = runs.processes.find(({ id }) => id === this.chosen);
    return html`${runs.list.map((run) => this.run(run))}
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
    this.chosen = id;
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
      ${fault ? html`<span class="fault" role="alert">${this.t(fault.key, fault.n === undefined ? {} : { n: fault.n })}</span>`
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
      case "json":
        return html`<textarea id=${field.name} name=${field.name} rows="3" .value=${value} @input=${put}></textarea>`;
      default:
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
    if (field.kind === "point") {
      const { selection } = this.app;
      return html`<button type="button" class="quiet small" @click=${() => selection.takeNext(({ lon, lat }) =>
        this.put(field.name, `${lon.toFixed(6)}, ${lat.toFixed(6)}`))}>${this.t(selection.taking ? "scenario.picking" : "scenario.pickPoint")}</button>`;
    }
    if (field.kind === "bbox")
      return html`<button type="button" class="quiet small" @click=${() => {
        const box = this.app.camera.viewBox();
        if (box) this.put(field.name, box.map((angle) => angle.toFixed(6)).join(", "));
      }}>${this.t("scenario.useView")}</button>`;
    return nothing;
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
    if (Object.keys(faults).length === 0) void this.app.runs.start(process, inputs);
  }

  private run(run: Run): TemplateResult {
    const { status, progress = 0, message } = run.job;
    const going = status === "accepted" || status === "running";
    return html`<div class="run" data-run=${run.job.jobID} data-status=${status}>
      <div class="top"><b>${this.name(run.process)}</b>
        ${going && run.job.jobID ? html`<button class="quiet small" @click=${() => void this.app.runs.cancel(run)}>${this.t("scenario.cancel")}</button>` : nothing}
      </div>
      ${going ? html`<div class="track" role="progressbar" aria-valuenow=${progress} aria-valuemin="0" aria-valuemax="100"><i style="width:${progress}%"></i></div>
        <span class="muted">${this.t(status === "accepted" ? "scenario.waiting" : "scenario.running")} ${progress}% ${message ?? ""}</span>` : nothing}
      ${status === "successful" ? html`<span class="good">${this.t("scenario.done")}</span>${run.layers.map((id) => this.result(id))}` : nothing}
      ${status === "failed" ? html`<span class="bad">${this.t("scenario.failed", { why: run.why })}</span>` : nothing}
      ${status === "dismissed" ? html`<span class="muted">${this.t("scenario.cancelled")}</span>` : nothing}
    </div>`;
  }

  private result(id: string): TemplateResult {
    const layer = this.app.layer(id);
    const visible = this.app.states.get(id)?.visible ?? false;
    const name = layer ? layerTitle(layer, this.app.lang) : id;
    return html`<div class="result">
      <button title=${this.t("layer.zoom", { name })} @click=${() => layer?.bbox && void this.app.camera.zoomTo(layer.bbox)}>${name}</button>
      <button class="icon" role="switch" aria-checked=${visible} aria-label=${this.t("layer.show", { name })}
        @click=${() => this.app.setState(id, { visible: !visible })}>${icon(visible ? "eye" : "eyeOff")}</button></div>`;
  }
}
