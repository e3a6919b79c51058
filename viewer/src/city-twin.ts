/** `<city-twin src="…">`: the whole viewer as one element. `src` is where the API lives, relative to the page. */
import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, query, state } from "lit/decorators.js";
import { Math as CesiumMath } from "@cesium/engine";
import { CityApp } from "./app";
import { flyToView, setView } from "./cesium/scene";
import type { View } from "./core/camera";
import type { Quality } from "./core/device";
import { bilingual, type Lang } from "./core/i18n";
import "./panels/feature-card";
import "./panels/layer-tree";
import "./panels/legends";
import "./panels/notice-list";
import "./panels/scenario-panel";
import "./panels/search-box";
import "./panels/second-view";
import "./panels/status-bar";
import "./panels/time-slider";
import "./panels/tools-panel";
import "./panels/wall-screen";
import { dress, icon, look } from "./panels/base";
import type { StatusBar } from "./panels/status-bar";
import { TwinHandle } from "./twin-handle";

export interface FeaturePicked {
  layer: string;
  id: string;
  properties: Record<string, unknown>;
}
export interface RunFinished {
  job: string;
  process: string;
  status: string;
  layers: string[];
}

/** Pixels: a page so wide or less is a phone's, as in the style below. */
const NARROW = 720;

@customElement("city-twin")
export class CityTwin extends LitElement {
  static override styles = [look, css`
    :host { display: block; position: relative; width: 100%; height: 100%; min-height: 320px; overflow: hidden; background: #dfe7ec; }
    .main { position: absolute; inset: 0; }
    .main.half { right: 50%; }
    .half .time { left: 14px; bottom: 74px; }
    .half .notices { left: 60px; }
    .scene, .scene > div { position: absolute; inset: 0; }
    .scene .cesium-widget, .scene canvas { width: 100%; height: 100%; display: block; touch-action: none; outline-offset: -2px; }
    .scene:has(canvas:focus-visible)::after { content: ""; position: absolute; left: 50%; top: 50%; width: 18px; height: 18px; margin: -10px; border: 2px solid #fff; border-radius: 50%; box-shadow: 0 0 0 1.5px #14507a; pointer-events: none; }
    .side {
      position: absolute; left: 14px; top: 14px; width: 304px; max-height: calc(100% - 68px); display: flex; flex-direction: column;
      background: var(--paper); border-radius: 12px; box-shadow: 0 6px 28px rgba(18, 38, 56, 0.18); overflow: hidden;
    }
    .brand { display: flex; align-items: center; gap: 10px; padding: 12px 10px 10px 14px; }
    .brand .mark { width: 34px; height: 34px; border-radius: 9px; flex: none; }
    .brand div { flex: 1; min-width: 0; }
    .brand b { display: block; font-size: 16px; line-height: 1.3; letter-spacing: 0.01em; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    .brand small { color: var(--soft); font-size: 11.5px; }
    .brand .lang { padding: 3px 7px; font-size: 12px; color: var(--accent); font-weight: 600; flex: none; }
    .brand .lang:hover { background: var(--accent-wash); }
    .tabs { display: flex; padding: 0 14px; gap: 18px; border-bottom: 1px solid var(--line); }
    .tabs button { padding: 6px 2px 8px; color: var(--soft); border-radius: 0; border-bottom: 2px solid transparent; font-weight: 600; }
    .tabs button[aria-selected="true"] { color: var(--accent); border-color: var(--accent); }
    .panel { min-height: 60px; }
    .right { position: absolute; right: 62px; top: 14px; width: 330px; max-height: calc(100% - 68px); display: flex; pointer-events: none; }
    .right > * { pointer-events: auto; width: 100%; max-height: 100%; display: flex; flex-direction: column; }
    .swipe { position: absolute; top: 0; bottom: 26px; width: 3px; margin-left: -1px; background: #fff; box-shadow: 0 0 6px rgba(0, 0, 0, 0.5); cursor: ew-resize; touch-action: none; }
    .swipe svg { width: 19px; height: 19px; }
    .swipe span { position: absolute; top: 50%; left: -15px; width: 33px; height: 33px; border-radius: 50%; background: #fff; color: #14507a; display: grid; place-content: center; box-shadow: 0 1px 6px rgba(0, 0, 0, 0.4); }
    .nav { position: absolute; right: 14px; top: 14px; display: grid; background: var(--paper); border-radius: 10px; box-shadow: 0 3px 16px rgba(18, 38, 56, 0.16); overflow: hidden; }
    .nav .icon { width: 36px; height: 36px; border-radius: 0; }
    .nav .icon + .icon { border-top: 1px solid var(--line); }
    .legends { position: absolute; left: 332px; bottom: 40px; width: 210px; max-height: 45%; display: flex; }
    .legends > * { width: 100%; display: flex; flex-direction: column; }
    .time { position: absolute; left: 556px; right: 62px; bottom: 40px; max-width: 620px; }
    :host([layout="bare"]) .time, :host([layout="wall"]) .time { left: 240px; }
    :host([layout="wall"]) .time { left: calc(23% + 270px); right: calc(23% + 44px); }
    .notices { position: absolute; top: 14px; left: 332px; right: 62px; pointer-events: none; }
    .notices > * { pointer-events: auto; }
    .status { position: absolute; left: 0; right: 0; bottom: 0; }
    .credits { position: absolute; right: 12px; bottom: 4px; font-size: 11px; color: #4c5c69; pointer-events: none; }
    .wall { position: absolute; inset: 0; display: grid; place-content: center; gap: 10px; justify-items: center; padding: 24px; text-align: center; background: #eef3f6; }
    .wall p { max-width: 34em; margin: 0 0 8px; color: var(--soft); line-height: 1.8; }
    .wall h2 { font-size: 20px; }
    .side.folded { width: auto; }
    :host([layout="bare"]) .notices { left: 14px; }
    :host([layout="bare"]) .legends, :host([layout="wall"]) .legends { left: 14px; }
    :host([layout="wall"]) .legends { left: calc(23% + 44px); }
    :host([layout="wall"]) .notices { left: 24%; right: 24%; top: 100px; }
    :host([layout="wall"]) .right { right: calc(23% + 44px); top: 96px; }
    @media (max-width: 720px) {
      .side { width: calc(100% - 74px); max-height: 46%; top: auto; bottom: 36px; left: 10px; }
      .side.folded { width: auto; }
      .right { left: 10px; right: 62px; width: auto; max-height: 45%; }
      .notices { left: 10px; }
      .legends { left: auto; right: 10px; bottom: 36px; width: 170px; }
      .time, :host([layout]) .time { left: 10px; right: 62px; top: 10px; bottom: auto; }
    }
  `];

