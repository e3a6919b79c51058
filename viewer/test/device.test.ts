/** What a machine is given to draw, and what a feature belongs to. */
import { describe, expect, it } from "vitest";
import type { Feature } from "../src/api/types";
import { detailFor, type Machine } from "../src/core/device";
import { firstState, toLayer } from "../src/core/layers";
import { family, parentOf } from "../src/core/relations";
import { stopAt, stops } from "../src/core/versions";

const desk: Machine = { software: false, width: 1600, height: 900, ratio: 1, coarsePointer: false };

describe("detail", () => {
  it("draws a wall coarser in software, a window as it is", () => {
    expect(detailFor({ ...desk, software: true, width: 1000, height: 620 })).toMatchObject({ resolution: 1, loading: 60 });
    const wall = detailFor({ ...desk, software: true, width: 1920, height: 1080 });
    expect(1920 * 1080 * wall.resolution ** 2).toBeCloseTo(1e6, 0);
    expect(detailFor({ ...desk, width: 1920, height: 1080 }, "low")).toMatchObject({ resolution: 1, loading: 5 });
  });
  it("is full on a desk, plain in software, light on a phone", () => {
    expect(detailFor(desk)).toMatchObject({ quality: "high", error: 1, shadows: true, occlusion: true, samples: 4, resolution: 1 });
    expect(detailFor({ ...desk, software: true })).toMatchObject({ quality: "low", shadows: false, occlusion: false, samples: 1 });
    const phone = detailFor({ ...desk, width: 390, height: 844, ratio: 3, coarsePointer: true });
    expect(phone).toMatchObject({ quality: "high", shadows: false, occlusion: false, resolution: 1.5 });
    expect(phone.error).toBeGreaterThan(1);
    expect(phone.cacheMegabytes).toBeLessThan(detailFor(desk).cacheMegabytes);
    expect(detailFor({ ...desk, width: 390, height: 844, ratio: 3 }).shadows, "a narrow window of a desk is no phone").toBe(true);
  });
  it("never draws more pixels than a wall computer bears, and never fewer than the page has", () => {
    for (const [width, height, ratio] of [[1600, 900, 2], [3840, 2160, 2], [7680, 2160, 1], [800, 600, 4]] as const) {
      const { resolution } = detailFor({ ...desk, width, height, ratio });
      expect(resolution).toBeGreaterThanOrEqual(1);
      expect(resolution === 1 || width * height * resolution ** 2 <= 8_300_001).toBe(true);
    }
    expect(detailFor({ ...desk, ratio: 2 }).resolution).toBe(2);
  });
  it("does as the page says, and spares a machine of little memory", () => {
    expect(detailFor(desk, "low").quality).toBe("low");
    expect(detailFor({ ...desk, software: true }, "high")).toMatchObject({ quality: "high", shadows: true });
    expect(detailFor({ ...desk, memory: 4 })).toMatchObject({ quality: "high", shadows: false });
  });
});

describe("what is on at first", () => {
  const layer = (id: string, kind: "points" | "blocks", run?: string) => toLayer({ id, "twin:kind": kind, links: [], ...(run ? { "twin:run": run } : {}) });
  it("is the point cloud only where no buildings stand", () => {
    const cloud = layer("survey", "points");
    expect(firstState(cloud, null, [cloud]).visible).toBe(true);
    expect(firstState(cloud, null, [cloud, layer("b", "blocks", "job")]).visible).toBe(true);
    expect(firstState(cloud, null, [cloud, layer("b", "blocks")]).visible).toBe(false);
  });
});

describe("versions as stops", () => {
  const entry = (version: number, ...from: string[]) =>
    ({ version, created: "", count: version * 10, who: null, pinned: false, current: false, links: [], shown: from.map((time) => ({ from: time, to: null })) });
  const all = stops([entry(1, "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z"), entry(2, "2026-02-01T08:00:00+08:00"), entry(3)]);
  it("stand in the order in which they were shown; what was never shown is none", () => {
    expect(all.map(({ version, from }) => [version, from])).toEqual([[1, "2026-01-01T00:00:00Z"], [2, "2026-02-01T08:00:00+08:00"], [1, ""]]);
    expect(stops([])).toEqual([]);
  });
  it("are found by time", () => {
    expect(["", "2025-01-01T00:00:00Z", "2026-01-15T00:00:00Z", "2026-02-01T00:00:00Z", "2026-06-01T00:00:00Z"].map((time) => stopAt(all, time))).toEqual([2, 0, 0, 1, 1]);
  });
});

describe("parts and wholes", () => {
  const mesh = toLayer({ id: "m", "twin:kind": "mesh", links: [], "twin:schema": [{ name: "name", type: "string" }, { name: "class", type: "string" }] });
  const feature = (id: string, parent: string | null, name = id): Feature =>
    ({ type: "Feature", id, geometry: null, properties: { name, class: "C" }, ...(parent === null ? {} : { "twin:parent": parent }) }) as unknown as Feature;
  const all = new Map([feature("site", null), feature("house", "site"), feature("o'ne", "house"), feature("w10", "o'ne", "墙10"), feature("w9", "o'ne", "墙9"), feature("x", "y"), feature("y", "x")].map((one) => [one.id, one]));
  const asked: string[] = [];
  const api = {
    item: (_: string, id: string) => (all.has(id) ? Promise.resolve(all.get(id)!) : Promise.reject(new Error("404"))),
    items: (_: string, { filter = "" }: { filter?: string }) => {
      asked.push(filter);
      const parent = /^parent = '(.*)'$/.exec(filter)![1]!.replaceAll("''", "'");
      const features = [...all.values()].filter((one) => parentOf(one) === parent);
      return Promise.resolve({ type: "FeatureCollection" as const, features, numberMatched: features.length });
    },
  };
  it("are read upwards to the root and one step down, numbers in their order", async () => {
    const { ancestors, parts, count } = await family(api, mesh, all.get("o'ne")!);
    expect(ancestors.map(({ id }) => id)).toEqual(["site", "house"]);
    expect(parts.map(({ id }) => id)).toEqual(["w9", "w10"]);
    expect(count).toBe(2);
    expect(asked.at(-1)).toBe("parent = 'o''ne'");
  });
  it("end where a parent is missing or the chain turns back", async () => {
    expect((await family(api, mesh, feature("lone", "gone"))).ancestors).toEqual([]);
    expect((await family(api, mesh, all.get("x")!)).ancestors.map(({ id }) => id)).toEqual(["y"]);
  });
});
