/**
 * The page's handle on a running viewer, as `window.twin`: small, documented, kept stable for tests and embedders.
 * Coordinates are degrees (WGS 84) and metres above the ellipsoid; pixels are CSS pixels of the canvas.
 */
import type { CesiumWidget } from "@cesium/engine";
import type { Legend } from "./api/types";
import type { CityApp } from "./app";
import { toWindow, type Hit, type Place } from "./cesium/pick";
import { setView } from "./cesium/scene";
import type { View } from "./core/camera";
import type { Layer, LayerState } from "./core/layers";
import type { Picked } from "./selection";

export class TwinHandle {
  /** Resolves when the city is read and its layers are asked for. */
  readonly ready: Promise<void>;

  constructor(private readonly app: CityApp) {
    this.ready = new Promise((resolve) => {
      const off = app.changed.on(() => {
        if (!app.opened && !app.noGraphics) return;
        off();
        resolve();
      });
    });
  }

  /** The Cesium widget, for what this handle does not offer. */
  get viewer(): CesiumWidget | null {
    return this.app.widget;
  }
  /** Layers with what the reader has set. */
  get layers(): (Layer & { state: LayerState | undefined })[] {
    return this.app.layers.map((layer) => ({ ...layer, state: this.app.states.get(layer.id) }));
  }
  get selection(): Picked {
    return this.app.selection.picked;
  }
  /** Names now on the map. */
  get labels(): string[] {
    return this.app.labels.shown;
  }
  /** The legend by which a layer is coloured, or that of its picture. */
  legend(layer: string): Legend | undefined {
    return this.app.themes.get(layer) ?? this.app.legends.get(layer);
  }
  /** When the first useful picture stood, milliseconds since the page began to load; null before. */
  get firstPicture(): number | null {
    return this.app.tilesets.firstPicture;
  }
  get pending(): number {
    return this.app.pendingTiles;
  }

  /** Resolves when nothing is loading any more and the picture shows it. */
  async tilesLoaded(): Promise<void> {
    await this.ready;
    // Three quiet frames in a row: a tile that arrives may ask for its children in the next frame.
    for (let quiet = 0; quiet < 3;) {
      await this.frame();
      const { widget, tilesets } = this.app;
      const done = widget !== null && widget.scene.globe.tilesLoaded && tilesets.loaded && this.app.pendingTiles === 0 && this.app.idle;
      quiet = done ? quiet + 1 : 0;
    }
  }

  /** Resolves after one more frame is drawn. */
  frame(): Promise<void> {
    const { widget } = this.app;
    if (!widget) return Promise.resolve();
    return new Promise((resolve) => {
      const off = widget.scene.postRender.addEventListener(() => {
        off();
        setTimeout(resolve, 0);
      });
      widget.scene.requestRender();
    });
  }

  /** The present view, or null while nothing of the ground is in the picture. */
  get view(): View | null {
    return this.app.camera.currentView();
  }

  /** A link that restores what is seen now. */
  link(): string {
    return this.app.sharing.link();
  }

  /** Looks at a place at once (no flight). */
  look(view: View): void {
    if (this.app.widget) setView(this.app.widget, view);
  }

  set(layer: string, change: Partial<LayerState>): void {
    this.app.setState(layer, change);
  }

  /** Height of the ground as drawn, or null where it has not been loaded. */
  groundHeight(lon: number, lat: number): number | null {
    return this.app.camera.groundHeight(lon, lat);
  }

  /** Pixel of a place; null when it is outside the picture. */
  toWindow(lon: number, lat: number, height: number): { x: number; y: number } | null {
    return this.app.widget && toWindow(this.app.widget, { lon, lat, height });
  }

  /** Clicks at a place: selects what is drawn at its pixel. */
  async pick(lon: number, lat: number, height: number): Promise<Hit | null> {
    const pixel = this.toWindow(lon, lat, height);
    return pixel && this.app.selection.click(pixel.x, pixel.y);
  }

  pickAt(x: number, y: number): Promise<Hit | null> {
    return this.app.selection.click(x, y);
  }

  /** Reads the catalogue now instead of at the next turn; rejects when the server does not answer. */
  reload(): Promise<void> {
    return this.app.reload();
  }

  /** Shows a feature's card and marks it. */
  async select(layer: string, id: string, place: Place | null = null): Promise<void> {
    const found = this.app.layer(layer);
    if (found) await this.app.selection.showFeature(found, id, place);
  }

  get language(): "zh" | "en" {
    return this.app.lang;
  }
  set language(lang: "zh" | "en") {
    this.app.setLang(lang);
  }
}