  /** Base of the API. */
  @property() src = "../";
  /** Names of the layers to show, separated by commas; the city's own choice when absent. */
  @property() layer = "";
  /** Where to look first: "lon,lat,height,heading,pitch,range" in degrees and metres. */
  @property() camera = "";
  /** `zh` or `en`; the reader's own choice when absent. */
  @property({ attribute: "language" }) language: Lang | "" = "";
  /** `full`, `bare` (the city alone, for other people's pages) or `wall` (a big screen with key figures). */
  @property({ reflect: true }) layout: "full" | "bare" | "wall" = "full";
  /** `high` or `low`; chosen from the graphics device when absent. */
  @property() quality: Quality | "" = "";
  @state() private tab: "layers" | "scenarios" | "tools" = "layers";
  /** The panel begins folded away. */
  @property({ type: Boolean }) folded = false;
  /** A second view of the same city stands beside the first. */
  @state() private second = false;
  @query(".scene > div") private scene!: HTMLElement;
  @query("twin-status-bar") private statusBar!: StatusBar;

  app: CityApp | null = null;
  handle: TwinHandle | null = null;
  private starting: (() => void)[] = [];

  protected override firstUpdated(): void {
    const app = new CityApp(new URL(this.src, document.baseURI).href, this.scene);
    this.app = app;
    app.later.do(dress);
    this.handle = new TwinHandle(app);
    this.folded ||= window.innerWidth <= NARROW;
    document.documentElement.lang = app.lang === "zh" ? "zh-CN" : "en";
    app.changed.on(() => this.requestUpdate());
    this.addEventListener("keydown", this.key);
    this.requestUpdate();
    for (const go of this.starting.splice(0)) go();
    if (this.language) app.setLang(this.language, false);
    app.selection.onPicked = (layer, feature) => this.tell<FeaturePicked>("feature-picked", { layer, id: feature.id, properties: feature.properties });
    app.runs.onEnded = ({ job, process, layers }) => this.tell<RunFinished>("run-finished", { job: job.jobID, process: process.id, status: job.status, layers });
    void app.open(this.quality || undefined).then(() => this.begin(app));
  }

