/** 3D Tiles layers: blocks, models, point clouds. Colour, opacity and the picked feature are one style each. */
import {
  Cartesian3, Cesium3DTileColorBlendMode, Cesium3DTileset, type Cesium3DTileContent, Cesium3DTileStyle, ClippingPolygon, ClippingPolygonCollection, Color, type CesiumWidget,
  type PerspectiveFrustum,
} from "@cesium/engine";
import type { Legend } from "../api/types";
import { places, toStyle } from "../core/filter";
import type { Detail } from "../core/device";
import type { Layer, LayerState } from "../core/layers";
import { depthColumn, heightColumn, useColumn } from "../core/layers";
import { classConditions, DEPTHS, HEIGHTS, PLAIN, useConditions } from "../core/palette";
import { classRows, intensityRange, type PointFacts } from "../core/points";
import { legendConditions } from "../core/thematic";
import { hurry } from "./scene";
import { facadeShader } from "./facade";
import { SPLIT, type TileFault } from "./ground";
import { pointShader, type Painted } from "./point-shader";

export const PICKED = "#ff7a1a";

interface Shown {
  layer: Layer;
  state: LayerState;
  tileset: Cesium3DTileset;
  hidden: ReadonlySet<string>;
  picked: string | null;
  /** Legend of `state.thematic`, once the server has sent it. */
  theme: Legend | null;
  /** Features that touch the places of the filter, as the server says; null without a place, or while it is asked. */
  within: ReadonlySet<string> | null;
  style: string;
  /** Places by which a layer without features is cut, as text. */
  clip: string;
  /** A cloud's colours by its theme, and the legend that they were made of. */
  painted: (Painted & { legend: Legend }) | null;
}

/** How much coarser the first picture may be: fewer requests, and what is missing comes in the next frames. */
const COARSE = 8;
/** A layer that is to be seen at all must be worth more pixels than its limit; of them this share is the coarsest limit. */
const WORTH = 0.5;
/** Pixels of error that a reader does not mind, by kind; software drawing gets coarser tiles. */
const ERROR_PIXELS: Record<string, number> = { blocks: 10, mesh: 8, points: 8 };

export class Tilesets {
  private readonly shown = new Map<string, Shown>();
  /** Legends by layer; they outlive a layer's tiles, which a new version replaces. */
  private readonly themes = new Map<string, Legend>();
  /** Likewise the features that the places of filters leave. */
  private readonly within = new Map<string, ReadonlySet<string>>();
  private readonly points = new Map<string, PointFacts>();
  /** Tiles asked for and not yet drawn, by layer. */
  readonly pending = new Map<string, number>();
  /** When a layer of the first look was first on the screen as fine as asked for (`performance.now()`), or null before. */
  firstPicture: number | null = null;
  private readonly facade;
  /** For results, which are often the city's own buildings once more: drawn over them, without flicker. */
  private readonly overlay;

  constructor(
    private readonly widget: CesiumWidget,
    private readonly detail: Detail,
    private readonly fault: TileFault,
    private readonly progress: () => void,
    /** Told when a cloud's first tile has said which classes there are. */
    private readonly learned: (layer: string) => void = () => undefined,
  ) {
    this.facade = facadeShader(widget, false);
    this.overlay = facadeShader(widget, true);
  }

