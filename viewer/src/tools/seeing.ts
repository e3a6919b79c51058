/** Tools about sight and light: line of sight, viewshed, hours of sun, the plane cut and the section box, notes. */
import { sight, sunHours } from "../cesium/looking";
import { painted } from "../cesium/overlay";
import { surfaceAround } from "../cesium/surface";
import { edges, gridAround } from "../core/grid";
import { lengthOf } from "../core/measure";
import { boxAround } from "../core/section";
import { HIDDEN, SEEN, viewshed } from "../core/viewshed";
import type { Kind, Task } from "./types";

/** Metres of a standing person's eye above the clicked ground. */
export const EYE = 1.6;
/** Cells along a side of a viewshed: 2.3 m each at a radius of 300 m. */
const SIDE = 257;
/** Pixels a cell, for the hatching. */
const SCALE = 3;
/** Seen is light green; hidden is dark red and hatched: apart in lightness and pattern for those who do not tell the hues (Okabe and Ito's pair). */
const COLOURS = { [SEEN]: [0, 158, 115, 120], [HIDDEN]: [160, 50, 0, 115], hatch: [90, 20, 0, 190] } as const;

export const SEEING = {
  sight: { least: 2, ends: true, running: true, work: line },
  viewshed: { least: 1, ends: true, work: around },
  sun: { least: 1, ends: true, work: ({ widget, spots: [spot], settings: { sunDate } }: Task) => ({ kind: "sun", date: sunDate, ...sunHours(widget, spot!, sunDate) }) },
  section: { least: 2, ends: true, running: true, work: ({ app, spots: [a, b] }: Task) => { app.section.setPlane([a!, b!]); return { kind: "section" }; } },
  cutbox: { least: 1, ends: true, work: cutbox },
  note: { least: 1, ends: true, work: ({ app, spots: [spot] }: Task) => { app.notebook.addNote(spot!); return null; } },
} as const satisfies Record<string, Kind>;

function line({ widget, spots: [from, to], settings, draw }: Task) {
  const eye = { ...from!, height: from!.height + settings.eye };
  const { free, end } = sight(widget, eye, to!);
  draw({ spots: [], rays: free ? [{ from: eye, to: to!, good: true }] : [{ from: eye, to: end, good: true }, { from: end, to: to!, good: false }] });
  return { kind: "sight", free, length: lengthOf([eye, to!]) } as const;
}

async function around({ widget, spots: [spot], settings: { eye, radius, heading, sector }, overlay }: Task) {
  const grid = gridAround(spot!, radius, SIDE);
  const heights = await surfaceAround(widget, spot!, grid);
  const { state, ...found } = viewshed({ ...grid, heights }, { column: SIDE / 2, row: SIDE / 2, up: eye }, { radius, heading, width: sector });
  overlay.show(edges(grid), painted(SIDE, SIDE, SCALE, (index, x, y) => {
    const value = state[index]!;
    if (value === SEEN) return COLOURS[SEEN];
    return value === HIDDEN ? ((x + y) % 6 < 2 ? COLOURS.hatch : COLOURS[HIDDEN]) : [0, 0, 0, 0];
  }), true);
  return { kind: "viewshed", cell: grid.cell, ...found } as const;
}

/** A box of a size that suits the view, turned with it; on the ground, also where a roof was clicked. */
function cutbox({ app, spots: [spot] }: Task): null {
  const view = app.camera.currentView();
  const size = Math.min(2000, Math.max(20, Math.round((view?.range ?? 300) / 30) * 10));
  const height = app.camera.groundHeight(spot!.lon, spot!.lat) ?? spot!.height;
  app.section.setBox(boxAround({ ...spot!, height }, size, Math.round(view?.heading ?? 0) % 360));
  return null;
}
