/** Moving over the city with the keyboard: which view a key leads to. */
import type { View } from "./camera";

/** Share of the distance to the middle of the picture that one press moves. */
const STEP = 0.12;
const ZOOM = 0.8;
const TURN = 10;
const TILT = 5;
const STEEPEST = -89.5;
const FLATTEST = -8;
const NEAREST = 20;
const FARTHEST = 200_000;
const METRES_PER_DEGREE = 111_320;

export interface Key {
  key: string;
  shift: boolean;
}

/**
 * Arrows move over the ground as the picture lies; with Shift they turn and tilt. + and − come nearer and go farther, N faces north.
 * @param flat a flat map neither turns nor tilts.
 * @returns the next view, or null for a key that moves nothing.
 */
export function afterKey(view: View, { key, shift }: Key, flat = false): View | null {
  if (key === "+" || key === "=") return { ...view, range: Math.max(NEAREST, view.range * ZOOM) };
  if (key === "-" || key === "_") return { ...view, range: Math.min(FARTHEST, view.range / ZOOM) };
  if (key === "n" || key === "N") return { ...view, heading: 0 };
  const [right, ahead] = ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] } as Record<string, [number, number]>)[key] ?? [0, 0];
  if (right === 0 && ahead === 0) return null;
  if (!shift) return moved(view, right, ahead);
  if (flat) return null;
  return { ...view, heading: (view.heading + right * TURN + 360) % 360, pitch: Math.min(FLATTEST, Math.max(STEEPEST, view.pitch - ahead * TILT)) };
}

function moved(view: View, right: number, ahead: number): View {
  const turn = (view.heading * Math.PI) / 180;
  const way = view.range * STEP;
  const east = (right * Math.cos(turn) + ahead * Math.sin(turn)) * way;
  const north = (ahead * Math.cos(turn) - right * Math.sin(turn)) * way;
  const lat = Math.min(89, Math.max(-89, view.lat + north / METRES_PER_DEGREE));
  const lon = view.lon + east / (METRES_PER_DEGREE * Math.max(0.01, Math.cos((view.lat * Math.PI) / 180)));
  return { ...view, lat, lon: ((lon + 540) % 360) - 180 };
}
