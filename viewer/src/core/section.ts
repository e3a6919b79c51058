/** A box that shows only what is in it: six faces, turned about the upright, in metres about an origin; and how a face is dragged. */
import { fromEnu, toEcef, type Enu, type Spot } from "./measure";

export const SIDES = ["west", "east", "south", "north", "bottom", "top"] as const;
export type Face = (typeof SIDES)[number];
export type Vector = [number, number, number];

/** Where each face stands, metres from the origin: east, north and up count positive. With a heading, "north" is where the heading points. */
export type SectionBox = Spot & Record<Face, number> & {
  /** Degrees clockwise from north by which the box is turned. */
  heading: number;
  /** Whether the ground is cut like everything else. */
  ground: boolean;
};

/** Least distance of two opposite faces, metres. */
const THIN = 0.5;
const OPPOSITE: Record<Face, Face> = { west: "east", east: "west", south: "north", north: "south", bottom: "top", top: "bottom" };
const LOWER: readonly Face[] = ["west", "south", "bottom"];

export function boxAround(spot: Spot, size: number, heading = 0): SectionBox {
  return { ...spot, west: -size / 2, east: size / 2, south: -size / 2, north: size / 2, bottom: -Math.min(10, size / 4), top: size / 2, heading, ground: true };
}

/** A face moved, but not through the opposite one. */
export function moved(box: SectionBox, face: Face, to: number): SectionBox {
  if (!Number.isFinite(to)) return box;
  const limit = box[OPPOSITE[face]];
  return { ...box, [face]: LOWER.includes(face) ? Math.min(to, limit - THIN) : Math.max(to, limit + THIN) };
}

/** A place of the box, in its own metres, as metres east, north and up. */
function turned(box: SectionBox, x: number, y: number, z: number): Enu {
  const angle = (box.heading * Math.PI) / 180;
  return [x * Math.cos(angle) + y * Math.sin(angle), y * Math.cos(angle) - x * Math.sin(angle), z];
}

const DIRECTION: Record<Face, Vector> = { west: [-1, 0, 0], east: [1, 0, 0], south: [0, -1, 0], north: [0, 1, 0], bottom: [0, 0, -1], top: [0, 0, 1] };

export interface FaceAt {
  face: Face;
  /** Middle of the face, metres in the earth's frame. */
  middle: Vector;
  /** Away from the box, one metre long. */
  outward: Vector;
}

export function facesOf(box: SectionBox): FaceAt[] {
  const middle = [(box.west + box.east) / 2, (box.south + box.north) / 2, (box.bottom + box.top) / 2] as const;
  const origin = toEcef(box);
  return SIDES.map((face) => {
    const direction = DIRECTION[face];
    const axis = direction.findIndex((part) => part !== 0);
    const [x, y, z] = middle.map((value, i) => (i === axis ? box[face] : value)) as Vector;
    const tip = fromEnu(box, turned(box, ...direction));
    return { face, middle: fromEnu(box, turned(box, x, y, z)), outward: tip.map((value, i) => value - origin[i]!) as Vector };
  });
}

/** The eight corners in the earth's frame: the bottom's four, then the top's. */
export function cornersOf(box: SectionBox): Vector[] {
  const ring = [[box.west, box.south], [box.east, box.south], [box.east, box.north], [box.west, box.north]] as const;
  return [box.bottom, box.top].flatMap((z) => ring.map(([x, y]) => fromEnu(box, turned(box, x, y, z))));
}

const dot = (a: Vector, b: Vector): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

/** How far along a line the point lies that comes nearest to a ray: where a handle goes that follows the mouse. Null when they are parallel. */
export function nearestAlong(point: Vector, direction: Vector, from: Vector, towards: Vector): number | null {
  const gap = point.map((value, i) => value - from[i]!) as Vector;
  const [a, b, c] = [dot(direction, direction), dot(direction, towards), dot(towards, towards)];
  const divisor = a * c - b * b;
  if (divisor < 1e-6 * a * c) return null;
  return (b * dot(towards, gap) - c * dot(direction, gap)) / divisor;
}
