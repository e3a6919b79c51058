/** Tools, ways of looking, notes and bookmarks: the third tab. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { number } from "../core/format";
import { groundView, undergroundColumn, VIEWS, withGroundView, type GroundView } from "../core/underground";
import { save } from "../picture";
import type { Bookmark, Note } from "../notebook";
import type { Tool } from "../tools/types";
import { icon, look, Panel } from "./base";
import "./print-panel";
import "./section-panel";
import "./tool-result";
import "./tool-settings";

const SHELVES: readonly { key: "tool.measure" | "tool.ask" | "tool.look"; tools: readonly Tool[] }[] = [
  { key: "tool.measure", tools: ["distance", "area", "slope", "position", "profile"] },
  { key: "tool.ask", tools: ["select", "box", "corridor"] },
  { key: "tool.look", tools: ["sight", "viewshed", "sun", "flood", "section", "cutbox", "note"] },
];

/** How clear the ground becomes when only what is below it is asked for. */
const SEEN_THROUGH = 0.7;

@customElement("twin-tools")
export class ToolsPanel extends Panel {
  static override styles = [look, css`
    section { padding: 10px 14px; display: grid; gap: 8px; }
    section + section { border-top: 1px solid var(--line); }
    h3 { margin: 0; font-size: 12px; color: var(--soft); font-weight: 600; }
    .shelf { display: flex; flex-wrap: wrap; gap: 6px; }
    .chip { padding: 4px 10px; border: 1px solid var(--line); border-radius: 14px; background: #fff; }
    .chip:hover { background: var(--wash); }
    .chip[aria-pressed="true"] { background: var(--accent); color: #fff; border-color: var(--accent); }
    .task { background: var(--accent-wash); border-radius: 8px; padding: 8px 10px; display: grid; gap: 6px; }
    .acts { display: flex; gap: 6px; flex-wrap: wrap; }
    label { display: grid; grid-template-columns: 6.4em 1fr auto; gap: 8px; align-items: center; }
    input, select { font: inherit; padding: 3px 6px; border: 1px solid var(--line); border-radius: 6px; min-width: 0; width: 100%; }
    input[type="range"] { accent-color: var(--accent); padding: 0; border: 0; }
    .kept { display: flex; gap: 4px; align-items: center; }
    .kept input { border-color: transparent; background: none; flex: 1; }
    .kept input:hover, .kept input:focus { border-color: var(--line); background: #fff; }
    .icon { width: 26px; height: 26px; }
  `];

  @state() private copied = "";

  /** A tool's hints and results lie below the shelves: they come into view when they change. */
  protected override updated(): void {
    const task = this.renderRoot.querySelector<HTMLElement>(".task");
    const now = task ? `${task.dataset["task"]}/${task.dataset["state"]}` : "";
    // A frame later its own parts are drawn, and it is as high as it will be.
    if (task && now !== this.seen) requestAnimationFrame(() => task.scrollIntoView({ block: "nearest" }));
    this.seen = now;
  }
  private seen = "";

  protected override render(): TemplateResult {
    return html`${this.shelves()}<twin-section .app=${this.app}></twin-section>${this.looking()}${this.notes()}${this.bookmarks()}<twin-print .app=${this.app}></twin-print>`;
  }

  private shelves(): TemplateResult {
    const { tools } = this.app;
    return html`<section>
      ${SHELVES.map(({ key, tools: members }) => html`<h3>${this.t(key)}</h3><div class="shelf">${members.map((tool) => html`
        <button class="chip" data-tool=${tool} aria-pressed=${tools.tool === tool} @click=${() => tools.start(tools.tool === tool ? null : tool)}>${this.t(`tool.${tool}`)}</button>`)}</div>`)}
      ${tools.tool ? this.task(tools.tool) : nothing}
    </section>`;
  }

  private task(tool: Tool): TemplateResult {
    const { tools } = this.app;
    const kind = tools.kind!;
    return html`<div class="task" role="status" data-task=${tool} data-state=${tools.busy ? "busy" : tools.result ? "done" : "drawing"}>
      ${tools.unfinished ? html`<span>${kind.ends ? this.t("tool.start", { n: kind.least }) : this.t("tool.more")}</span>` : nothing}
      ${tools.busy ? html`<span>${this.t("tool.busy")}</span>` : nothing}
      <twin-tool-settings .app=${this.app}></twin-tool-settings>
      ${tools.result ? html`<twin-tool-result .app=${this.app} .result=${tools.result}></twin-tool-result>` : nothing}
      <div class="acts">
        ${tools.unfinished && !kind.ends ? html`<button class="primary" data-role="done" @click=${() => void tools.finish()}>${this.t("tool.done")}</button>` : nothing}
        ${tools.unfinished && tools.spots.length > 0 ? html`<button class="quiet" @click=${() => tools.undo()}>${this.t("tool.undo")}</button>` : nothing}
        <button class="quiet" @click=${() => tools.start(null)}>${this.t("tool.stop")}</button>
      </div></div>`;
  }

