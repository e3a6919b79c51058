/** A list of rows in a form: structures, inflows, sections. Each row has its own fields; lines and places are drawn on the map. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, property } from "lit/decorators.js";
import { bilingual } from "../core/i18n";
import { DRAWN, placesText, type Field } from "../core/schema-form";
import { faultsIn, newRow, rowsFrom, tagName, textIn, variantOf, variantsOf, withText, type Row, type Variant } from "../core/rows";
import { formLook, geometryButton } from "./field-parts";
import { icon, look, Panel } from "./base";

@customElement("twin-rows")
export class RowsField extends Panel {
  static override styles = [look, formLook, css`
    .row { border: 1px solid var(--line); border-radius: 8px; padding: 7px 9px; display: grid; gap: 6px; margin-bottom: 6px; background: #fbfcfd; }
    .top { display: flex; align-items: center; }
    .top b { flex: 1; font-size: 12.5px; }
    .adds { display: flex; flex-wrap: wrap; gap: 5px; margin-bottom: 5px; }
    summary { cursor: pointer; color: var(--soft); font-size: 12px; }
    details .field { margin-top: 6px; }
  `];

  @property({ attribute: false }) field!: Field;
  /** The rows as JSON text. */
  @property() value = "";

  protected override render(): TemplateResult {
    const variants = variantsOf(this.field);
    const rows = this.rows();
    return html`${rows?.map((row, index) => this.row(rows, row, index, variants)) ?? nothing}
      ${rows ? html`<div class="adds">${variants.map((variant) => html`<button type="button" class="quiet small" data-add=${variant.tag || "row"}
        @click=${() => this.add(rows, variant)}>${icon("plus")}${this.t("rows.add", { name: variant.tag ? tagName(variant.tag, this.app.lang) : this.t("rows.row") })}</button>`)}</div>` : nothing}
      <details ?open=${rows === null}><summary>${this.t("rows.json")}</summary>
        <textarea rows="4" aria-label=${this.t("rows.json")} name=${`${this.field.name}-json`} .value=${this.value}
          @input=${(event: Event) => this.tell((event.target as HTMLTextAreaElement).value)}></textarea></details>`;
  }

  private rows(): Row[] | null {
    try {
      return rowsFrom(this.value);
    } catch {
      return null;
    }
  }

  private row(rows: Row[], row: Row, index: number, variants: Variant[]): TemplateResult {
    const variant = variantOf(variants, row);
    if (!variant) return html``;
    const faults = faultsIn(row, variant);
    const main = variant.fields.filter((field) => field.required && !field.name.includes(".") || DRAWN.includes(field.kind) && !field.name.includes(".") || /^(name|crest|height_m|flow_m3_s)$/.test(field.name));
    const more = variant.fields.filter((field) => !main.includes(field));
    const put = (field: Field, text: string) => this.put(index, field, text);
    const each = (field: Field) => this.cell(`${this.field.name}.${index}.${field.name}`, field, textIn(row, field), faults[field.name] !== undefined, (text) => put(field, text));
    return html`<div class="row" data-row=${index}>
      <div class="top"><b>${index + 1}. ${variant.tag ? tagName(variant.tag, this.app.lang) : String(row["name"] ?? "")}</b>
        <button type="button" class="icon" title=${this.t("rows.remove")} aria-label=${this.t("rows.remove")}
          @click=${() => this.tell(text(rows.filter((_, other) => other !== index)))}>${icon("close")}</button></div>
      ${main.map(each)}
      ${more.length > 0 ? html`<details><summary>${this.t("rows.more")}</summary>${more.map(each)}</details>` : nothing}</div>`;
  }

  private cell(name: string, field: Field, value: string, wrong: boolean, put: (text: string) => void): TemplateResult {
    const label = bilingual(this.app.lang, field.title, field.name);
    const change = (event: Event) => put((event.target as HTMLInputElement).value);
    // What is being drawn is empty because it is not there yet.
    const said = wrong && this.app.drawing.order?.name !== name;
    const input = field.kind === "boolean"
      ? html`<input id=${name} name=${name} type="checkbox" .checked=${value === "true"} @change=${(event: Event) => put(String((event.target as HTMLInputElement).checked))} />`
      : field.kind === "select"
        ? html`<select id=${name} name=${name} @change=${change}><option value="">${this.t("form.choose")}</option>
          ${field.options.map((option) => html`<option value=${option} ?selected=${option === value}>${bilingual(this.app.lang, field.names[option], tagName(option, this.app.lang))}</option>`)}</select>`
        : field.name === "csv" ? html`<textarea id=${name} name=${name} rows="3" .value=${value} @change=${change}></textarea>`
          : html`<input id=${name} name=${name} .value=${value} aria-invalid=${said} autocomplete="off" @change=${change} />`;
    return html`<div class="field"><label for=${name}>${label}</label>
      <div class="with">${input}${geometryButton(this.app, name, field, value, put)}</div></div>`;
  }

  private add(rows: Row[], variant: Variant): void {
    const row = newRow(variant);
    this.tell(text([...rows, row]));
    // What is drawn comes first: the line of a new row is asked for at once.
    const drawn = variant.fields.find((field) => DRAWN.includes(field.kind) && field.required && !field.name.includes("."));
    const index = rows.length;
    if (!drawn) return;
    this.app.drawing.start({
      shape: drawn.kind === "polygon" ? "polygon" : drawn.kind === "point" ? "point" : "line", name: `${this.field.name}.${index}.${drawn.name}`,
      ...(drawn.schema.minItems === undefined || drawn.kind === "point" ? {} : { least: drawn.schema.minItems }),
      done: (places) => this.put(index, drawn, placesText(places)),
    });
  }

  /** Into the rows as they are now: they may have changed while the reader drew. */
  private put(index: number, field: Field, said: string): void {
    const rows = this.rows();
    const row = rows?.[index];
    if (rows && row) this.tell(text(rows.map((old, other) => (other === index ? withText(row, field, said) : old))));
  }

  private tell(value: string): void {
    this.value = value;
    this.dispatchEvent(new CustomEvent<string>("rows", { detail: value }));
  }
}

const text = (rows: readonly Row[]): string => (rows.length === 0 ? "" : JSON.stringify(rows));