  /** Adds or replaces a layer's tileset. Rejects when its tileset.json cannot be read. */
  async add(layer: Layer, url: string, state: LayerState): Promise<void> {
    const tileset = await Cesium3DTileset.fromUrl(url, {
      maximumScreenSpaceError: this.errorOf(layer),
      dynamicScreenSpaceError: true,
      dynamicScreenSpaceErrorDensity: 2.0e-4,
      dynamicScreenSpaceErrorFactor: 16,
      cacheBytes: this.detail.cacheMegabytes * 1024 * 1024,
      show: state.visible,
      enableCollision: false,
      pointCloudShading: {
        attenuation: true,
        geometricErrorScale: 1,
        maximumAttenuation: 5,
        baseResolution: 0.25,
        eyeDomeLighting: this.detail.occlusion,
      } as unknown as object,
    });
    if (this.firstPicture === null) tileset.maximumScreenSpaceError = Math.max(this.errorOf(layer), Math.min(COARSE * this.errorOf(layer), WORTH * this.pixels(tileset)));
    // Baking an environment map per tileset is dear and, for plain blocks, changes nothing that one sees.
    tileset.environmentMapManager.enabled = this.detail.occlusion;
    if (layer.kind === "blocks") tileset.customShader = layer.run ? this.overlay : this.facade;
    tileset.initialTilesLoaded.addEventListener(() => this.seen());
    tileset.loadProgress.addEventListener((waiting: number, processing: number) => {
      this.pending.set(layer.id, waiting + processing);
      this.progress();
    });
    tileset.tileFailed.addEventListener((failure: { message?: string }) =>
      this.fault(layer.id, "tiles3d", statusIn(failure.message)));
    tileset.splitDirection = SPLIT[state.side];
    if (layer.kind === "points") this.learn(layer.id, tileset);
    this.remove(layer.id);
    this.widget.scene.primitives.add(tileset);
    this.shown.set(layer.id, { layer, state, tileset, hidden: new Set(), picked: null, theme: this.themes.get(layer.id) ?? null, within: this.within.get(layer.id) ?? null, style: "", clip: "[]", painted: null });
    this.restyle(layer.id);
  }

  /** Pixels of error where a tileset is not drawn at all, as seen from here. */
  private pixels({ boundingSphere, root }: Cesium3DTileset): number {
    const { camera, drawingBufferHeight } = this.widget.scene;
    const { fovy } = camera.frustum as PerspectiveFrustum;
    const away = Math.max(1, Cartesian3.distance(camera.positionWC, boundingSphere.center) - boundingSphere.radius);
    return (root.geometricError * drawingBufferHeight) / (away * 2 * Math.tan((fovy ?? 1) / 2));
  }

  private errorOf(layer: Layer): number {
    return (ERROR_PIXELS[layer.kind] ?? 10) * this.detail.error;
  }

  /** The tiles are there; they are seen once the frame that has them is on the screen, and then the browser asks for another. */
  private seen(): void {
    const off = this.widget.scene.postRender.addEventListener(() => {
      off();
      requestAnimationFrame(() => {
        if (this.firstPicture === null) this.sharpen();
        this.firstPicture ??= performance.now();
        if (!this.widget.isDestroyed()) hurry(this.widget, this.detail);
        this.progress();
      });
    });
  }

  /** From now on as fine as asked for: after the first picture, or when none has come for long. */
  sharpen(): void {
    for (const { layer, tileset } of this.shown.values()) tileset.maximumScreenSpaceError = this.errorOf(layer);
    if (!this.widget.isDestroyed()) this.widget.scene.requestRender();
  }

  apply(id: string, state: LayerState): void {
    const entry = this.shown.get(id);
    if (!entry) return;
    entry.state = { ...state };
    entry.tileset.show = state.visible && state.opacity > 0;
    entry.tileset.splitDirection = SPLIT[state.side];
    if (!entry.tileset.show) this.pending.delete(id);
    this.restyle(id);
    this.progress();
  }

  /** Colours a layer by a legend of one of its columns (`state.thematic`), or no longer. */
  setTheme(id: string, legend: Legend | null): void {
    if (legend) this.themes.set(id, legend);
    else this.themes.delete(id);
    const entry = this.shown.get(id);
    if (!entry) return;
    entry.theme = legend;
    this.restyle(id);
  }

  /** Draws only these features, with whatever else the filter says; null draws all. */
  setWithin(id: string, ids: ReadonlySet<string> | null): void {
    if (ids) this.within.set(id, ids);
    else this.within.delete(id);
    const entry = this.shown.get(id);
    if (!entry || entry.within === ids) return;
    entry.within = ids;
    entry.style = "";
    this.restyle(id);
  }

