/** What lies on the globe: the terrain, and pictures draped over it in order. */
import {
  CesiumTerrainProvider, EllipsoidTerrainProvider, ImageryLayer, Rectangle, SplitDirection, UrlTemplateImageryProvider,
  WebMercatorTilingScheme, type CesiumWidget, type TileProviderError,
} from "@cesium/engine";
import type { TileJson } from "../api/types";
import { Frames } from "./frames";
import { mapQuery } from "../core/thematic";
import { drapeRank, type Layer, type LayerState, type Side } from "../core/layers";

export const SPLIT: Record<Side, SplitDirection> = { both: SplitDirection.NONE, left: SplitDirection.LEFT, right: SplitDirection.RIGHT };

/** A tile of one part of a layer did not come: with its HTTP status, or undefined when no answer came. */
export type TileFault = (layer: string, part: "terrain" | "map" | "tiles3d", status: number | undefined) => void;

interface Drape {
  rank: number;
  imagery: ImageryLayer;
  error: () => void;
  /** How a picture of another moment is made. */
  make: (url: string) => { imagery: ImageryLayer; error: () => void };
  state: LayerState;
  /** Address of the tiles that were shown first. */
  first: string;
  /** Address of the tiles by what is asked of them; null of a layer whose tiles cannot be asked. */
  asked: ((state: LayerState) => string) | null;
}

export class Ground {
  private readonly drapes = new Map<string, Drape>();
  private readonly frames: Frames;
  private terrainUrl: string | null = null;

  constructor(private readonly widget: CesiumWidget, private readonly fault: TileFault) {
    this.frames = new Frames(widget);
  }

  /** Shows terrain from `url` (the folder of layer.json), or the bare ellipsoid. Rejects when it cannot be read. */
  async setTerrain(layer: string, url: string | null, again = false): Promise<void> {
    const { scene } = this.widget;
    if (url === this.terrainUrl && !again) {
      scene.globe.show = true;
      return;
    }
    try {
      if (url === null) {
        scene.terrainProvider = new EllipsoidTerrainProvider();
      } else {
        const provider = await CesiumTerrainProvider.fromUrl(url, { requestVertexNormals: true });
        provider.errorEvent.addEventListener((error: TileProviderError) => this.tileError(layer, "terrain", error));
        scene.terrainProvider = provider;
      }
      this.terrainUrl = url;
    } finally {
      // Until then the stage holds the globe back: meshing the bare ellipsoid first would be work and requests for nothing.
      scene.globe.show = true;
      scene.requestRender();
    }
  }

  /** Adds or replaces the picture of a layer. */
  addDrape(layer: Layer, source: TileJson, absolute: (path: string) => string, state: LayerState): void {
    this.removeDrape(layer.id);
    const template = source.tiles[0];
    if (!template) throw new Error("tilejson names no tiles");
    const asked = layer.kind === "vector" ? (now: LayerState) => absolute(template) + mapQuery(now.conditions, now.thematic, layer.schema) : null;
    const url = asked?.(state) ?? absolute(template);
    const options: UrlTemplateImageryProvider.ConstructorOptions = {
      url,
      tilingScheme: new WebMercatorTilingScheme(),
      minimumLevel: source.minzoom ?? 0,
      hasAlphaChannel: true,
    };
    if (source.maxzoom !== undefined) options.maximumLevel = source.maxzoom;
    if (source.bounds) options.rectangle = Rectangle.fromDegrees(...source.bounds);
    const make: Drape["make"] = (address) => {
      const provider = new UrlTemplateImageryProvider({ ...options, url: address });
      return { imagery: new ImageryLayer(provider), error: provider.errorEvent.addEventListener((tile: TileProviderError) => this.tileError(layer.id, "map", tile)) };
    };
    const rank = drapeRank(layer);
    const { imageryLayers } = this.widget.scene;
    // Index 0 is the far globe; a drape goes above every drape of its own or a lower rank.
    const below = [...this.drapes.values()].filter((other) => other.rank <= rank).map((other) => imageryLayers.indexOf(other.imagery));
    const drape: Drape = { rank, make, state, asked, first: url, ...make(url) };
    imageryLayers.add(drape.imagery, Math.min(Math.max(0, ...below) + 1, imageryLayers.length));
    this.drapes.set(layer.id, drape);
    this.applyDrape(layer.id, state);
  }

  applyDrape(id: string, state: LayerState): void {
    const drape = this.drapes.get(id);
    if (!drape) return;
    drape.state = state;
    drape.imagery.show = state.visible && state.opacity > 0;
    drape.imagery.alpha = state.opacity;
    drape.imagery.splitDirection = SPLIT[state.side];
    if (!state.visible) this.frames.drop(id);
    else if (drape.asked) this.ask(id, drape, drape.asked(state));
    this.widget.scene.requestRender();
  }

  /** Another filter or another colouring: the new picture takes the old one's place when it is whole. */
  private ask(id: string, drape: Drape, url: string): void {
    const [shown, wanted] = [this.frames.shown(id) ?? drape.first, this.frames.wanted(id) ?? url];
    if (url !== shown || url !== wanted) this.frames.want(id, drape, url, null, () => this.applyDrape(id, drape.state));
  }

  /** Whether the picture on the ground is what the state asks for. */
  settled(id: string, state: LayerState): boolean {
    const drape = this.drapes.get(id);
    return !drape?.asked || drape.asked(state) === (this.frames.shown(id) ?? drape.first);
  }

  /** Shows another moment of a layer: its picture is fetched unseen and takes the old one's place when it is whole. `next` is fetched after it. */
  setFrame(id: string, url: string, next: string | null): void {
    const drape = this.drapes.get(id);
    if (drape?.state.visible) this.frames.want(id, drape, url, next, () => this.applyDrape(id, drape.state));
  }

  /** Address of the moment that a layer shows, or null for its plain picture. */
  shownFrame = (id: string): string | null => this.frames.shown(id);

  removeDrape(id: string): void {
    const drape = this.drapes.get(id);
    if (!drape) return;
    this.frames.drop(id);
    this.frames.forget(id);
    drape.error();
    this.widget.scene.imageryLayers.remove(drape.imagery, true);
    this.drapes.delete(id);
  }

  private tileError(layer: string, part: "terrain" | "map", error: TileProviderError): void {
    const status = (error.error as { statusCode?: number } | undefined)?.statusCode;
    this.fault(layer, part, status);
    // A hiccup is worth two more tries at once; after an outage the app reads the whole layer again.
    error.retry = (status === undefined || status >= 500) && error.timesRetried < 2;
  }
}