  /** What the page asked for in attributes, once the city is there. */
  private begin(app: CityApp): void {
    const wanted = this.layer.split(",").map((name) => name.trim()).filter(Boolean);
    if (wanted.length > 0) for (const { id } of app.layers) app.setState(id, { visible: wanted.includes(id) });
    const numbers = this.camera.split(",").map(Number);
    if (this.camera && numbers.length === 6 && numbers.every(Number.isFinite) && app.widget) {
      const [lon, lat, height, heading, pitch, range] = numbers as [number, number, number, number, number, number];
      setView(app.widget, { lon, lat, height, heading, pitch, range });
    }
  }

  private tell<T>(name: string, detail: T): void {
    this.dispatchEvent(new CustomEvent<T>(name, { detail, bubbles: true, composed: true }));
  }

  /** Flies to a view; what is not given stays as it is. Resolves at the end of the flight. */
  async flyTo(view: Partial<View>): Promise<void> {
    const { app } = this;
    const now = app?.camera.currentView() ?? app?.camera.homeView() ?? null;
    if (app?.widget && now) await flyToView(app.widget, { ...now, ...view });
  }

  /** Shows the city as of an RFC 3339 time; null is now. */
  async setTime(time: string | null): Promise<void> {
    await this.app?.setAsOf(time ?? "");
  }

  /** Marks a feature and opens its card; null marks none. */
  async highlight(layer: string | null, id: string | null): Promise<void> {
    const found = layer === null ? undefined : this.app?.layer(layer);
    if (found && id !== null) await this.app?.selection.showFeature(found, id, null);
    else this.app?.selection.clear();
  }

  /** Enter ends a drawing, Escape leaves the tool; typing in a field is not meant. */
  private key = (event: KeyboardEvent): void => {
    // The keys of a second view are its own.
    if (event.composedPath().find((one) => one instanceof CityTwin) !== this) return;
    const { tools, drawing } = this.app ?? {};
    if (!tools || !drawing || (!tools.tool && !drawing.order) || event.composedPath().some((one) => one instanceof HTMLInputElement || one instanceof HTMLSelectElement || one instanceof HTMLTextAreaElement)) return;
    if (event.key === "Enter" && event.composedPath()[0] instanceof HTMLButtonElement) return;
    if (drawing.order && event.key === "Enter") drawing.finish();
    else if (drawing.order && event.key === "Escape") drawing.cancel();
    else if (event.key === "Enter" && tools.unfinished) void tools.finish();
    else if (event.key === "Escape") tools.start(null);
    else return;
    event.preventDefault();
  };

  /** Resolves when the element holds its app (before the city is open). */
  started(): Promise<TwinHandle> {
    return new Promise((resolve) => {
      if (this.handle) resolve(this.handle);
      else this.starting.push(() => resolve(this.handle!));
    });
  }

  protected override updated(changed: PropertyValues): void {
    if (changed.has("language") && this.language && this.app && this.app.lang !== this.language) this.app.setLang(this.language, false);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.app?.destroy();
  }

  protected override render(): TemplateResult {
    const { app } = this;
    return html`<div class="main ${this.second ? "half" : ""}"><div class="scene" @mousemove=${(event: MouseEvent) => this.statusBar?.follow(event.offsetX, event.offsetY)}><div></div></div>
      ${app ? html`${app.noGraphics ? this.excuse(app) : nothing}${this.layout === "full" ? this.side(app) : nothing}
        ${this.layout === "wall" ? html`<twin-wall-screen .app=${app}></twin-wall-screen>` : nothing}${app.noGraphics || this.layout === "wall" ? nothing : this.nav(app)}
        ${app.split === null ? nothing : this.swipe(app, app.split)}
        <div class="legends"><twin-legends .app=${app}></twin-legends></div>
        <div class="right"><twin-feature-card .app=${app}></twin-feature-card></div>
        <div class="time"><twin-time-slider .app=${app}></twin-time-slider></div>
        <div class="notices"><twin-notices .app=${app}></twin-notices></div>` : nothing}
      <div class="status">${app ? html`<twin-status-bar .app=${app}></twin-status-bar>` : nothing}</div>
      <div class="credits">${app?.t("app.made") ?? ""}</div></div>
      ${app && this.second ? html`<twin-second-view .app=${app}></twin-second-view>` : nothing}`;
  }

