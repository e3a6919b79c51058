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

/** Box around boxes; null when there are none. Boxes that are not finite or are turned round are left out. */
export function union(boxes: (Bbox | null)[]): Bbox | null {
  const good = boxes.filter((box): box is Bbox => box !== null && box.every(Number.isFinite) && box[0] <= box[2] && box[1] <= box[3]);
  if (good.length === 0) return null;
  return good.reduce((a, b) => [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])]);
}

/** Degrees between two layers that still are one place: some 5 km, about as far as an opening view of a single one would show. */
const NEAR = 0.05;

/**
 * The box around those layers that lie together and hold most features: a layer far away, misplaced or of another town, must not make the
 * reader look at the empty land between.
 */
export function together(layers: readonly { bbox: Bbox | null; count: number | null }[]): Bbox | null {
  let places: { box: Bbox; count: number }[] = [];
  for (const { bbox, count } of layers) {
    const box = union([bbox]);
    if (!box) continue;
    let place = { box, count: count ?? 1 };
    const near = ({ box: other }: { box: Bbox }) =>
      other[0] - NEAR <= place.box[2] && place.box[0] - NEAR <= other[2] && other[1] - NEAR <= place.box[3] && place.box[1] - NEAR <= other[3];
    // A new member may be what joins two places that were apart.
    for (let joined = places.filter(near); joined.length > 0; joined = places.filter(near)) {
      places = places.filter((other) => !joined.includes(other));
      for (const { box: other, count: more } of joined) place = { box: union([other, place.box])!, count: place.count + more };
    }
    places.push(place);
  }
  return places.sort((a, b) => b.count - a.count)[0]?.box ?? null;
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
