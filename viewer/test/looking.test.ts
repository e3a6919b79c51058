/** Viewshed, flood preview, slope and section box against closed forms. */
import { describe, expect, it } from "vitest";
import { bathtub } from "../src/core/bathtub";
import { edges, gridAround, middles, refine, slopeOf } from "../src/core/grid";
import { fromEnu, toEcef, toEnu } from "../src/core/measure";
import { boxAround, cornersOf, facesOf, moved, nearestAlong, type Vector } from "../src/core/section";
import { HIDDEN, OUTSIDE, SEEN, viewshed } from "../src/core/viewshed";

const HERE = { lon: 113.08, lat: 22.58, height: 20 };

describe("a grid", () => {
  const grid = gridAround(HERE, 300, 60);
  it("spans its radius in metres", () => {
    const [west, south, east, north] = edges(grid);
    expect(toEnu(HERE, { lon: east, lat: HERE.lat, height: 20 })[0]).toBeCloseTo(300, 1);
    expect(toEnu(HERE, { lon: west, lat: HERE.lat, height: 20 })[0]).toBeCloseTo(-300, 1);
    expect(toEnu(HERE, { lon: HERE.lon, lat: north, height: 20 })[1]).toBeCloseTo(300, 1);
    expect(toEnu(HERE, { lon: HERE.lon, lat: south, height: 20 })[1]).toBeCloseTo(-300, 1);
    const first = toEnu(HERE, { ...middles(grid)[0]!, height: 20 });
    expect(first[0]).toBeCloseTo(-295, 1);
    expect(first[1]).toBeCloseTo(295, 1);
  });
  it("is refined without bending a plane", () => {
    const coarse = gridAround(HERE, 300, 20);
    const plane = (size: number, i: number) => 3 * ((i % size) + 0.5) / size - 2 * (Math.floor(i / size) + 0.5) / size;
    const fine = refine(Array.from({ length: 400 }, (_, i) => plane(20, i)), coarse, grid);
    const inner = [...fine.keys()].filter((i) => i % 60 > 1 && i % 60 < 58 && i > 180 && i < 3420);
    for (const i of inner) expect(fine[i]).toBeCloseTo(plane(60, i), 9);
    expect(refine([NaN, 4, 4, 4], gridAround(HERE, 1, 2), gridAround(HERE, 1, 4))[0]).toBeNaN();
    expect(refine([NaN, 4, 4, 4], gridAround(HERE, 1, 2), gridAround(HERE, 1, 4))[5]).toBe(4);
  });
  it("knows the slope of a plane and which way it falls", () => {
    // z = 0.3 east + 0.4 north: tan = 0.5, falls to the south-west; rows from the north.
    const plane = [1, 0, -1].flatMap((north) => [-1, 0, 1].map((east) => 0.3 * east * 5 + 0.4 * north * 5));
    const slope = slopeOf(plane, 5)!;
    expect(slope.percent).toBeCloseTo(50, 9);
    expect(slope.angle).toBeCloseTo((Math.atan(0.5) * 180) / Math.PI, 9);
    expect(slope.aspect).toBeCloseTo(180 + (Math.atan2(0.3, 0.4) * 180) / Math.PI, 9);
    expect(slopeOf(new Array<number>(9).fill(7), 5)).toEqual({ angle: 0, percent: 0, aspect: null });
    expect(slopeOf([...plane.slice(1), NaN], 5)).toBeNull();
  });
});

describe("a viewshed", () => {
  const SIDE = 201;
  const middle = (SIDE - 1) / 2;
  const field = (height: (east: number, north: number) => number, cell = 1) => ({
    columns: SIDE, rows: SIDE, cell,
    heights: Float64Array.from({ length: SIDE * SIDE }, (_, i) => height(((i % SIDE) - middle) * cell, (middle - Math.floor(i / SIDE)) * cell)),
  });
  const eye = (up: number) => ({ column: SIDE / 2, row: SIDE / 2, up });
  const round = { radius: 95, heading: 0, width: 360 };
  const at = (state: Uint8Array, east: number, north: number) => state[(middle - north) * SIDE + middle + east];

  it("sees all of a plane, level or tilted, and counts its circle", () => {
    for (const plane of [() => 0, (east: number, north: number) => 0.2 * east - 0.1 * north]) {
      const found = viewshed(field(plane), eye(1.6), round);
      expect(found.seen).toBe(found.total);
      expect(found.total / (Math.PI * 95 ** 2)).toBeCloseTo(1, 2);
    }
  });
  it("throws a wall's shadow as far as similar triangles say", () => {
    // A wall 10 m high 20 m to the east, seen from 15 m: its shadow ends at 20 · 15 / (15 − 10) = 60 m.
    const { state } = viewshed(field((east) => (east === 20 ? 10 : 0)), eye(15), round);
    const line = Array.from({ length: 90 }, (_, east) => at(state, east, 0));
    expect(line.slice(0, 21).every((value) => value === SEEN)).toBe(true);
    expect(line.slice(22, 58).every((value) => value === HIDDEN)).toBe(true);
    expect(line.slice(62).every((value) => value === SEEN)).toBe(true);
    expect(at(state, -60, 0)).toBe(SEEN);
  });
  it("sees nothing behind a ring that is higher than the eye", () => {
    const { seen, total } = viewshed(field((east, north) => (Math.abs(Math.hypot(east, north) - 40) < 1.5 ? 8 : 0)), eye(1.6), round);
    expect(seen / total).toBeGreaterThan((39 / 95) ** 2);
    expect(seen / total).toBeLessThan((41.6 / 95) ** 2);
  });
  it("loses the ground behind a hill, and sees its roof", () => {
    // A block 12 m high hides what is behind; its own roof is above the eye and hidden but for the near edge.
    const { state } = viewshed(field((east, north) => (east > 10 && east < 20 && Math.abs(north) < 5 ? 12 : 0)), eye(1.6), round);
    expect([at(state, 11, 0), at(state, 15, 0), at(state, 30, 0), at(state, 30, 40)]).toEqual([SEEN, HIDDEN, HIDDEN, SEEN]);
  });
  it("keeps to its sector and leaves out what it does not know", () => {
    const east = viewshed(field(() => 0), eye(1.6), { radius: 95, heading: 90, width: 60 });
    expect(east.total / (Math.PI * 95 ** 2)).toBeCloseTo(1 / 6, 2);
    expect([at(east.state, 50, 0), at(east.state, -50, 0), at(east.state, 0, 50)]).toEqual([SEEN, OUTSIDE, OUTSIDE]);
    const north = viewshed(field(() => 0), eye(1.6), { radius: 95, heading: 350, width: 40 });
    expect([at(north.state, 5, 50), at(north.state, 50, 5)]).toEqual([SEEN, OUTSIDE]);
    const holed = viewshed(field((x) => (x > 50 ? NaN : 0)), eye(1.6), round);
    expect(holed.unknown).toBeGreaterThan(0);
    expect(at(holed.state, 60, 0)).toBe(OUTSIDE);
  });
});

