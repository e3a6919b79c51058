/** The big screen's figures and alerts. */
import { describe, expect, it } from "vitest";
import type { Collection, Job } from "../src/api/types";
import { toLayer } from "../src/core/layers";
import { alertsOf, figuresOf } from "../src/core/overview";

const layer = (id: string, extra: Partial<Collection>) => toLayer({ id, "twin:kind": "vector", links: [], ...extra });
const job = (jobID: string, status: Job["status"], extra: Partial<Job> = {}): Job => ({ jobID, status, ...extra });

describe("big screen", () => {
  it("counts things, not cells, results or layers without a count", () => {
    const layers = [layer("roads", { "twin:count": 5 }), layer("dem", { "twin:kind": "terrain", "twin:count": 9e6 }), layer("hit", { "twin:run": "j", "twin:count": 7 }),
      layer("blocks", { "twin:kind": "blocks", "twin:count": 40 }), layer("odd", {})];
    expect(figuresOf(layers).map(({ layer: { id }, count }) => [id, count])).toEqual([["blocks", 40], ["roads", 5]]);
  });
  it("puts failures before what runs, stale tiles and results", () => {
    const layers = [layer("hit", { "twin:run": "j", "twin:count": 3 }), layer("old", { "twin:stale": true })];
    const jobs = [job("1", "successful"), job("2", "running", { progress: 41.6, processID: "flood" }), job("3", "failed", { message: "no terrain" })];
    expect(alertsOf(layers, jobs).map(({ key }) => key)).toEqual(["wall.failed", "wall.running", "wall.stale", "wall.result"]);
    expect(alertsOf(layers, jobs)[1]!.values).toMatchObject({ process: "flood", n: 42 });
    expect(alertsOf([], [job("1", "dismissed")])).toEqual([]);
  });
  it("says each run once, the newest first: what it hit, never its cells", () => {
    const layers = [layer("flood-roads", { "twin:run": "j", "twin:count": 3 }), layer("flood-buildings", { "twin:run": "j", "twin:kind": "blocks", "twin:count": 12 }),
      layer("flood-depth", { "twin:run": "j", "twin:kind": "raster", "twin:count": 39_600 }), layer("rise-depth", { "twin:run": "k", "twin:kind": "raster" })];
    const found = alertsOf(layers, [job("k", "successful"), job("j", "successful")]);
    expect(found.map(({ key, values, layer: own }) => [key, values, own!.id])).toEqual([["wall.ready", { run: "rise" }, "rise-depth"], ["wall.result", { run: "flood", n: 12 }, "flood-buildings"]]);
  });
});
