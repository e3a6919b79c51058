/** Forms from process descriptions, the API's errors, and recovery. */
import { describe, expect, it } from "vitest";
import { Api, ApiError } from "../src/api/client";
import type { Process, ProcessInput } from "../src/api/types";
import { Health } from "../src/core/health";
import { Notices } from "../src/core/notices";
import { collect, DRAWN, fieldOf, fieldsOf, groupsOf, parse } from "../src/core/schema-form";

const process = (inputs: Record<string, ProcessInput>): Process => ({ id: "p", inputs });
const one = (input: ProcessInput) => fieldsOf(process({ x: input }))[0]!;

describe("schema form", () => {
  it("knows the kinds of field", () => {
    const pair = { type: "array", minItems: 2, maxItems: 2, prefixItems: [{ type: "number" }, { type: "number" }] };
    expect(one({ schema: { type: "integer" } }).kind).toBe("integer");
    expect(one({ schema: { type: "string", "x-layer-kinds": ["terrain"] } })).toMatchObject({ kind: "layer", layerKinds: ["terrain"] });
    expect(one({ schema: { anyOf: [pair, { type: "null" }] } })).toMatchObject({ kind: "point", required: false });
    expect(one({ title: "west, south, east, north", schema: { type: "array", minItems: 4, maxItems: 4, items: { type: "number" } } }).kind).toBe("bbox");
    expect(one({ schema: { enum: ["a", "b"] } })).toMatchObject({ kind: "select", options: ["a", "b"] });
    expect(one({ schema: { type: "object" } }).kind).toBe("json");
  });
  it("takes titles, units and defaults", () => {
    const field = one({ title: "Water level", schema: { type: "number", default: 2.5, "x-title-zh": "水位", "x-unit": "m" } });
    expect(field.title).toEqual({ zh: "水位", en: "Water level" });
    expect(field).toMatchObject({ unit: "m", initial: "2.5", required: false });
  });
  it("refuses what the schema refuses, and says which bound", () => {
    const field = one({ schema: { type: "integer", minimum: 1, exclusiveMaximum: 10 } });
    expect(parse(field, "3")).toEqual({ value: 3 });
    expect(parse(field, "3.5").fault?.key).toBe("form.integer");
    expect(parse(field, "0").fault).toEqual({ key: "form.min", n: 1 });
    expect(parse(field, "10").fault).toEqual({ key: "form.maxx", n: 10 });
    expect(parse(field, "x").fault?.key).toBe("form.number");
    expect(parse(field, "").fault?.key).toBe("form.required");
    expect(parse(one({ schema: { type: "object" } }), "{").fault?.key).toBe("form.json");
  });
  it("collects inputs, leaves empty optional ones out, keeps defaults", () => {
    const fields = fieldsOf(process({
      level: { schema: { type: "number" } }, steps: { schema: { type: "integer", default: 10 } },
      at: { schema: { anyOf: [{ type: "array", minItems: 2, maxItems: 2, items: { type: "number" } }, { type: "null" }], default: null } },
      deep: { schema: { type: "boolean", default: false } },
    }));
    expect(collect(fields, { level: "3" })).toEqual({ inputs: { level: 3, steps: 10, deep: false }, faults: {} });
    expect(collect(fields, { level: "3", at: "113.1，22.5" }).inputs["at"]).toEqual([113.1, 22.5]);
    expect(collect(fields, { at: "1" }).faults).toEqual({ level: { key: "form.required" }, at: { key: "form.point" } });
  });
});

describe("a long form", () => {
  const rain = { type: "string", enum: ["none", "uniform", "grid"], default: "none", "x-choices": { none: { zh: "无", en: "none" } } };
  const fields = fieldsOf(process({
    cell: { schema: { type: "number", default: 5 }, "x-group": { zh: "网格", en: "Grid" } },
    rain: { schema: rain, "x-group": { zh: "降雨", en: "Rain" } },
    depth: { schema: { type: "number", "x-when": { rain: ["uniform"] } }, "x-group": { zh: "降雨", en: "Rain" } },
    layer: { schema: { type: "string", default: "", "x-layer-kinds": ["raster"], "x-when": { rain: ["grid"] } }, "x-group": { zh: "降雨", en: "Rain" } },
    column: { schema: { type: "string", default: "", "x-column-of": "layer", "x-when": { layer: true } } },
  }));
  it("has parts, and what belongs to none comes first", () => {
    expect(groupsOf(fields).map(({ name, fields: own }) => [name?.zh ?? null, own.map((field) => field.name)]))
      .toEqual([[null, ["column"]], ["网格", ["cell"]], ["降雨", ["rain", "depth", "layer"]]]);
    expect(fields[1]!.names["none"]).toEqual({ zh: "无", en: "none" });
    expect(fields[4]!.columnOf).toBe("layer");
  });
  it("asks only for what counts, and sends only that", () => {
    expect(collect(fields, { depth: "x" })).toEqual({ inputs: { cell: 5, rain: "none" }, faults: {} });
    expect(collect(fields, { rain: "uniform", depth: "x" }).faults).toEqual({ depth: { key: "form.number" } });
    expect(collect(fields, { rain: "grid", layer: "radar", column: "r" }).inputs).toEqual({ cell: 5, rain: "grid", layer: "radar", column: "r" });
    expect(collect(fields, { layer: "radar", column: "r" }).inputs, "a column of a layer that does not count").toEqual({ cell: 5, rain: "none" });
  });
});

