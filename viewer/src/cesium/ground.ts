/** What lies on the globe: the terrain, and pictures draped over it in order. */
import {
  CesiumTerrainProvider, EllipsoidTerrainProvider, ImageryLayer, Rectangle, SplitDirection, UrlTemplateImageryProvider,
  WebMercatorTilingScheme, type CesiumWidget, type TileProviderError,
} from "@cesium/engine";
import type { TileJson } from "../api/types";
import { drapeRank, type Layer, type LayerState, type Side } from "../core/layers";

export const SPLIT: Record<Side, SplitDirection> = { both: SplitDirection.NONE, left: SplitDirection.LEFT, right: SplitDirection.RIGHT };

/** A tile of one part of a layer did not come: with its HTTP status, or undefined when no answer came. */
export type TileFault = (layer: string, part: "terrain" | "map" | "tiles3d", status: number | undefined) => void;

export class Ground {
  private readonly drapes = new Map<string, { rank: number; imagery: ImageryLayer; error: () => void }>();
  private terrainUrl: string | null = null;

  constructor(private readonly widget: CesiumWidget, private readonly fault: TileFault) {}

  /** Shows terrain from `url` (the folder of layer.json), or the bare ellipsoid. Rejects when it cannot be read. */
  async setTerrain(layer: string, url: string | null, again = false): Promise<void> {
    if (url === this.terrainUrl && !again) return;
    const { scene } = this.widget;
    if (url === null) {
      scene.terrainProvider = new EllipsoidTerrainProvider();
    } else {
      const provider = await CesiumTerrainProvider.fromUrl(url, { requestVertexNormals: true });
      provider.errorEvent.addEventListener((error: TileProviderError) => this.tileError(layer, "terrain", error));
      scene.terrainProvider = provider;
    }
    this.terrainUrl = url;
    scene.requestRender();
  }

  /** Adds or replaces the picture of a layer. */
  addDrape(layer: Layer, source: TileJson, absolute: (path: string) => string, state: LayerState): void {
    this.removeDrape(layer.id);
    const template = source.tiles[0];
    if (!template) throw new Error("tilejson names no tiles");
    const options: UrlTemplateImageryProvider.ConstructorOptions = {
      url: absolute(template),
      tilingScheme: new WebMercatorTilingScheme(),
      minimumLevel: source.minzoom ?? 0,
      hasAlphaChannel: true,
    };
    if (source.maxzoom !== undefined) options.maximumLevel = source.maxzoom;
    if (source.bounds) options.rectangle = Rectangle.fromDegrees(...source.bounds);
    const provider = new UrlTemplateImageryProvider(options);
    const imagery = new ImageryLayer(provider, { show: state.visible, alpha: state.opacity, splitDirection: SPLIT[state.side] });
    const error = provider.errorEvent.addEventListener((tile: TileProviderError) => this.tileError(layer.id, "map", tile));
    const rank = drapeRank(layer);
    const { imageryLayers } = this.widget.scene;
    // Index 0 is the far globe; a drape goes above every drape of its own or a lower rank.
    const index = 1 + [...this.drapes.values()].filter((other) => other.rank <= rank).length;
    imageryLayers.add(imagery, Math.min(index, imageryLayers.length));
    this.drapes.set(layer.id, { rank, imagery, error });
  }

  applyDrape(id: string, state: LayerState): void {
    const drape = this.drapes.get(id);
    if (!drape) return;
    drape.imagery.show = state.visible && state.opacity > 0;
    drape.imagery.alpha = state.opacity;
    drape.imagery.splitDirection = SPLIT[state.side];
    this.widget.scene.requestRender();
  }

  removeDrape(id: string): void {
    const drape = this.drapes.get(id);
    if (!drape) return;
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
