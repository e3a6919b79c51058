/** Search: features by name, address or id; coordinates in any CRS. Arrow keys and Enter work as in every search field. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import type { PlaceFound } from "../api/types";
import { layerTitle } from "../core/layers";
import { icon, look, Panel } from "./base";

const WAIT = 250;
const NUMBERS = /^\s*[-+]?\d+(\.\d+)?\s*[,，;\s]\s*[-+]?\d/;

@customElement("twin-search")
export class SearchBox extends Panel {
  static override styles = [look, css`
    :host { display: block; padding: 8px 12px; border-bottom: 1px solid var(--line); position: relative; }
    .field { display: flex; gap: 6px; align-items: center; background: var(--wash); border-radius: 8px; padding: 0 4px 0 8px; color: var(--soft); }
    .field svg { width: 16px; height: 16px; flex: none; }
    input { font: inherit; color: var(--ink); border: 0; background: none; padding: 7px 2px; flex: 1; min-width: 0; outline: none; }
    .field:focus-within { outline: 2px solid var(--accent); }
    .crs { max-width: 8.5em; flex: none; border-left: 1px solid var(--line); border-radius: 0; padding-left: 6px; font-size: 12px; }
    ul { list-style: none; margin: 6px 0 0; padding: 0; max-height: 300px; }
    li { padding: 5px 8px; border-radius: 6px; cursor: pointer; display: flex; gap: 8px; align-items: baseline; }
    li[aria-selected="true"], li:hover { background: var(--accent-wash); }
    li b { font-weight: 500; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    li small { color: var(--soft); margin-left: auto; flex: none; }
    .icon { width: 24px; height: 24px; }
  `];

  @state() private places: PlaceFound[] = [];
  @state() private at = 0;
  @state() private text = "";
  @state() private crs = "EPSG:4326";
  @state() private asked = "";
  private timer = 0;
  private abort = new AbortController();

  protected override render(): TemplateResult {
    const open = this.places.length > 0;
    return html`<div class="field" role="search">${icon("search")}
      <input role="combobox" aria-expanded=${open} aria-controls="found" aria-label=${this.t("search.label")} placeholder=${this.t("search.hint")} .value=${this.text}
        aria-activedescendant=${open ? `place-${this.at}` : nothing}
        @input=${(event: Event) => this.type((event.target as HTMLInputElement).value)} @keydown=${this.key} />
      ${NUMBERS.test(this.text) ? html`<input class="crs" aria-label=${this.t("search.crs")} list="crs" .value=${this.crs}
        @change=${(event: Event) => { this.crs = (event.target as HTMLInputElement).value; void this.ask(); }} />
        <datalist id="crs"><option value="EPSG:4326"></option><option value="EPSG:4490"></option><option value="EPSG:4547"></option>
          <option value="EPSG:4546"></option><option value="EPSG:4526"></option><option value="EPSG:4525"></option></datalist>` : nothing}
      ${this.text ? html`<button class="icon" aria-label=${this.t("search.clear")} title=${this.t("search.clear")} @click=${() => this.type("")}>${icon("close")}</button>` : nothing}
    </div>
    <ul class="scroll" id="found" role="listbox" aria-label=${this.t("search.label")} ?hidden=${!open}>${this.places.map((place, index) => html`
      <li id="place-${index}" role="option" aria-selected=${index === this.at} @click=${() => this.go(place)}>
        <b>${place.title}</b><small>${this.where(place)}</small></li>`)}</ul>
    ${!open && this.asked && this.asked === this.text.trim() ? html`<p class="muted" role="status">${this.t("search.none", { q: this.asked })}</p>` : nothing}`;
  }

  private where(place: PlaceFound): string {
    const layer = place.layer ? this.app.layer(place.layer) : undefined;
    return layer ? layerTitle(layer, this.app.lang) : this.t("search.position");
  }

  private type(text: string): void {
    this.text = text;
    window.clearTimeout(this.timer);
    if (text.trim() === "") {
      this.places = [];
      this.asked = "";
      return;
    }
    this.timer = window.setTimeout(() => void this.ask(), WAIT);
  }

  private async ask(): Promise<void> {
    const text = this.text.trim();
    if (!text) return;
    this.abort.abort();
    this.abort = new AbortController();
    const { signal } = this.abort;
    try {
      const places = await this.app.api.search(text, NUMBERS.test(text) ? this.crs : undefined, signal);
      this.places = places;
      this.at = 0;
      this.asked = text;
    } catch (error) {
      if (!signal.aborted) this.app.notices.set("question", "error.question", { why: this.app.why(error) }, "bad");
    }
  }

  private key = (event: KeyboardEvent): void => {
    const last = this.places.length - 1;
    if (event.key === "ArrowDown") this.at = Math.min(last, this.at + 1);
    else if (event.key === "ArrowUp") this.at = Math.max(0, this.at - 1);
    else if (event.key === "Enter" && this.places[this.at]) this.go(this.places[this.at]!);
    else if (event.key === "Escape") this.type("");
    else return;
    event.preventDefault();
  };

  private go(place: PlaceFound): void {
    this.places = [];
    this.asked = "";
    void this.app.camera.goTo(place);
  }
}
