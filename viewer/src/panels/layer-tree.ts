/** The layers by CIM group: on or off, how opaque, how coloured, where. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { number } from "../core/format";
import { processName } from "../core/i18n";
import { byRun, grouped, layerTitle, runName, SIDES, type GroupId, type Layer, type LayerState, type Side } from "../core/layers";
import { blockRows } from "../core/legends";
import { icon, look, Panel } from "./base";
import "./layer-grade";
import "./layer-style";
import "./layer-versions";

/** Layers that one sees at a glance; more want a search field. */
const FEW = 8;

@customElement("twin-layer-tree")
export class LayerTree extends Panel {
  static override styles = [look, css`
    .group { padding: 4px 0 6px; }
    .group + .group { border-top: 1px solid var(--line); }
    .group > button {
      display: flex; align-items: center; gap: 4px; width: 100%; padding: 6px 10px; font-size: 12px; font-weight: 600; color: var(--soft);
      letter-spacing: 0.04em;
    }
    .group > button svg { width: 15px; height: 15px; transition: transform 0.15s; }
    .group > button[aria-expanded="false"] svg { transform: rotate(-90deg); }
    .count { margin-left: auto; font-weight: 400; color: #566673; }
    .layer { padding: 0 8px; }
    .row { display: flex; align-items: center; gap: 6px; padding: 2px 2px 2px 6px; border-radius: 7px; }
    .row:hover { background: var(--wash); }
    .row .name { flex: 1; min-width: 0; text-align: left; padding: 5px 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    .off .name, .off .chip { color: #566673; }
    .chip { font-size: 11px; color: var(--soft); background: var(--wash); border-radius: 4px; padding: 0 5px; flex: none; line-height: 18px; }
    .row:hover .chip { background: #fff; }
    .swatch { width: 11px; height: 11px; border-radius: 3px; flex: none; border: 1px solid rgba(20, 40, 60, 0.16); }
    .off .swatch { opacity: 0.35; }
    .icon { width: 26px; height: 26px; }
    .on.icon { color: var(--accent); }
    .more { padding: 4px 10px 10px 25px; display: grid; gap: 8px; }
    .more label { display: grid; grid-template-columns: 5.2em 1fr 3em; align-items: center; gap: 8px; }
    .more .value { text-align: right; color: var(--soft); }
    input[type="range"] { width: 100%; accent-color: var(--accent); margin: 0; height: 18px; }
    select { font: inherit; padding: 3px 6px; border: 1px solid var(--line); border-radius: 6px; background: #fff; grid-column: 2 / 4; }
    .legend { display: grid; grid-template-columns: 1fr 1fr; gap: 3px 10px; font-size: 12px; }
    .legend span { display: flex; gap: 6px; align-items: center; }
    .note { color: var(--soft); font-size: 12px; }
    .stale { color: #8a5a00; background: #fff6e0; padding: 3px 8px; border-radius: 5px; }
    .find { font: inherit; width: calc(100% - 24px); margin: 8px 12px 2px; padding: 5px 8px; border: 1px solid var(--line); border-radius: 7px; }
    .run > summary { display: flex; align-items: center; gap: 5px; padding: 4px 12px 4px 22px; cursor: pointer; color: var(--soft); list-style: none; }
    .run > summary::-webkit-details-marker { display: none; }
    .run > summary svg { width: 13px; height: 13px; transform: rotate(-90deg); }
    .run[open] > summary svg { transform: none; }
    .empty { padding: 24px 20px; color: var(--soft); line-height: 1.8; }
  `];

  @state() private folded = new Set<GroupId>();
  @state() private openLayer: string | null = null;
  @state() private wanted = "";

  protected override render(): TemplateResult {
    if (this.app.opened && this.app.layers.length === 0) return html`<p class="empty">${this.t("layers.none")}</p>`;
    const wanted = this.wanted.trim().toLowerCase();
    const layers = this.app.layers.filter(({ id, title }) => [id, title.zh, title.en].some((text) => text.toLowerCase().includes(wanted)));
    return html`${this.app.layers.length > FEW ? html`<input class="find" type="search" aria-label=${this.t("layers.search")} placeholder=${this.t("layers.search")}
      @input=${(event: Event) => { this.wanted = (event.target as HTMLInputElement).value; }} />` : nothing}
      ${grouped(layers).map(({ group, layers: members }) => this.group(group, members))}`;
  }

  private group(group: GroupId, layers: Layer[]): TemplateResult {
    const open = !this.folded.has(group);
    const on = layers.filter((layer) => this.app.states.get(layer.id)?.visible).length;
    return html`<section class="group" data-group=${group}>
      <button aria-expanded=${open} @click=${() => this.fold(group)}>
        ${icon("chevron")}${this.t(`group.${group}`)}<span class="count">${on}/${layers.length}</span>
      </button>
      ${!open ? nothing : group === "results" ? this.runs(layers) : layers.map((layer) => this.layer(layer))}
    </section>`;
  }