  /** Marks one feature of one layer; null marks none. */
  highlight(layer: string | null, feature: string | null): void {
    for (const [id, entry] of this.shown) {
      const picked = id === layer ? feature : null;
      if (entry.picked === picked) continue;
      entry.picked = picked;
      this.restyle(id);
    }
  }

  /** Leaves features undrawn, as when a detailed model stands in their place. */
  hide(id: string, features: ReadonlySet<string>): void {
    const entry = this.shown.get(id);
    if (!entry) return;
    entry.hidden = features;
    this.restyle(id);
  }

  remove(id: string): void {
    const entry = this.shown.get(id);
    if (!entry) return;
    this.widget.scene.primitives.remove(entry.tileset);
    entry.painted?.release();
    this.shown.delete(id);
    this.pending.delete(id);
    this.widget.scene.requestRender();
  }

  all(): Cesium3DTileset[] {
    return [...this.shown.values()].map(({ tileset }) => tileset);
  }

  /** Layer of a picked tileset. */
  layerOf(tileset: unknown): Layer | null {
    for (const entry of this.shown.values()) if (entry.tileset === tileset) return entry.layer;
    return null;
  }

  get loaded(): boolean {
    return [...this.shown.values()].every(({ tileset }) => !tileset.show || tileset.tilesLoaded);
  }

  /** What is known of a cloud now. */
  pointFacts(id: string): PointFacts {
    return this.points.get(id) ?? { classes: null, intensity: null };
  }

  /** All tiles of a cloud carry the same table of classes: the first that comes tells them. */
  private learn(id: string, tileset: Cesium3DTileset): void {
    this.points.set(id, { classes: null, intensity: intensityRange((tileset as unknown as { metadataExtension?: { statistics?: unknown } }).metadataExtension?.statistics) });
    const off = tileset.tileLoad.addEventListener(({ content }: { content: Cesium3DTileContent }) => {
      const rows = Array.from({ length: content.featuresLength }, (_, row) => {
        const feature = content.getFeature(row);
        return Object.fromEntries(["classification", "class_zh", "class_en"].map((name) => [name, feature.getProperty(name) as unknown]));
      });
      if (rows.length === 0) return;
      off();
      this.points.set(id, { ...this.pointFacts(id), classes: classRows(rows) });
      this.learned(id);
    });
  }

  centre(id: string): Cartesian3 | null {
    return this.shown.get(id)?.tileset.boundingSphere.center ?? null;
  }

  /** Clouds are coloured by a shader; see `point-shader`. */
  private paint(entry: Shown): void {
    const legend = entry.state.thematic ? entry.theme : null;
    if (legend === (entry.painted?.legend ?? null)) return;
    const before = entry.painted;
    entry.painted = legend && { ...pointShader(this.widget, entry.state.thematic!.column, legend), legend };
    entry.tileset.customShader = entry.painted?.shader;
    before?.release();
    this.widget.scene.requestRender();
  }

  private restyle(id: string): void {
    const entry = this.shown.get(id);
    if (!entry) return;
    if (!entry.layer.links.items) clip(entry);
    if (entry.layer.kind === "points") this.paint(entry);
    const description = styleOf(entry);
    // A model's own colours are shaded by a highlight, but a theme must not mix with them.
    entry.tileset.colorBlendMode = entry.layer.kind === "blocks" || (entry.layer.kind !== "points" && entry.state.thematic && entry.theme)
      ? Cesium3DTileColorBlendMode.REPLACE : Cesium3DTileColorBlendMode.HIGHLIGHT;
    const text = JSON.stringify(description);
    if (text === entry.style) return;
    entry.style = text;
    // Cesium's types want undefined left out; at run time it is how a style is taken away.
    const style = description || entry.within ? new Cesium3DTileStyle(description ?? {}) : undefined;
    if (style && entry.within) only(style, entry.within);
    (entry.tileset as { style: Cesium3DTileStyle | undefined }).style = style;
    this.widget.scene.requestRender();
  }
}

