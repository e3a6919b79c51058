/** What the reader clicked: the card of a feature, or the list of what lies there. */
import { ScreenSpaceEventHandler, ScreenSpaceEventType, type Cartesian2, type CesiumWidget } from "@cesium/engine";
import { ApiError } from "./api/client";
import type { Feature, Geometry } from "./api/types";
import type { CityApp } from "./app";
import { pickAt, type Hit, type Place } from "./cesium/pick";
import { around } from "./core/camera";
import { toCql2 } from "./core/filter";
import { number } from "./core/format";
import type { Layer } from "./core/layers";

export interface Found {
  layer: Layer;
  feature: Feature;
}
export type Picked =
  | { kind: "none" }
  | { kind: "loading"; place: Place | null; layer: Layer | null; id: string }
  | { kind: "feature"; place: Place | null; layer: Layer; feature: Feature; from: Found[] }
  | { kind: "list"; place: Place; found: Found[]; partial: boolean }
  | { kind: "failed"; place: Place | null; why: string; again: () => void };

const LIST_LIMIT = 20;

export class Selection {
  picked: Picked = { kind: "none" };
  /** Told of every feature whose card opens. */
  onPicked: (layer: string, feature: Feature) => void = () => undefined;
  /** Takes the next click instead of the selection (a point for a form). */
  private taker: ((place: Place) => void) | null = null;
  private abort = new AbortController();
  private handler: ScreenSpaceEventHandler | null = null;

  constructor(private readonly app: CityApp) {}

  attach(widget: CesiumWidget): void {
    this.handler = new ScreenSpaceEventHandler(widget.canvas);
    this.handler.setInputAction(({ position }: { position: Cartesian2 }) => void this.click(position.x, position.y),
      ScreenSpaceEventType.LEFT_CLICK);
  }

  takeNext(taker: ((place: Place) => void) | null): void {
    this.taker = taker;
    // Enter and Escape belong to the drawing from here on, not to the button that began it.
    const canvas = this.app.widget?.canvas;
    if (taker && canvas) {
      canvas.tabIndex = 0;
      canvas.focus({ preventScroll: true });
    }
    this.app.changed.emit();
  }
  get taking(): boolean {
    return this.taker !== null;
  }

  /** Selects what is drawn at a pixel of the canvas; resolves when its attributes are there. */
  async click(x: number, y: number): Promise<Hit | null> {
    const { widget, tilesets, marks } = this.app;
    if (!widget) return null;
    const hit = pickAt(widget, tilesets, x, y);
    if (this.taker && hit.place) {
      const taker = this.taker;
      this.taker = null;
      taker(hit.place);
      this.app.changed.emit();
      return hit;
    }
    marks.showPin(hit.place);
    if (hit.layer && hit.id !== null) await this.showFeature(hit.layer, hit.id, hit.place, hit.properties);
    else if (hit.layer && Object.keys(hit.properties).length > 0) this.showTile(hit.layer, hit.place, hit.properties);
    else if (hit.place) await this.askGround(hit.place);
    else this.clear();
    return hit;
  }

  clear(): void {
    this.begin();
    this.app.marks.showPin(null);
    this.set({ kind: "none" });
  }

  /** Shows a feature by its key, as from a list or a result table. */
  async showFeature(layer: Layer, id: string, place: Place | null, fallback: Record<string, unknown> = {}): Promise<void> {
    const signal = this.begin();
    this.app.tilesets.highlight(layer.id, id);
    if (!layer.links.items) return this.showTile(layer, place, { id, ...fallback });
    this.set({ kind: "loading", place, layer, id });
    try {
      const feature = await this.app.api.item(layer.id, id, signal);
      this.open({ layer, feature: { ...feature, id: String(feature.id) } }, place, []);
    } catch (error) {
      this.failed(error, signal, place, () => void this.showFeature(layer, id, place, fallback));
    }
  }

  /** Opens one of the listed features. */
  open(found: Found, place: Place | null, from: Found[]): void {
    this.app.tilesets.highlight(found.layer.id, found.feature.id);
    this.app.marks.showOutline(found.layer.links.tiles3d ? null : found.feature.geometry);
    this.set({ kind: "feature", place, layer: found.layer, feature: found.feature, from });
  }

  back(): void {
    if (this.picked.kind !== "feature" || !this.picked.place) return;
    const { place, from } = this.picked;
    this.app.marks.showOutline(null);
    this.app.tilesets.highlight(null, null);
    this.set({ kind: "list", place, found: from, partial: false });
  }

  private showTile(layer: Layer, place: Place | null, properties: Record<string, unknown>): void {
    this.begin();
    const id = String(properties["id"] ?? properties["class_" + this.app.lang] ?? properties["class"] ?? this.massName(properties) ?? layer.id);
    this.set({ kind: "feature", place, layer, feature: { type: "Feature", id, geometry: null, properties }, from: [] });
  }

  /** Afar, a tile has masses in place of buildings: they have no id, and say how many they stand for. */
  private massName({ buildings }: Record<string, unknown>): string | undefined {
    return typeof buildings === "number" ? this.app.t("pick.mass", { n: number(this.app.lang, buildings, 0) }) : undefined;
  }

  /** Asks every visible vector layer what lies within a few pixels of a place. */
  private async askGround(place: Place): Promise<void> {
    const signal = this.begin();
    const layers = this.app.layers.filter((layer) =>
      layer.kind === "vector" && layer.links.items && this.app.states.get(layer.id)?.visible);
    this.set({ kind: "loading", place, layer: null, id: "" });
    const box = around(place.lon, place.lat, this.reach(place));
    try {
      const answers = await Promise.all(layers.map(async (layer) => {
        const filter = toCql2(this.app.states.get(layer.id)?.conditions ?? [], layer.schema);
        const { features } = await this.app.api.items(layer.id, { bbox: box, limit: LIST_LIMIT, filter }, signal);
        return features.map((feature) => ({ layer, feature: { ...feature, id: String(feature.id) } }));
      }));
      const found = answers.flat().sort((a, b) => size(a.feature.geometry) - size(b.feature.geometry));
      if (found.length === 1) return this.open(found[0]!, place, []);
      this.set({ kind: "list", place, found, partial: answers.some((answer) => answer.length === LIST_LIMIT) });
    } catch (error) {
      this.failed(error, signal, place, () => void this.askGround(place));
    }
  }

  /** Five pixels on the ground, in metres. */
  private reach(place: Place): number {
    const { widget } = this.app;
    const eye = widget?.camera.positionCartographic.height ?? 1000;
    return Math.min(60, Math.max(0.5, ((eye - place.height) / Math.max(1, widget?.canvas.clientHeight ?? 800)) * 6));
  }

  private begin(): AbortSignal {
    this.abort.abort();
    this.abort = new AbortController();
    this.app.tilesets.highlight(null, null);
    this.app.marks.showOutline(null);
    return this.abort.signal;
  }

  private failed(error: unknown, signal: AbortSignal, place: Place | null, again: () => void): void {
    if (signal.aborted) return;
    if (error instanceof ApiError && error.offline) void this.app.health.suspect();
    this.set({ kind: "failed", place, why: this.app.why(error), again });
  }

  private set(picked: Picked): void {
    this.picked = picked;
    if (picked.kind === "feature") this.onPicked(picked.layer.id, picked.feature);
    this.app.changed.emit();
  }
}

/** Points before lines before areas: the small thing is what was meant. */
function size(geometry: Geometry | null): number {
  const type = geometry?.type ?? "";
  return type.endsWith("Point") ? 0 : type.endsWith("LineString") ? 1 : 2;
}