  private looking(): TemplateResult {
    const { sharing, lang } = this.app;
    const sun = sharing.sun ?? { date: this.app.tools.settings.sunDate, hour: 10 };
    const value = (event: Event) => (event.target as HTMLInputElement).value;
    return html`<section><h3>${this.t("sun.title")}</h3>
      <label>${this.t("tool.date")}<input type="date" data-role="sun-date" .value=${sun.date} @change=${(event: Event) => sharing.light(value(event) || sun.date, sun.hour)} /></label>
      <label>${this.t("sun.hour")}<input type="range" data-role="sun-hour" min="5" max="19" step="0.25" .value=${String(sun.hour)}
        @input=${(event: Event) => sharing.light(sun.date, Number(value(event)))} /><span>${number(lang, Math.floor(sun.hour), 0)}:${String(Math.round((sun.hour % 1) * 60)).padStart(2, "0")}</span></label>
      <label>${this.t("look.ground")}<input type="range" data-role="ground" min="0" max="0.9" step="0.1" .value=${String(sharing.ground)}
        @input=${(event: Event) => sharing.clearGround(Number(value(event)))} /><span>${Math.round(sharing.ground * 100)}%</span></label>
      ${this.underground()}
      <label>${this.t("look.split")}<button class="quiet" data-role="split" aria-pressed=${this.app.split !== null} @click=${() => this.app.setSplit(this.app.split === null ? 0.6 : null)}>
        ${this.t(this.app.split === null ? "look.split.on" : "look.split.off")}</button></label>
      <label>${this.t("look.asOf")}<input type="datetime-local" data-role="as-of" .value=${local(this.app.asOf)}
        @change=${(event: Event) => void this.asOf(value(event))} />
        ${this.app.asOf ? html`<button class="quiet" data-role="now" @click=${() => void this.asOf("")}>${this.t("look.now")}</button>` : nothing}</label>
    </section>`;
  }

  /** Only where a layer that is shown tells what of it lies below the ground. */
  private underground(): TemplateResult | typeof nothing {
    const { app } = this;
    const layers = app.layers.filter((layer) => undergroundColumn(layer) !== null && app.states.get(layer.id)?.visible);
    if (layers.length === 0) return nothing;
    const now = groundView(layers[0]!, app.states.get(layers[0]!.id)!);
    const choose = (view: GroundView): void => {
      for (const layer of layers) void app.questions.filter(layer, withGroundView(layer, app.states.get(layer.id)!.conditions, view));
      // What is below shows only through the ground.
      if (view === "below") app.sharing.clearGround(Math.max(app.sharing.ground, SEEN_THROUGH));
      else if (now === "below") app.sharing.clearGround(0);
    };
    return html`<label>${this.t("under.title")}<select data-role="underground" @change=${(event: Event) => choose((event.target as HTMLSelectElement).value as GroundView)}>
      ${VIEWS.map((view) => html`<option value=${view} ?selected=${view === now}>${this.t(`under.${view}`)}</option>`)}</select></label>`;
  }

  private async asOf(text: string): Promise<void> {
    await this.app.setAsOf(text ? new Date(text).toISOString() : "").catch((error: unknown) =>
      this.app.notices.set("question", "error.question", { why: this.app.why(error) }, "bad"));
  }

  private notes(): TemplateResult {
    const { notebook } = this.app;
    return html`<section data-kept="notes"><h3>${this.t("note.title")}</h3>${notebook.notes.map((note) => this.kept(note, note.text, () => void this.app.camera.goTo(
      { kind: "position", title: note.text, lon: note.place.lon, lat: note.place.lat, layer: null, feature: null })))}
      ${notebook.notes.length > 0 ? html`<div><button class="quiet" @click=${() => save(new Blob([notebook.geojson()], { type: "application/geo+json" }), "notes.geojson")}>
        ${this.t("note.export")}</button></div>` : nothing}</section>`;
  }

  private bookmarks(): TemplateResult {
    const { notebook, sharing } = this.app;
    return html`<section data-kept="bookmarks"><h3>${this.t("bookmark.title")}</h3>
      ${notebook.bookmarks.map((mark) => this.kept(mark, mark.name, () => sharing.apply(mark.state)))}
      <div class="acts"><button class="quiet" data-role="bookmark" @click=${() => notebook.addBookmark()}>${this.t("bookmark.add")}</button>
        <button class="quiet" data-role="share" @click=${() => void this.share()}>${this.t("share.link")}</button></div>
      ${this.copied ? html`<span class="muted" role="status">${this.copied}</span>` : nothing}</section>`;
  }

  private kept(item: Note | Bookmark, text: string, go: () => void): TemplateResult {
    return html`<div class="kept"><button class="icon" title=${this.t("bookmark.go", { name: text })} aria-label=${this.t("bookmark.go", { name: text })} @click=${go}>${icon("target")}</button>
      <input aria-label=${this.t("keep.rename")} .value=${text} @change=${(event: Event) => this.app.notebook.rename(item.id, (event.target as HTMLInputElement).value)} />
      <button class="icon" title=${this.t("keep.remove")} aria-label=${this.t("keep.remove")} @click=${() => this.app.notebook.remove(item.id)}>${icon("close")}</button></div>`;
  }

  private async share(): Promise<void> {
    const link = this.app.sharing.link();
    try {
      await navigator.clipboard.writeText(link);
      this.copied = this.t("share.copied");
    } catch {
      this.copied = this.t("share.failed", { link });
    }
  }
}

/** A time as `datetime-local` writes it, in the reader's zone. */
function local(time: string): string {
  if (!time) return "";
  const date = new Date(time);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
