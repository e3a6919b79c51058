/** Where to stand: the view on a box, in plain numbers (no Cesium). */
import type { Bbox } from "../api/types";

export interface View {
  /** Point looked at, degrees and metres above the ellipsoid. */
  lon: number;
  lat: number;
  height: number;
  /** Clockwise from north, degrees. */
  heading: number;
  /** Below the horizon is negative, degrees. */
  pitch: number;
  /** Distance from eye to point, metres. */
  range: number;
}

const METRES_PER_DEGREE = 111_320;

/** Width and depth of a box in metres (good to 1%, which is enough to frame it). */
export function sizeOf([west, south, east, north]: Bbox): { width: number; depth: number } {
  const middle = ((south + north) / 2) * (Math.PI / 180);
  return { width: (east - west) * METRES_PER_DEGREE * Math.cos(middle), depth: (north - south) * METRES_PER_DEGREE };
}

/**
 * An oblique view from the south that fills the picture with the box: near enough to see houses,
 * never nearer than 250 m nor farther than 40 km.
 * @param ground ellipsoidal height of the ground at the middle of the box, metres.
 * @param aspect width of the picture / its height; a narrow one needs more distance.
 */
export function openingView(box: Bbox, ground: number, aspect = 1.6): View {
  const { width, depth } = sizeOf(box);
  const across = width / Math.max(0.6, Math.min(aspect, 2)) * 1.15;
  const range = Math.min(40_000, Math.max(250, across, depth * 0.95));
  // A picture that is higher than wide (a telephone's) would be mostly sky or bare ground at the same angle.
  const pitch = aspect < 0.8 ? -55 : -34;
  return { lon: (box[0] + box[2]) / 2, lat: (box[1] + box[3]) / 2, height: ground, heading: 12, pitch, range };
}

/** Grows a box about its middle by a factor. */
export function grow([west, south, east, north]: Bbox, factor: number): Bbox {
  const x = ((east - west) / 2) * (factor - 1);
  const y = ((north - south) / 2) * (factor - 1);
  return [west - x, south - y, east + x, north + y];
}

/** A box of `radius` metres around a point, for asking the API what is there. */
export function around(lon: number, lat: number, radius: number): Bbox {
  const y = radius / METRES_PER_DEGREE;
  const x = y / Math.max(0.01, Math.cos((lat * Math.PI) / 180));
  return [lon - x, lat - y, lon + x, lat + y];
}
