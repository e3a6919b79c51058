/** From a pixel to what lies there: a feature of a 3D Tiles layer, or a place on the ground. */
import {
  Cartesian2, Cartesian3, Cartographic, Cesium3DTileFeature, Math as CesiumMath, type CesiumWidget,
} from "@cesium/engine";
import type { Layer } from "../core/layers";
import type { Tilesets } from "./tilesets";

export interface Place {
  lon: number;
  lat: number;
  /** Ellipsoidal, metres. */
  height: number;
}
export interface Hit {
  place: Place | null;
  /** Set when a feature of a 3D Tiles layer was hit. */
  layer: Layer | null;
  id: string | null;
  /** Attributes that the tile itself carries. */
  properties: Record<string, unknown>;
}

/** Lowest and highest dry land and more, metres above the ellipsoid. */
const LAND = [-500, 9000] as const;

/**
 * Ellipsoidal height of the ground as it is drawn, metres; undefined where none is yet. While finer ground is on its way a tile of the far globe
 * stands there, whose flat triangles lie kilometres below the city: that is no height either.
 */
export function groundHeight(widget: CesiumWidget, spot: Cartographic): number | undefined {
  const height = widget.scene.globe.getHeight(spot) as number | undefined;
  return height !== undefined && height > LAND[0] && height < LAND[1] ? height : undefined;
}

export function pickAt(widget: CesiumWidget, tilesets: Tilesets, x: number, y: number): Hit {
  const window = new Cartesian2(x, y);
  const picked: unknown = widget.scene.pick(window, 7, 7);
  if (picked instanceof Cesium3DTileFeature) {
    const properties: Record<string, unknown> = {};
    for (const name of picked.getPropertyIds()) properties[name] = picked.getProperty(name) as unknown;
    const id = properties["id"];
    return {
      place: surfaceAt(widget, window),
      layer: tilesets.layerOf(picked.tileset),
      id: id === undefined || id === null ? null : String(id),
      properties,
    };
  }
  const primitive = (picked as { primitive?: unknown } | undefined)?.primitive;
  return { place: surfaceAt(widget, window), layer: primitive ? tilesets.layerOf(primitive) : null, id: null, properties: {} };
}

/** Point of the drawn surface (roof, wall, ground) below a pixel. */
function surfaceAt(widget: CesiumWidget, window: Cartesian2): Place | null {
  const { scene } = widget;
  const drawn = scene.pickPositionSupported ? (scene.pickPosition(window) as Cartesian3 | undefined) : undefined;
  return drawn ? toPlace(drawn) : groundAt(widget, window.x, window.y);
}

/** Point of the ground below a pixel, by geometry alone (cheap enough to follow the mouse). */
export function groundAt(widget: CesiumWidget, x: number, y: number): Place | null {
  const ray = widget.camera.getPickRay(new Cartesian2(x, y));
  const point = ray ? widget.scene.globe.pick(ray, widget.scene) : undefined;
  return point ? toPlace(point) : null;
}

/** Point of the ellipsoid below a pixel. */
export function ellipsoidAt(widget: CesiumWidget, x: number, y: number): Place | null {
  const point = widget.camera.pickEllipsoid(new Cartesian2(x, y), widget.scene.globe.ellipsoid);
  return point ? toPlace(point) : null;
}

function toPlace(point: Cartesian3): Place | null {
  const carto = Cartographic.fromCartesian(point) as Cartographic | undefined;
  if (!carto) return null;
  return { lon: CesiumMath.toDegrees(carto.longitude), lat: CesiumMath.toDegrees(carto.latitude), height: carto.height };
}

/** Pixel of a place, or null when it is outside the picture. */
export function toWindow(widget: CesiumWidget, { lon, lat, height }: Place): { x: number; y: number } | null {
  const { scene } = widget;
  const point = scene.cartesianToCanvasCoordinates(Cartesian3.fromDegrees(lon, lat, height), new Cartesian2()) as
    Cartesian2 | undefined;
  if (!point) return null;
  const inside = point.x >= 0 && point.y >= 0 && point.x < scene.canvas.clientWidth && point.y < scene.canvas.clientHeight;
  return inside ? { x: point.x, y: point.y } : null;
}