  private side(app: CityApp): TemplateResult {
    const title = bilingual(app.lang, app.city?.title, app.t("app.name"));
    const other = app.lang === "zh" ? "en" : "zh";
    return html`<aside class="side ${this.folded ? "folded" : ""}">
      <div class="brand">${mark}
        ${this.folded ? nothing : html`<div><b>${title}</b><small>${title === app.t("app.name") ? app.t("app.tagline") : app.t("app.name")}</small></div>
        <button class="lang" lang=${other} aria-label=${app.t("lang.switch.label")} @click=${() => app.setLang(other)}>${app.t("lang.switch")}</button>`}
        <button class="icon" aria-expanded=${!this.folded} title=${app.t(this.folded ? "panel.expand" : "panel.collapse")}
          aria-label=${app.t(this.folded ? "panel.expand" : "panel.collapse")} @click=${() => { this.folded = !this.folded; }}>
          ${icon(this.folded ? "layers" : "left")}</button>
      </div>
      ${this.folded ? nothing : html`<twin-search .app=${app}></twin-search><div class="tabs" role="tablist">${(["layers", "scenarios", "tools"] as const).map((tab) => html`
        <button role="tab" data-tab=${tab} aria-selected=${this.tab === tab} @click=${() => { this.tab = tab; }}>${app.t(`tab.${tab}`)}</button>`)}</div>
      <div class="panel scroll" role="tabpanel">
        <twin-layer-tree .app=${app} ?hidden=${this.tab !== "layers"}></twin-layer-tree>
        <twin-scenarios .app=${app} ?hidden=${this.tab !== "scenarios"}></twin-scenarios>
        <twin-tools .app=${app} ?hidden=${this.tab !== "tools"}></twin-tools></div>`}
    </aside>`;
  }

  private nav(app: CityApp): TemplateResult {
    const button = (name: Parameters<typeof icon>[0], key: Parameters<CityApp["t"]>[0], act: () => void) =>
      html`<button class="icon" title=${app.t(key)} aria-label=${app.t(key)} @click=${act}>${icon(name)}</button>`;
    return html`<nav class="nav">
      ${button("home", "nav.home", () => void app.camera.home())}
      ${button("plus", "nav.in", () => app.camera.zoom(0.6))}
      ${button("minus", "nav.out", () => app.camera.zoom(1.7))}
      ${button("north", "nav.north", () => app.camera.turn(0))}
      ${button(app.camera.flat ? "cube" : "map", app.camera.flat ? "nav.round" : "nav.flat", () => app.camera.setFlat(!app.camera.flat))}
      ${app.camera.flat ? nothing : button("top", app.camera.topDown ? "nav.tilt" : "nav.top", () => app.camera.turn(undefined, app.camera.topDown ? -38 : -90))}
      ${this.dataset["role"] === "second" || window.innerWidth <= NARROW ? nothing
        : button("beside", this.second ? "nav.one" : "nav.two", () => { this.second = !this.second; this.folded ||= this.second; })}
    </nav>`;
  }

  private swipe(app: CityApp, at: number): TemplateResult {
    const move = (to: number) => app.setSplit(Math.min(0.98, Math.max(0.02, to)));
    const drag = (event: PointerEvent) => {
      const handle = event.currentTarget as HTMLElement;
      if (event.type === "pointerdown") handle.setPointerCapture(event.pointerId);
      else if (handle.hasPointerCapture(event.pointerId)) move((event.clientX - this.scene.getBoundingClientRect().left) / Math.max(1, this.scene.clientWidth));
    };
    return html`<div class="swipe" style="left:${at * 100}%" role="slider" tabindex="0" aria-label=${app.t("look.split.handle")} title=${app.t("look.split.handle")}
      aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round(at * 100)} @pointerdown=${drag} @pointermove=${drag}
      @keydown=${(event: KeyboardEvent) => { if (event.key === "ArrowLeft") move(at - 0.02); else if (event.key === "ArrowRight") move(at + 0.02); }}><span>${icon("swipe")}</span></div>`;
  }

  private excuse(app: CityApp): TemplateResult {
    return html`<div class="wall" role="alert"><h2>${app.t("error.webgl")}</h2><p>${app.t("error.webgl.body")}</p>
      <button class="primary" @click=${() => location.reload()}>${app.t("error.reload")}</button></div>`;
  }

  /** Degrees clockwise from north. */
  get heading(): number {
    return CesiumMath.toDegrees(this.app?.widget?.camera.heading ?? 0);
  }
}

const mark = html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="8" fill="#14507a"/>
  <path d="M6 23V14l6-4v13M12 23V7l7-2v18M19 23V12l7 3v8" fill="none" stroke="#fff" stroke-width="1.800" stroke-linejoin="round"/>
  <path d="M5 26.500q2.750-1.800 5.500 0t5.500 0 5.500 0 5.500 0" fill="none" stroke="#6fc3e8" stroke-width="1.600" stroke-linecap="round"/></svg>`;
