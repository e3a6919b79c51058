/**
 * The city as the viewer holds it: reads the API, keeps scene and state in step, recovers from failures.
 * Panels read its fields and call its methods; they never touch Cesium.
 */
import type { CesiumWidget } from "@cesium/engine";
import { Api, ApiError } from "./api/client";
import type { Bbox, City, Legend, TileJson } from "./api/types";
import { Ground, type TileFault } from "./cesium/ground";
import { Labels } from "./cesium/labels";
import { Marks } from "./cesium/marks";
import { createStage } from "./cesium/scene";
import { Tilesets } from "./cesium/tilesets";
import { detailFor, type Detail, type Quality } from "./core/device";
import { Emitter } from "./core/emitter";
import { Health } from "./core/health";
import { toCql2 } from "./core/filter";
import { chooseLang, translate, type Lang } from "./core/i18n";
import { labelsOf } from "./core/labels";
import { Later } from "./core/later";
import { firstState, layerTitle, toLayer, type Layer, type LayerState } from "./core/layers";
import type { MessageKey } from "./core/messages";
import { Notices } from "./core/notices";
import { Burst, type Progress } from "./core/progress";
import { why } from "./core/why";
import { Faults } from "./faults";
import { probeGraphics, thisMachine } from "./graphics";
import { Notebook } from "./notebook";
import { Playback } from "./playback";
import { Questions } from "./questions";
import { Revival } from "./revival";
import { Runs } from "./runs";
import { Section } from "./section";
import { Sharing } from "./sharing";
import { Selection } from "./selection";
import { Drawing } from "./tools/drawing";
import { Tools } from "./tools/tools";
import { Steering } from "./steering";
import { Viewpoint } from "./viewpoint";
import { Waters } from "./waters";

/** How often the catalogue is asked for new versions, milliseconds. */
const POLL = 20_000;
const LABEL_LIMIT = 2000;
/** Milliseconds after the opening when what waits for the first picture waits no longer: it may never come, as in a city without tiles. */
const LATEST = 5_000;

export class CityApp {
  readonly changed = new Emitter();
  readonly progressed = new Emitter<Progress>();
  readonly notices = new Notices(() => this.changed.emit());
  readonly health: Health;
  readonly selection: Selection;
  readonly runs: Runs;
  readonly camera: Viewpoint;
  readonly questions: Questions;
  readonly tools: Tools;
  readonly drawing: Drawing;
  readonly section: Section;
  readonly playback: Playback;
  readonly notebook: Notebook;
  readonly sharing: Sharing;
  readonly api: Api;

  lang: Lang = chooseLang(navigator.languages, storage()?.getItem("twin.lang"));
  city: City | null = null;
  layers: Layer[] = [];
  readonly states = new Map<string, LayerState>();
  readonly legends = new Map<string, Legend>();
  /** Legends of the attributes by which layers are coloured now. */
  readonly themes = new Map<string, Legend>();
  /** Set when there is no WebGL 2; the page then explains instead of showing a globe. */
  noGraphics = false;
  opened = false;
  /** RFC 3339 time: the city as it showed itself then; "" is now. */
  asOf = "";
  split: number | null = null;

  widget: CesiumWidget | null = null;
  tilesets!: Tilesets;
  ground!: Ground;
  labels!: Labels;
  marks!: Marks;
  /** What this machine bears; decided when the scene is first built. */
  detail!: Detail;

  private readonly revival: Revival;
  private readonly waters: Waters;
  private readonly steering: Steering;
  private readonly burst = new Burst();
  private readonly tileJsons = new Map<string, TileJson>();
  private readonly dirty = new Set<string>();
  private readonly faults = new Faults(this, this.dirty);
  /** What the first picture can do without. */
  readonly later = new Later();
  /** Layers that nobody has shown yet, to be read after the first picture. */
  private readonly unread = new Set<string>();
  /** Names and layers that are being read behind the picture. */
  private reading = 0;
  private terrainPending = 0;
  /** Some of the ground did not come: the provider is made anew with the next look at the catalogue. */
  private terrainLost = false;
  private timer = 0;
  private opening: Promise<void> | null = null;

  constructor(base: string, private readonly container: HTMLElement) {
    this.api = new Api(base);
    this.health = new Health(() => this.api.city());
    this.selection = new Selection(this);
    this.runs = new Runs(this);
    this.camera = new Viewpoint(this);
    this.questions = new Questions(this);
    this.tools = new Tools(this);
    this.drawing = new Drawing(this);
    this.section = new Section(this);
    this.playback = new Playback(this);
    this.notebook = new Notebook(this, base, storage() ?? undefined);
    this.sharing = new Sharing(this);
    this.waters = new Waters(this);
    this.steering = new Steering(this);
    this.revival = new Revival(this, container, () => this.build(), () => this.reread(true));
    this.health.changed.on(({ online, wait }) => {
      if (online) this.notices.replace("offline", "error.back", {}, "good");
      else this.notices.set("offline", "error.offline", { s: wait }, "bad");
    });
    this.health.recovered.on(() => void this.reread());
  }