describe("a flood preview", () => {
  const side = 101;
  const cone = Float64Array.from({ length: side * side }, (_, i) => Math.hypot((i % side) - 50, Math.floor(i / side) - 50));
  it("fills a cone to the volume of a cone", () => {
    const pool = bathtub({ columns: side, rows: side, area: 1, heights: cone, from: 50 * side + 50 }, 30);
    expect(pool.area / (Math.PI * 30 ** 2)).toBeCloseTo(1, 1);
    expect(pool.volume / ((Math.PI * 30 ** 3) / 3)).toBeCloseTo(1, 2);
    expect([pool.deepest, pool.open]).toEqual([30, false]);
  });
  it("stays behind a dam until the dam is topped", () => {
    const valley = Float64Array.from({ length: side * side }, (_, i) => (i % side === 60 ? 5 : 0));
    const basin = { columns: side, rows: side, area: 4, heights: valley, from: 0 };
    expect(bathtub(basin, 4).area).toBe(60 * side * 4);
    expect(bathtub(basin, 5).area).toBe(60 * side * 4);
    expect(bathtub(basin, 6).area).toBe(side * side * 4);
    expect(bathtub(basin, 6).volume).toBe(4 * (6 * (side - 1) * side + 1 * side));
    expect(bathtub(basin, 4).open).toBe(true);
  });
  it("does not leak through corners, and stays dry where the click lies above the level", () => {
    const checks = Float64Array.from({ length: 9 }, (_, i) => (i % 2 === 0 ? 0 : 9));
    expect(bathtub({ columns: 3, rows: 3, area: 1, heights: checks, from: 4 }, 5)).toMatchObject({ area: 1, volume: 5, open: false });
    expect(bathtub({ columns: 3, rows: 3, area: 1, heights: checks, from: 1 }, 5)).toMatchObject({ area: 0, volume: 0, deepest: 0 });
    expect(bathtub({ columns: 3, rows: 1, area: 1, heights: [NaN, 0, 9], from: 1 }, 5)).toMatchObject({ area: 1, open: true });
  });
});

describe("a section box", () => {
  const box = { ...boxAround(HERE, 100, 30), top: 40 };
  it("has outward faces of its sizes, turned by its heading", () => {
    const faces = new Map(facesOf(box).map((face) => [face.face, face]));
    const enu = (point: Vector) => {
      const [x, y, z] = toEcef(HERE).map((value, i) => point[i]! - value) as Vector;
      const axes = [[1, 0, 0], [0, 1, 0], [0, 0, 1]].map((axis) => fromEnu(HERE, axis as Vector).map((value, i) => value - toEcef(HERE)[i]!));
      return axes.map(([a, b, c]) => a! * x + b! * y + c! * z);
    };
    // "North" looks to 30° east of north: 50 m that way.
    const north = enu(faces.get("north")!.middle);
    expect(north[0]).toBeCloseTo(50 * Math.sin(Math.PI / 6), 5);
    expect(north[1]).toBeCloseTo(50 * Math.cos(Math.PI / 6), 5);
    expect(enu(faces.get("top")!.middle)[2]).toBeCloseTo(40, 5);
    for (const { outward } of faces.values()) expect(Math.hypot(...outward)).toBeCloseTo(1, 6);
    const [a, , , , , , g] = cornersOf(box);
    expect(Math.hypot(...a!.map((value, i) => value - g![i]!))).toBeCloseTo(Math.hypot(100, 100, 50), 5);
  });
  it("cannot be turned inside out", () => {
    expect(moved(box, "top", -500).top).toBe(box.bottom + 0.5);
    expect(moved(box, "west", 500).west).toBe(box.east - 0.5);
    expect(moved(box, "east", 12).east).toBe(12);
    expect(moved(box, "east", NaN)).toBe(box);
  });
  it("follows the mouse along a face's way", () => {
    // The line is the x axis; a ray crosses above x = 7.
    expect(nearestAlong([0, 0, 0], [1, 0, 0], [7, 5, 9], [0, 0, -1])).toBeCloseTo(7, 12);
    expect(nearestAlong([2, 0, 0], [1, 0, 0], [7, 0, 9], [0, 0, -3])).toBeCloseTo(5, 12);
    expect(nearestAlong([0, 0, 0], [1, 0, 0], [0, 4, 0], [2, 0, 0])).toBeNull();
  });
});
