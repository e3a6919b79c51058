/** The form of one scenario, made from its description: parts that fold, fields that show when they count, geometry drawn on the map. */
import { css, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { live } from "lit/directives/live.js";
import type { Process } from "../api/types";
import { columnTitle } from "../core/attributes";
import { unitText } from "../core/format";
import { bilingual } from "../core/i18n";
import { layerTitle } from "../core/layers";
import { collect, counts, fieldsOf, groupsOf, parse, type Fault, type Field } from "../core/schema-form";
import { icon, look, Panel } from "./base";
import { formLook, geometryButton } from "./field-parts";
import "./rows-field";

type Option = readonly [value: string, text: string];

@customElement("twin-scenario-form")
export class ScenarioForm extends Panel {
  static override styles = [look, formLook, css`
    form { padding: 4px 16px 14px; display: grid; gap: 12px; }
    details.part { border: 1px solid var(--line); border-radius: 8px; padding: 0 11px; }
    details.part > summary { display: flex; align-items: center; gap: 6px; padding: 8px 0; cursor: pointer; font-weight: 600; list-style: none; }
    details.part > summary::-webkit-details-marker { display: none; }
    details.part > summary svg { width: 15px; height: 15px; color: var(--soft); transform: rotate(-90deg); flex: none; }
    details.part[open] > summary svg { transform: none; }
    details.part > summary small { margin-left: auto; font-weight: 400; color: var(--accent); }
    details.part > div { display: grid; gap: 12px; padding: 2px 0 12px; }
    .checks { display: grid; gap: 3px; }
    .checks label { display: flex; gap: 7px; align-items: baseline; font-weight: 400; }
    .checks input { width: auto; }
    .help { color: var(--soft); font-size: 12px; }
    .must { color: var(--bad); }
  `];

  @property({ attribute: false }) process!: Process;
  @state() private values: Record<string, string> = {};
  @state() private runName = "";
  @state() private faults: Record<string, Fault> = {};
  private fields: Field[] = [];
  /** The first part stands open; any other once the reader has opened it or something in it is wrong. */
  private readonly folded = new Map<string, boolean>();

  protected override willUpdate(changes: PropertyValues<this>): void {
    super.willUpdate(changes);
    // The same process read again must not take away what the reader has typed.
    if (!changes.has("process") || (changes.get("process") as Process | undefined)?.id === this.process.id) return;
    this.fields = fieldsOf(this.process).map((field) => this.preset(field));
    [this.values, this.runName, this.faults] = [{}, "", {}];
    this.folded.clear();
  }

  /** A layer that must be named and can only be one stands there already: the city's terrain, or the only layer that fits. */
  private preset(field: Field): Field {
    if (field.kind !== "layer" || !field.required) return field;
    const fits = this.layers(field).map(([id]) => id);
    const terrain = this.app.city?.terrain;
    const only = terrain && fits.includes(terrain) ? terrain : fits.length === 1 ? fits[0] : undefined;
    return only === undefined ? field : { ...field, initial: only };
  }

  protected override render(): TemplateResult {
    const shown = this.fields.filter((field) => counts(field, this.fields, this.values));
    return html`<form data-form=${this.process.id} novalidate @submit=${(event: Event) => this.submit(event)}>
      ${groupsOf(shown).map(({ name, fields }, index) => (name ? this.section(bilingual(this.app.lang, name), fields, index === 0) : fields.map((field) => this.field(field))))}
      <div class="field"><label for="run-name">${this.t("run.name")}</label>
        <div class="with"><input id="run-name" name="run-name" autocomplete="off" placeholder=${this.app.runs.freeName(this.process)} .value=${this.runName}
          @input=${(event: Event) => { this.runName = (event.target as HTMLInputElement).value; }} /></div><span class="help">${this.t("run.name.hint")}</span></div>
      <div><button class="primary" type="submit">${this.t("scenario.run")}</button></div>
    </form>`;
  }

  private section(name: string, fields: Field[], first: boolean): TemplateResult {
    const changed = fields.filter((field) => this.value(field) !== field.initial).length;
    const open = this.folded.get(name) ?? first;
    return html`<details class="part" data-part=${name} .open=${live(open || fields.some((field) => this.faults[field.name]))}
        @toggle=${(event: Event) => this.folded.set(name, (event.target as HTMLDetailsElement).open)}>
      <summary>${icon("chevron")}${name}${changed > 0 ? html`<small>${this.t("form.changed", { n: changed })}</small>` : nothing}</summary>
      <div>${fields.map((field) => this.field(field))}</div></details>`;
  }

  private value = (field: Field): string => this.values[field.name] ?? field.initial;

  private field(field: Field): TemplateResult {
    const { lang } = this.app;
    const fault = this.faults[field.name];
    const help = bilingual(lang, field.help);
    const title = bilingual(lang, field.title, field.name);
    return html`<div class="field">
      <label for=${field.name}>${title}${field.required ? html` <em class="must" title=${this.t("form.required")}>*</em>` : nothing}</label>
      <div class="with">${this.input(field, fault !== undefined)}${field.unit ? html`<i>${unitText(field.unit)}</i>` : nothing}${this.aid(field)}</div>
      ${fault ? html`<span class="fault" role="alert">${this.t(fault.key, { ...(fault.n === undefined ? {} : { n: fault.n }), ...(fault.name === undefined ? {} : { name: fault.name }) })}</span>`
        : help && help !== title ? html`<span class="help">${help}</span>` : nothing}
    </div>`;
  }

  private input(field: Field, wrong: boolean): TemplateResult {
    const { lang } = this.app;
    const value = this.value(field);
    const put = (event: Event) => this.put(field.name, (event.target as HTMLInputElement).value);
    const none: Option = ["", this.t(field.required ? "form.pick" : "form.choose")];
    if (field.columnOf) return this.choice(field, [none, ...this.columns(field, value)], put, wrong);
    switch (field.kind) {
      case "boolean":
        return html`<input id=${field.name} name=${field.name} type="checkbox" .checked=${value === "true"}
          @change=${(event: Event) => this.put(field.name, String((event.target as HTMLInputElement).checked))} />`;
      case "select": {
        const options = field.options.map((option): Option => [option, bilingual(lang, field.names[option], option)]);
        return this.choice(field, field.initial ? options : [none, ...options], put, wrong);
      }
      case "layer":
        return this.choice(field, [none, ...this.layers(field)], put, wrong);
      case "words":
        return Object.keys(field.names).length > 0 ? this.checks(field, value) : this.line(field, value, put, wrong);
      case "rows":
        return html`<twin-rows .app=${this.app} .field=${field} .value=${value} @rows=${(event: CustomEvent<string>) => this.put(field.name, event.detail)}></twin-rows>`;
      case "json":
        return html`<textarea id=${field.name} name=${field.name} rows="3" .value=${value} @input=${put}></textarea>`;
      default:
        return this.line(field, value, put, wrong);
    }
  }

  private line(field: Field, value: string, put: (event: Event) => void, wrong: boolean): TemplateResult {
    if (/csv|text|inp$/i.test(field.name)) return html`<textarea id=${field.name} name=${field.name} rows="3" .value=${value} @input=${put}></textarea>`;
    return html`<input id=${field.name} name=${field.name} .value=${value} @input=${put} autocomplete="off" aria-invalid=${wrong}
      inputmode=${field.kind === "number" || field.kind === "integer" ? "decimal" : "text"} />`;
  }

  private choice(field: Field, options: readonly Option[], put: (event: Event) => void, wrong: boolean): TemplateResult {
    const value = this.value(field);
    return html`<select id=${field.name} name=${field.name} @change=${put} aria-invalid=${wrong}>
      ${options.map(([id, text]) => html`<option value=${id} .selected=${live(id === value)}>${text}</option>`)}</select>`;
  }

  /** Some of a few words: what is ticked stands in the text, in the order of the choices. */
  private checks(field: Field, value: string): TemplateResult {
    const ticked = new Set(value.split(/[\s,]+/).filter(Boolean));
    const all = Object.entries(field.names);
    const tick = (word: string, on: boolean) => this.put(field.name, all.map(([each]) => each).filter((each) => (each === word ? on : ticked.has(each))).join(", "));
    return html`<div class="checks" role="group" aria-label=${bilingual(this.app.lang, field.title, field.name)}>${all.map(([word, name]) => html`<label>
      <input type="checkbox" name=${`${field.name}.${word}`} .checked=${ticked.has(word)} @change=${(event: Event) => tick(word, (event.target as HTMLInputElement).checked)} />
      ${bilingual(this.app.lang, name, word)}</label>`)}</div>`;
  }

  private layers(field: Field): Option[] {
    return this.app.layers
      .filter((layer) => field.layerKinds.length === 0 || field.layerKinds.includes(layer.kind))
      .map((layer) => [layer.id, layerTitle(layer, this.app.lang)] as const);
  }

  /** Columns of the layer that another field names; what is given stays to be seen even if the layer lacks it. */
  private columns(field: Field, value: string): Option[] {
    const other = this.fields.find(({ name }) => name === field.columnOf);
    const layer = other && this.app.layer(this.value(other));
    const found = (layer?.schema ?? []).map((column): Option => [column.name, columnTitle(column.name, column, this.app.lang)]);
    return value && !found.some(([name]) => name === value) ? [...found, [value, value]] : found;
  }

  /** A point or a box need not be typed. */
  private aid(field: Field): TemplateResult | typeof nothing {
    if (field.kind === "bbox")
      return html`<button type="button" class="quiet small" @click=${() => {
        const box = this.app.camera.viewBox();
        if (box) this.put(field.name, box.map((angle) => angle.toFixed(6)).join(", "));
      }}>${this.t("scenario.useView")}</button>`;
    return geometryButton(this.app, field.name, field, this.value(field), (text) => this.put(field.name, text));
  }

  /** What the form holds of lines and places is seen on the map while it is open. */
  private drawn(): void {
    const fields = this.hidden ? [] : this.fields.filter((field) => counts(field, this.fields, this.values));
    this.app.drawing.show(fields.flatMap((field) => {
      const { value } = parse({ ...field, required: false }, this.value(field));
      if (field.kind === "point" && value) return [{ places: [value as number[]], closed: false }];
      if ((field.kind === "line" || field.kind === "polygon") && value) return [{ places: value as number[][], closed: field.kind === "polygon" }];
      if (field.kind !== "rows" || !Array.isArray(value)) return [];
      return (value as Record<string, unknown>[]).flatMap(({ line }) => (Array.isArray(line) ? [{ places: line as number[][], closed: false }] : []));
    }));
  }

  protected override updated(): void {
    this.drawn();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.app.drawing.show([]);
  }

  private put(name: string, value: string): void {
    this.values = { ...this.values, [name]: value };
    const { [name]: _fixed, ...rest } = this.faults;
    this.faults = rest;
  }

  private submit(event: Event): void {
    event.preventDefault();
    const { inputs, faults } = collect(this.fields, this.values);
    this.faults = faults;
    if (Object.keys(faults).length > 0) return void this.toFault();
    this.app.drawing.cancel();
    const name = this.runName.trim() || this.app.runs.freeName(this.process);
    void this.app.runs.start(this.process, inputs, name);
    // The run's card stands above the form.
    this.dispatchEvent(new CustomEvent("started"));
  }

  /** Brings the first thing that is wrong into view. */
  private async toFault(): Promise<void> {
    await this.updateComplete;
    this.renderRoot.querySelector(".fault")?.scrollIntoView({ block: "center" });
  }
}