  t = (key: MessageKey, values: Record<string, string | number> = {}): string => translate(this.lang, key, values);
  /** Why something failed, for the `{why}` of a message. */
  why = (error: unknown): string => why(error, this.t);

  /** @param keep remembers the choice for the next visit; what a page prescribes is not the reader's choice. */
  setLang(lang: Lang, keep = true): void {
    this.lang = lang;
    if (keep) storage()?.setItem("twin.lang", lang);
    document.documentElement.lang = lang === "zh" ? "zh-CN" : "en";
    for (const layer of this.layers) if (this.states.get(layer.id)?.visible) void this.loadLabels(layer);
    this.changed.emit();
  }

  /** Builds the scene and opens the city; waits for the server as long as it takes. */
  open(quality?: Quality): Promise<void> {
    this.opening ??= this.doOpen(quality);
    return this.opening;
  }

  private async doOpen(quality?: Quality): Promise<void> {
    const graphics = probeGraphics();
    if (!graphics) {
      this.noGraphics = true;
      this.later.release();
      this.changed.emit();
      return;
    }
    this.detail = detailFor(thisMachine(graphics.software, this.container), quality);
    this.build();
    this.changed.emit();
    for (;;) {
      try {
        await this.refresh();
        break;
      } catch (error) {
        this.draw();
        this.later.release();
        void this.ground.setTerrain("terrain", null);
        if (!(error instanceof ApiError) || !error.offline) this.notices.set("open", "error.open", { why: this.why(error) }, "bad");
        await this.waitOnline();
      }
    }
    this.notices.clear("open");
    this.opened = true;
    this.timer = window.setInterval(() => void this.poll(), POLL);
    this.later.do(() => void this.runs.load());
    window.setTimeout(() => {
      this.later.release();
      this.tilesets.sharpen();
    }, LATEST);
    this.changed.emit();
  }

  /** Starts to draw: once it is known where to look, or that this will take a while. */
  private draw(): void {
    if (this.widget) this.widget.useDefaultRenderLoop = true;
  }

  private async waitOnline(): Promise<void> {
    const alive = await this.health.suspect();
    if (alive) {
      await new Promise((done) => setTimeout(done, 3000));
      return;
    }
    await new Promise<void>((done) => {
      const off = this.health.recovered.on(() => {
        off();
        done();
      });
    });
  }