interface Shows {
  evaluate(feature: { getProperty(name: string): unknown }): boolean;
}

/** Narrows a style to some features: a set is looked up, where an expression would compare each feature with each of them. */
function only(style: Cesium3DTileStyle, ids: ReadonlySet<string>): void {
  const rest = style.show as unknown as Shows | undefined;
  const show: Shows = { evaluate: (feature) => ids.has(String(feature.getProperty("id"))) && (rest?.evaluate(feature) ?? true) };
  (style as unknown as { show: Shows }).show = show;
}

/** Point clouds and tiles of others have no features to choose from: they are cut along the outlines of the filter's places. */
function clip(entry: Pick<Shown, "state" | "tileset" | "clip">): void {
  const rings = places(entry.state.conditions);
  const now = JSON.stringify(rings);
  if (now === entry.clip) return;
  entry.clip = now;
  const polygons = rings.map((ring) => new ClippingPolygon({ positions: Cartesian3.fromDegreesArray(ring.flat()) }));
  (entry.tileset as { clippingPolygons: ClippingPolygonCollection | undefined }).clippingPolygons =
    polygons.length > 0 ? new ClippingPolygonCollection({ polygons, inverse: true }) : undefined;
}

/** The 3D Tiles style of a layer, or null when the tiles' own colours stay as they are. */
export function styleOf(entry: Pick<Shown, "layer" | "state" | "hidden" | "picked" | "theme">): object | null {
  const { layer, state, hidden, picked, theme } = entry;
  const rows = layer.kind === "points" ? [] : state.thematic && theme ? legendConditions(state.thematic.column, layer.schema, theme) : colourRows(layer, state);
  const plain = layer.kind === "blocks" ? [] : [["true", "color('white')"] as [string, string]];
  const conditions = rows.length > 0 ? rows : plain;
  const mark = picked !== null && layer.kind !== "points" ? sameId(picked) : null;
  const matches = toStyle(state.conditions, layer.schema);
  if (rows.length === 0 && !mark && state.opacity >= 1 && hidden.size === 0 && !matches) return null;
  const alpha = state.opacity.toFixed(2);
  const faded = state.opacity < 1 ? conditions.map(([test, colour]) => [test, colour.replace(/\)$/, `, ${alpha})`)]) : conditions;
  const style: { color: object; show?: string } = {
    color: { conditions: mark ? [[mark, `color('${PICKED}')`], ...faded] : faded },
  };
  const tests = [...hidden].map(sameId).filter((test) => test !== null);
  const shown = [...(tests.length > 0 ? [`!(${tests.join(" || ")})`] : []), ...(matches ? [`(${matches})`] : [])];
  if (shown.length > 0) style.show = shown.join(" && ");
  return style;
}

function colourRows(layer: Layer, state: LayerState): [string, string][] {
  if (layer.kind !== "blocks") return [];
  const use = useColumn(layer);
  const height = heightColumn(layer);
  const depth = depthColumn(layer);
  if (state.colouring === "depth" && depth) return classConditions(depth, DEPTHS);
  if (state.colouring === "use" && use) return useConditions(use);
  if (state.colouring === "height" && height) return classConditions(height, HEIGHTS);
  return [["true", `color('${Color.fromCssColorString(layer.style.color ?? PLAIN)?.toCssHexString() ?? PLAIN}')`]];
}

/** Style expression that is true for one id; null when the id cannot be written as a literal of the style language. */
function sameId(id: string): string | null {
  if (/[\\\n]/.test(id) || (id.includes("'") && id.includes('"'))) return null;
  const quote = id.includes("'") ? '"' : "'";
  return `\${id} === ${quote}${id}${quote}`;
}

function statusIn(message: string | undefined): number | undefined {
  const found = /status code:?\s*(\d{3})/i.exec(message ?? "") ?? /\b([45]\d\d)\b/.exec(message ?? "");
  return found ? Number(found[1]) : undefined;
}