describe("api", () => {
  const answer = (status: number, body: unknown) => async () =>
    new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/problem+json" } });
  it("passes on the server's own words", async () => {
    const api = new Api("http://x", answer(404, { title: "Not found", detail: "no layer 'roads'; see /collections" }));
    await expect(api.collection("roads")).rejects.toMatchObject({ status: 404, detail: "no layer 'roads'; see /collections", offline: false });
  });
  it("tells a missing server from a refusing one", async () => {
    const gone = new Api("http://x/", async () => { throw new TypeError("Failed to fetch"); });
    const error = await gone.city().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ApiError);
    expect((error as ApiError).offline).toBe(true);
  });
  it("asks for a box in west, south, east, north and escapes names", async () => {
    let asked = "";
    const api = new Api("http://h/twin", async (url) => { asked = url; return new Response("{}"); });
    await api.items("a/b", { bbox: [1, 2, 3, 4], limit: 5 });
    expect(asked).toBe("http://h/twin/collections/a%2Fb/items?bbox=1.000000000%2C2.000000000%2C3.000000000%2C4.000000000&limit=5");
    expect(api.url("/map/x.json")).toBe("http://h/twin/map/x.json");
  });
  it("reads result layers out of a job's outputs", async () => {
    const api = new Api("http://x", answer(200, { outputs: { depth: { layer: "run-depth" }, note: null, n: { value: 3 } } }));
    expect(await api.resultLayers("j")).toEqual(["run-depth"]);
  });
});

describe("health", () => {
  it("notices the outage, waits, and says when the server is back", async () => {
    const answers = [false, false, true];
    const health = new Health(() => (answers.shift() ? Promise.resolve() : Promise.reject(new Error("no"))), () => Promise.resolve());
    const states: boolean[] = [];
    health.changed.on(({ online }) => states.push(online));
    const back = new Promise<void>((resolve) => health.recovered.on(resolve));
    expect(await health.suspect()).toBe(false);
    await back;
    expect(states.at(-1)).toBe(true);
    expect(states).toContain(false);
    expect(health.state.online).toBe(true);
  });
  it("asks once for many suspicions", async () => {
    let asked = 0;
    const health = new Health(() => { asked += 1; return Promise.resolve(); });
    expect(await Promise.all([health.suspect(), health.suspect(), health.suspect()])).toEqual([true, true, true]);
    expect(asked).toBe(1);
  });
});

describe("notices", () => {
  it("keeps one per subject, and the last word goes by itself", () => {
    const later: (() => void)[] = [];
    const notices = new Notices(() => undefined, (act) => void later.push(act));
    notices.replace("offline", "error.back", {}, "good");
    expect(notices.all).toHaveLength(0);
    notices.set("offline", "error.offline", { s: 2 }, "bad");
    notices.set("offline", "error.offline", { s: 1 }, "bad");
    expect(notices.all).toHaveLength(1);
    notices.replace("offline", "error.back", {}, "good");
    expect(notices.all[0]!.tone).toBe("good");
    later.forEach((act) => act());
    expect(notices.all).toHaveLength(0);
  });
});

describe("an area of rain", () => {
  const pair = { type: "array", minItems: 2, maxItems: 2, prefixItems: [{ type: "number", minimum: -180, maximum: 180 }, { type: "number", minimum: -90, maximum: 90 }] };
  const field = fieldOf("rain_area", { title: "Polygon within which the rain falls", minOccurs: 0, schema: { type: "array", items: pair, default: [], "x-geometry": "polygon" } });
  it("is drawn as a polygon, may be left out, and is closed", () => {
    expect(DRAWN).toContain(field.kind);
    expect(field).toMatchObject({ kind: "polygon", required: false, initial: "" });
    expect(parse(field, "")).toEqual({});
    expect(parse(field, "113, 22; 113.1, 22; 113.1, 22.1").value).toEqual([[113, 22], [113.1, 22], [113.1, 22.1], [113, 22]]);
    expect(parse(field, "113, 22; 113.1, 22").fault).toEqual({ key: "form.corners", n: 3 });
  });
});
