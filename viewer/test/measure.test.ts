/** Measuring against closed forms and published figures, and links that carry a state whole. */
import { describe, expect, it } from "vitest";
import { along, areaOf, cellsOf, corridor, inside, lengthOf, roundScale, toEcef, toEnu, toWkt, volumes, type Spot } from "../src/core/measure";
import { decode, encode, type Shared } from "../src/core/share";

const at = (lon: number, lat: number, height = 0): Spot => ({ lon, lat, height });

describe("lengths", () => {
  it("agree with the ellipsoid", () => {
    expect(toEcef(at(0, 0))).toEqual([6378137, 0, 0]);
    expect(toEcef(at(0, 90))[2]).toBeCloseTo(6356752.3142, 3); // WGS 84: semi-minor axis
    // A second of latitude at 22.5° N: M = a(1-e²)/(1-e² sin²φ)^1.5 = 6 344 782.5 m
    expect(lengthOf([at(113, 22.5), at(113, 22.5 + 1 / 3600)]).level).toBeCloseTo((6344782.5 * Math.PI) / 180 / 3600, 3);
    // Degree of longitude on the equator
    expect(lengthOf([at(113, 0), at(113.01, 0)]).level).toBeCloseTo((6378137 * Math.PI) / 180 / 100, 2);
  });
  it("know slant, rise and slope", () => {
    const north = at(113, 22.5 + 300 / 110734);
    const { slant, level, rise, slope } = lengthOf([at(113, 22.5, 10), { ...north, height: 410 }]);
    expect(level).toBeCloseTo(300, 0);
    expect(slant).toBeCloseTo(Math.hypot(level, 400), 1);
    expect([rise, slope]).toEqual([400, expect.closeTo((400 / level) * 100, 6)]);
    expect(lengthOf([at(1, 1)])).toEqual({ slant: 0, level: 0, rise: 0, slope: null });
  });
});

describe("areas and volumes", () => {
  const [lon, lat] = [113.08, 22.58];
  const side = (metres: number) => [metres / (111319.5 * Math.cos((lat * Math.PI) / 180)), metres / 110734] as const;
  const [dx, dy] = side(100);
  const square = [at(lon, lat), at(lon + dx, lat), at(lon + dx, lat + dy), at(lon, lat + dy)];
  it("measure a square whichever way it is drawn", () => {
    const [east] = toEnu(square[0]!, square[1]!);
    const [, north] = toEnu(square[0]!, square[3]!);
    expect(areaOf(square).level).toBeCloseTo(east * north, 1);
    expect(areaOf([...square].reverse()).level).toBeCloseTo(areaOf(square).level, 6);
    expect(areaOf(square.slice(0, 2)).level).toBe(0);
  });
  it("see a slope's larger surface", () => {
    const tilted = square.map((spot, i) => ({ ...spot, height: i === 1 || i === 2 ? 100 : 0 }));
    expect(areaOf(tilted).surface / areaOf(tilted).level).toBeCloseTo(Math.SQRT2, 2);
  });
  it("cut and fill a ramp alike about its middle", () => {
    const { spots, area } = cellsOf(square, 900);
    expect(spots.length * area).toBeCloseTo(areaOf(square).level, 3);
    const heights = spots.map((spot) => ((spot.lon - lon) / dx) * 10);
    const { cut, fill } = volumes(heights, area, 5);
    expect(cut).toBeCloseTo(fill, 3);
    expect(cut).toBeCloseTo((areaOf(square).level * 10) / 8, -2); // a wedge: area/2 · height/2 / 2
    expect(volumes([1, NaN], 2, 0)).toEqual({ cut: 2, fill: 0, unknown: 1 });
  });
  it("knows in from out", () => {
    expect(inside(square, lon + dx / 2, lat + dy / 2)).toBe(true);
    expect(inside(square, lon - dx / 2, lat + dy / 2)).toBe(false);
  });
});

describe("lines", () => {
  it("are walked evenly through their corners", () => {
    const line = [at(113, 22), at(113.001, 22), at(113.001, 22.003)];
    const steps = along(line, 100);
    expect(steps[0]!.distance).toBe(0);
    expect(steps.at(-1)!.distance).toBeCloseTo(lengthOf(line).level, 6);
    expect(steps.some(({ lon, lat }) => Math.abs(lon - 113.001) < 1e-12 && Math.abs(lat - 22) < 1e-12)).toBe(true);
    expect(along([at(1, 1)])).toEqual([]);
  });
  it("have corridors of twice the width", () => {
    const [ring] = corridor([at(113, 22), at(113.001, 22)], 10);
    const spots = ring!.map(({ lon, lat }) => at(lon, lat));
    expect(areaOf(spots).level / 20).toBeCloseTo(lengthOf([at(113, 22), at(113.001, 22)]).level + 20, 0);
    expect(toWkt([ring!])).toMatch(/^POLYGON\(\(\d+\.\d{8} \d+\.\d{8}(, \d+\.\d{8} \d+\.\d{8}){4}\)\)$/);
  });
  it("scale bars are round", () => expect([0.7, 13, 99, 250, 5000].map(roundScale)).toEqual([0.5, 10, 50, 200, 5000]));
});

describe("links", () => {
  const state: Shared = {
    view: { lon: 113, lat: 22, height: 5, heading: 0, pitch: -45, range: 300 }, lang: "en", selected: { layer: "建筑", id: "a/b'\"" }, sun: { date: "2026-06-21", hour: 9.5 },
    layers: { 建筑: { visible: false, opacity: 0.4, colouring: "height", thematic: { column: "层数", method: "equal", classes: 3, ramp: "magma" }, conditions: [{ column: "h", op: ">", value: "3" }] } },
  };
  it("carry the state whole", () => expect(decode(`#s=${encode(state)}`)).toEqual(state));
  it("leave out what is damaged", () => {
    expect(decode("#s=%%%")).toBeNull();
    expect(decode("#other")).toBeNull();
    expect(decode(`#s=${encode(state).slice(0, 40)}`)).toBeNull();
    expect(decode(`#s=${encode({ view: { lon: "x" }, lang: "fr", layers: { a: { visible: 1 }, b: { visible: true, opacity: 7 } } } as unknown as Shared)}`))
      .toEqual({ layers: { b: { visible: true, opacity: 1 } } });
  });
});