  private build(): void {
    const widget = createStage(this.container, this.detail);
    this.widget = widget;
    const fault: TileFault = (layer, part, status) => this.onFault(layer, part, status);
    this.tilesets = new Tilesets(widget, this.detail, fault, () => this.onProgress(), (id) => {
      const layer = this.layer(id);
      if (layer) this.questions.colourPoints(layer);
    });
    this.ground = new Ground(widget, fault);
    this.labels = new Labels(widget);
    this.marks = new Marks(widget);
    widget.scene.globe.tileLoadProgressEvent.addEventListener((left: number) => {
      this.terrainPending = left;
      this.onProgress();
    });
    widget.scene.renderError.addEventListener((_scene: unknown, error: unknown) => {
      // The frame that a lost device could not draw may be told before the loss itself.
      if (widget.canvas.getContext("webgl2")?.isContextLost()) this.revival.begin("error.context", {});
      else this.revival.begin("error.render", { why: error instanceof Error ? error.message : String(error).split("\n")[0]!.slice(0, 200) });
    });
    widget.canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      this.revival.begin("error.context", {});
    });
    this.selection.attach(widget);
    this.steering.attach(widget);
    this.tools.forget();
    this.drawing.forget();
    this.section.renew();
    this.waters.renew();
    this.notebook.draw(true);
    if (this.city) this.draw();
  }

  private async poll(): Promise<void> {
    if (document.hidden || !this.health.state.online) return;
    await this.reload().catch((error: unknown) => console.warn(error));
  }

  /** Reads the catalogue now. Rejects when the server does not answer, after the watch for its return has begun. */
  async reload(): Promise<void> {
    try {
      await this.refresh();
    } catch (error) {
      if (error instanceof ApiError && error.offline) void this.health.suspect();
      throw error;
    }
  }

  /** Reads city and catalogue; adds, replaces and removes what changed. */
  async refresh(): Promise<void> {
    const [city, collections] = await Promise.all([this.api.city(), this.api.collections(this.asOf || undefined)]);
    const before = new Map(this.layers.map((layer) => [layer.id, layer]));
    const first = this.city === null;
    this.city = city;
    this.layers = collections.map(toLayer);
    if (first) this.camera.place();
    const restored = first && this.sharing.restoreView();
    const gone = [...before.keys()].filter((id) => !this.layers.some((layer) => layer.id === id));
    for (const id of gone) this.drop(id);
    if (first) this.draw();
    this.changed.emit();
    const due = this.layers.filter((layer) => before.get(layer.id)?.key !== layer.key || this.dirty.has(layer.id));
    for (const layer of due) if (first && this.canWait(layer)) this.unread.add(layer.id);
    const ground = this.applyTerrain().then(() => { if (first && !restored) void this.camera.settle(); });
    await Promise.all([ground, ...due.filter(({ id }) => !this.unread.has(id)).map((layer) => this.load(layer))]);
    if (first) this.sharing.restoreRest();
    this.later.do(() => void this.behind(async () => {
      await Promise.all([...this.unread].map((id) => this.loadUnread(id)));
      await this.replaceBlocks();
    }));
    this.changed.emit();
  }

  /**
   * Whether a layer can wait until the city stands: one that is off until the reader wants it, and names' and things' pictures on the ground.
   * If so, its state is set. A raster's legend must be read to know.
   */
  private canWait(layer: Layer): boolean {
    if (layer.kind === "raster" && layer.run === null) return false;
    const state = firstState(layer, null, this.layers);
    const waits = !state.visible || (layer.kind === "vector" && !layer.links.tiles3d);
    if (waits) this.states.set(layer.id, state);
    return waits;
  }

  private async loadUnread(id: string): Promise<void> {
    const layer = this.layer(id);
    if (this.unread.has(id) && layer) await this.load(layer);
  }

  /** Work that `idle` waits for. */
  private async behind(work: () => Promise<void>): Promise<void> {
    this.reading += 1;
    try {
      await work();
    } finally {
      this.reading -= 1;
    }
  }

  /** Nothing is held back or being read any more; tiles are counted apart (`pendingTiles`). */
  get idle(): boolean {
    return this.later.released && this.reading === 0;
  }

  /** After an outage: everything that failed, or (`all`) everything. */
  private async reread(all = false): Promise<void> {
    if (all) for (const layer of this.layers) this.dirty.add(layer.id);
    try {
      await this.applyTerrain(true);
      await this.refresh();
    } catch (error) {
      if (error instanceof ApiError && error.offline) void this.health.suspect();
    }
    if (this.runs.processes.length === 0) void this.runs.load();
  }

  // --- layers -------------------------------------------------------------------------------------------------

  /** Reads a layer's parts one by one: a picture that fails does not keep the buildings away. */
  private async load(layer: Layer): Promise<void> {
    this.dirty.delete(layer.id);
    this.unread.delete(layer.id);
    const faults: unknown[] = [];
    const attempt = (part: Promise<unknown>) => part.catch((error: unknown) => faults.push(error));
    if (layer.links.map) await attempt(this.readMap(layer, layer.links.map));
    const state = this.states.get(layer.id) ?? firstState(layer, this.legends.get(layer.id) ?? null, this.layers);
    this.states.set(layer.id, state);
    const map = this.tileJsons.get(layer.id);
    if (map) this.ground.addDrape(layer, map, (path) => this.api.url(path), state);
    if (layer.links.tiles3d) await attempt(this.tilesets.add(layer, this.api.url(layer.links.tiles3d), state));
    if (state.visible) this.later.do(() => void this.loadLabels(layer));
    if (faults.length > 0) await this.layerFailed(layer, faults[0]);
    else this.notices.clear(`layer:${layer.id}`);
    this.changed.emit();
  }

  private async readMap(layer: Layer, href: string): Promise<void> {
    const json = await this.api.tileJson(href);
    this.tileJsons.set(layer.id, json);
    if (json["twin:legend"]) this.legends.set(layer.id, json["twin:legend"]);
  }

  private async layerFailed(layer: Layer, error: unknown): Promise<void> {
    // A refusal stands until the layer changes; anything else is tried again with the next look at the catalogue.
    if (!(error instanceof ApiError) || error.offline || error.status >= 500) this.dirty.add(layer.id);
    if (!(await this.health.suspect())) return;
    this.notices.set(`layer:${layer.id}`, "error.layer", { name: layerTitle(layer, this.lang), id: layer.id, why: this.why(error) }, "bad");
  }

  private drop(id: string): void {
    this.tilesets.remove(id);
    this.ground.removeDrape(id);
    this.labels.clear(id);
    this.states.delete(id);
    this.legends.delete(id);
    this.themes.delete(id);
    this.tileJsons.delete(id);
  }

  /** Where the swipe line stands, 0 (left edge) … 1; null takes it away. */
  setSplit(at: number | null): void {
    this.split = at;
    // Without a line nothing is left out, whichever side a layer was given.
    if (this.widget) this.widget.scene.splitPosition = at ?? 0;
    for (const [id, state] of this.states) {
      const shown = at === null ? { ...state, side: "both" as const } : state;
      this.tilesets.apply(id, shown);
      this.ground.applyDrape(id, shown);
    }
    this.widget?.scene.requestRender();
    this.changed.emit();
  }

  /** Shows the city of another time; "" is now. */
  async setAsOf(time: string): Promise<void> {
    this.asOf = time;
    await this.reload();
  }

  tileJson = (id: string): TileJson | undefined => this.tileJsons.get(id);
  layer = (id: string): Layer | undefined => this.layers.find((layer) => layer.id === id);

  setState(id: string, change: Partial<LayerState>): void {
    const layer = this.layer(id);
    const before = this.states.get(id);
    if (!layer || !before) return;
    const state = { ...before, ...change };
    this.states.set(id, state);
    if (state.visible) void this.behind(() => this.loadUnread(id));
    const shown = this.split === null ? { ...state, side: "both" as const } : state;
    this.tilesets.apply(id, shown);
    this.ground.applyDrape(id, shown);
    if (state.visible && (!before.visible || state.conditions !== before.conditions)) void this.loadLabels(layer);
    if (!state.visible) this.labels.clear(id);
    if (layer.kind === "mesh" && state.visible !== before.visible) void this.replaceBlocks();
    this.changed.emit();
  }

  private async loadLabels(layer: Layer): Promise<void> {
    const column = layer.style.label;
    if (column && layer.links.items && layer.kind === "vector") await this.behind(() => this.readLabels(layer, column));
  }

  private async readLabels(layer: Layer, column: string): Promise<void> {
    try {
      const filter = toCql2(this.states.get(layer.id)?.conditions ?? [], layer.schema);
      const { features } = await this.api.items(layer.id, { limit: LABEL_LIMIT, filter });
      if (!this.states.get(layer.id)?.visible) return;
      this.labels.set(layer.id, labelsOf(features, column, this.lang), layer.style.color ?? "#14507a");
    } catch (error) {
      await this.layerFailed(layer, error);
    }
  }

  /** Where a detailed model stands, the block of the same building is not drawn: two walls in one place only flicker. */
  private async replaceBlocks(): Promise<void> {
    const models = this.layers.filter((layer) => layer.kind === "mesh" && layer.bbox && this.states.get(layer.id)?.visible);
    for (const blocks of this.layers.filter((layer) => layer.kind === "blocks" && layer.links.items)) {
      const hidden = new Set<string>();
      for (const model of models) {
        const [west, south, east, north] = model.bbox!;
        if (east - west > 0.005 || north - south > 0.005) continue;
        const middle: Bbox = [west * 0.55 + east * 0.45, south * 0.55 + north * 0.45, west * 0.45 + east * 0.55, south * 0.45 + north * 0.55];
        const found = await this.api.items(blocks.id, { bbox: middle, limit: 5 }).catch(() => null);
        for (const feature of found?.features ?? []) hidden.add(String(feature.id));
      }
      this.tilesets.hide(blocks.id, hidden);
    }
  }

  // --- terrain and camera -------------------------------------------------------------------------------------

  private async applyTerrain(again = false): Promise<void> {
    const name = this.city?.terrain ?? null;
    const layer = name ? this.layer(name) : undefined;
    const href = layer?.links.terrain?.replace(/\/layer\.json$/, "") ?? (name ? `terrain/${name}` : null);
    try {
      // The key makes a newly published terrain a new address for Cesium's provider.
      await this.ground.setTerrain(name ?? "terrain", href && this.api.url(href), again || this.terrainLost);
      this.terrainLost = false;
      this.notices.clear("terrain");
    } catch (error) {
      if (layer) await this.layerFailed(layer, error);
    }
  }

  // --- progress and failures ----------------------------------------------------------------------------------

  get pendingTiles(): number {
    let tiles = this.terrainPending;
    for (const [id, count] of this.tilesets.pending) if (this.states.get(id)?.visible) tiles += count;
    return tiles;
  }

  private onProgress(): void {
    this.progressed.emit(this.burst.update(this.pendingTiles));
    if (this.tilesets.firstPicture !== null) this.later.release();
  }

  private onFault(id: string, part: Parameters<TileFault>[1], status: number | undefined): void {
    if (part === "terrain") this.terrainLost = true;
    this.faults.add(id, status);
  }

  destroy(): void {
    window.clearInterval(this.timer);
    this.health.stop();
    this.runs.stop();
    this.playback.stop();
    this.widget?.destroy();
    this.widget = null;
  }
}

function storage(): Storage | null {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}
