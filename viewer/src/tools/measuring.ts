/** Tools that measure: distance, area with earth works, slope, coordinates, profile. */
import { groundHeights } from "../cesium/looking";
import { metres, number, withUnit } from "../core/format";
import { gridAround, middles, slopeOf } from "../core/grid";
import { along, areaOf, cellsOf, lengthOf, volumes } from "../core/measure";
import type { Kind, Task } from "./types";

/** Metres between the 3 × 3 heights that a slope is taken from: near the cells of common terrain models. */
const SLOPE_SPACING = 5;

export const MEASURING = {
  distance: { least: 2, ends: false, running: true, work: distance },
  area: { least: 3, ends: false, closed: true, running: true, work: area },
  slope: { least: 1, ends: true, work: slope },
  position: { least: 1, ends: true, work: async ({ app, spots: [place] }: Task) => ({ kind: "position", place: place!, found: await app.api.position(place!.lon, place!.lat) }) },
  profile: { least: 2, ends: false, draped: true, running: true, work: profile },
} as const satisfies Record<string, Kind>;

function distance({ app, spots, draw }: Task) {
  const length = lengthOf(spots);
  draw({ labels: [{ at: spots[spots.length - 1]!, text: metres(app.lang, length.slant, 2) }] });
  return { kind: "length", length } as const;
}

async function area({ app, widget, spots, draw }: Task) {
  const found = areaOf(spots);
  const { spots: cells, area: each } = cellsOf(spots);
  const heights = await groundHeights(widget, cells);
  const level = Math.min(...spots.map(({ height }) => height));
  draw({ labels: [{ at: spots[spots.length - 1]!, text: withUnit(number(app.lang, found.level, 1), "m²") }] });
  return { kind: "area", area: found, level, ...volumes(heights, each, level) } as const;
}

/** Of the ground, also where a roof was clicked. */
async function slope({ widget, spots: [spot] }: Task) {
  const heights = await groundHeights(widget, middles(gridAround(spot!, 1.5 * SLOPE_SPACING, 3)));
  return { kind: "slope", slope: slopeOf(heights, SLOPE_SPACING), spacing: SLOPE_SPACING } as const;
}

async function profile({ widget, spots }: Task) {
  const points = along(spots);
  const heights = await groundHeights(widget, points);
  return { kind: "profile", points: points.map(({ distance: at }, i) => ({ distance: at, ground: heights[i]! })), length: lengthOf(spots) } as const;
}