  /** Results by run, the newest first; an older one is folded until something of it is shown or looked for. */
  private runs(layers: Layer[]): TemplateResult[] {
    const { app } = this;
    const place = (run: string): number => app.runs.list.findIndex(({ job }) => job.jobID === run);
    const runs = [...byRun(layers).entries()].sort(([a], [b]) => place(a) - place(b));
    if (runs.length === 1) return layers.map((layer) => this.layer(layer));
    return runs.map(([run, own], index) => {
      const process = app.runs.list[place(run)]?.process;
      const open = index === 0 || this.wanted.trim() !== "" || own.some(({ id }) => app.states.get(id)?.visible);
      return html`<details class="run" data-run-layers=${run} ?open=${open}><summary>${icon("chevron")}${[process && processName(process, app.lang), runName(own)].filter(Boolean).join(" · ")}</summary>
        ${own.map((layer) => this.layer(layer))}</details>`;
    });
  }

  private fold(group: GroupId): void {
    const folded = new Set(this.folded);
    if (!folded.delete(group)) folded.add(group);
    this.folded = folded;
  }

  private layer(layer: Layer): TemplateResult {
    const state = this.app.states.get(layer.id);
    const name = layerTitle(layer, this.app.lang);
    const visible = state?.visible ?? false;
    const open = this.openLayer === layer.id;
    const shows = layer.kind !== "table";
    return html`<div class="layer ${visible ? "" : "off"}" data-layer=${layer.id}>
      <div class="row">
        ${shows ? html`<button class="icon ${visible ? "on" : ""}" role="switch" aria-checked=${visible}
          aria-label=${this.t("layer.show", { name })} title=${this.t("layer.show", { name })}
          @click=${() => this.app.setState(layer.id, { visible: !visible })}>${icon(visible ? "eye" : "eyeOff")}</button>`
          : html`<span class="icon"></span>`}
        ${layer.kind === "vector" && layer.style.color ? html`<span class="swatch" style="background:${layer.style.color}"></span>` : nothing}
        <button class="name" title=${layer.description || name} aria-expanded=${open}
          @click=${() => { this.openLayer = open ? null : layer.id; }}>${layer.kind === "terrain" ? this.terrainName(name) : name}</button>
        <span class="chip">${layer.grade ?? this.t(`kind.${layer.kind}`)}</span>
        ${layer.bbox ? html`<button class="icon" title=${this.t("layer.zoom", { name })} aria-label=${this.t("layer.zoom", { name })}
          @click=${() => void this.app.camera.zoomTo(layer.bbox!)}>${icon("target")}</button>` : nothing}
      </div>
      ${open && state ? this.details(layer, state) : nothing}
    </div>`;
  }

  /** The terrain is always the ground; its switch shows the relief picture over it. */
  private terrainName = (name: string): string => `${name} · ${this.t("layer.relief")}`;

  private details(layer: Layer, state: LayerState): TemplateResult {
    const { lang } = this.app;
    const percent = Math.round(state.opacity * 100);
    const facts = [
      layer.count === null ? "" : this.t("layer.count", { n: number(lang, layer.count, 0) }),
      layer.version === null ? "" : this.t("layer.version", { n: layer.version }),
      this.t(`kind.${layer.kind}`),
    ].filter(Boolean).join(" · ");
    return html`<div class="more">
      ${layer.kind === "table" ? nothing : html`<label>${this.t("layer.opacity")}
        <input type="range" min="0" max="100" .value=${String(percent)}
          @input=${(event: Event) => this.app.setState(layer.id, { opacity: Number((event.target as HTMLInputElement).value) / 100 })} />
        <span class="value">${percent}%</span></label>`}
      ${this.app.split !== null && layer.kind !== "table" ? html`<label>${this.t("layer.side")}
        <select data-role="side" @change=${(event: Event) => this.app.setState(layer.id, { side: (event.target as HTMLSelectElement).value as Side })}>
          ${SIDES.map((side) => html`<option value=${side} ?selected=${side === state.side}>${this.t(`layer.side.${side}`)}</option>`)}</select></label>` : nothing}
      ${layer.links.tiles3d || (layer.kind === "vector" && layer.links.map) ? html`<twin-layer-style .app=${this.app} .layer=${layer}></twin-layer-style>` : nothing}
      ${layer.kind === "blocks" && !state.thematic ? html`<div class="legend">${this.swatches(layer, state)}</div>` : nothing}
      <twin-layer-grade .app=${this.app} .layer=${layer}></twin-layer-grade>
      ${(layer.version ?? 1) > 1 || this.app.asOf ? html`<twin-layer-versions .app=${this.app} .layer=${layer}></twin-layer-versions>` : nothing}
      ${layer.stale ? html`<span class="stale">${this.t("layer.stale")}</span>` : nothing}
      <span class="note">${facts}</span>
    </div>`;
  }

  private swatches(layer: Layer, state: LayerState): TemplateResult[] {
    return blockRows(this.app.lang, layer, state).map(({ color, text }) => html`<span><i class="swatch" style="background:${color}"></i>${text}</span>`);
  }
}
