/** The scenario room: rows of a form, moments and their addresses, hydrographs, who is hit and what two runs differ in. */
import { describe, expect, it } from "vitest";
import type { Feature, Job, Schema } from "../src/api/types";
import { closuresOf, differences, hitOf, middle, sortHits, type Hit } from "../src/core/hits";
import { translate } from "../src/core/i18n";
import { jobProgress } from "../src/core/job-progress";
import { faultsIn, rowsFrom, textIn, variantOf, variantsOf, withText } from "../src/core/rows";
import { collect, fieldOf, parse } from "../src/core/schema-form";
import { curvesOf, isHydrograph, valueAt } from "../src/core/series";
import { clockText, frameAt, frameUrl, moments, timelineOf } from "../src/core/timeline";

const place: Schema = { type: "array", minItems: 2, maxItems: 2, prefixItems: [{ type: "number", minimum: -180, maximum: 180 }, { type: "number", minimum: -90, maximum: 90 }] };
const line = (minItems: number): Schema => ({ type: "array", items: place, minItems });
const structures = fieldOf("structures", {
  schema: {
    type: "array", default: [], items: {
      oneOf: [
        { type: "object", required: ["line", "kind"], properties: {
          name: { type: "string", default: "" }, line: line(2), kind: { enum: ["levee", "barrier"] }, crest: { anyOf: [{ type: "number" }, { type: "null" }], default: null },
          breach: { anyOf: [{ type: "object", required: ["at", "width_m"], properties: { at: place, width_m: { type: "number", exclusiveMinimum: 0 }, side_slope: { type: "number", default: 1 } } }, { type: "null" }], default: null },
        } },
        { type: "object", required: ["kind", "line"], properties: { kind: { const: "pump" }, line: line(1) } },
      ],
    },
  },
});

describe("fields that are drawn", () => {
  it("knows points, lines, areas and rows from their schema", () => {
    const kind = (name: string, schema: Schema, title = "") => fieldOf(name, { title, schema }).kind;
    expect(kind("course", line(2))).toBe("line");
    expect(kind("rain_area", line(3))).toBe("polygon");
    expect(kind("gauges", { type: "array", items: { type: "number" } }, "Gauges: longitude, latitude, …")).toBe("points");
    expect(kind("bbox", { type: "array", minItems: 4, maxItems: 4, items: { type: "number" } })).toBe("bbox");
    expect(kind("depth_grades", { type: "array", minItems: 4, maxItems: 4, prefixItems: [{ type: "number" }] })).toBe("numbers");
    expect(kind("outputs", { type: "array", items: { type: "string" } })).toBe("words");
    expect(kind("curve", { type: "array", items: { ...place, prefixItems: [{ type: "number" }, { type: "number" }] } })).toBe("json");
    expect(structures.kind).toBe("rows");
  });
  it("reads corners, closes rings, and refuses what lies off the earth", () => {
    const course = fieldOf("course", { schema: line(2) });
    expect(parse(course, "113.1, 22.5; 113.2，22.6")).toEqual({ value: [[113.1, 22.5], [113.2, 22.6]] });
    expect(parse(course, "113.1, 22.5")).toEqual({ fault: { key: "form.corners", n: 2 } });
    expect(parse(course, "213.1, 22.5; 113, 22").fault?.key).toBe("form.places");
    expect(parse(fieldOf("area", { schema: line(3) }), "0,0; 1,0; 1,1").value).toEqual([[0, 0], [1, 0], [1, 1], [0, 0]]);
    const gauges = fieldOf("gauges", { title: "longitude, latitude", schema: { type: "array", items: { type: "number" }, default: [1, 2, 3, 4] } });
    expect(gauges.initial).toBe("1, 2; 3, 4");
    expect(parse(gauges, gauges.initial).value).toEqual([1, 2, 3, 4]);
  });
});

describe("rows", () => {
  const [levee, barrier, pump] = variantsOf(structures);
  const by = (name: string) => barrier!.fields.find((field) => field.name === name)!;
  it("has a shape for each kind, with the members of inner objects", () => {
    expect([levee, barrier, pump].map((variant) => variant?.tag)).toEqual(["levee", "barrier", "pump"]);
    expect(barrier!.fields.map(({ name }) => name)).toEqual(["name", "line", "crest", "breach.at", "breach.width_m", "breach.side_slope"]);
    expect(by("breach.at").title.zh).toBe("溃口：位置");
  });
  it("puts texts in and takes them out again; an emptied inner object goes", () => {
    let row = withText({ kind: "barrier" }, by("line"), "113, 22; 113.1, 22");
    row = withText(row, by("crest"), "3.5");
    row = withText(row, by("breach.width_m"), "12");
    expect(row).toEqual({ kind: "barrier", line: [[113, 22], [113.1, 22]], crest: 3.5, breach: { width_m: 12 } });
    expect(textIn(row, by("line"))).toBe("113, 22; 113.1, 22");
    expect(withText(row, by("breach.width_m"), " ")).not.toHaveProperty("breach");
  });
  it("finds what is wrong, in a row and in the list", () => {
    expect(faultsIn({ kind: "barrier" }, barrier!)).toEqual({ line: { key: "form.required" } });
    expect(Object.keys(faultsIn({ kind: "barrier", line: [[1, 2], [3, 4]], breach: { width_m: 2 } }, barrier!))).toEqual(["breach.at"]);
    expect(withText({}, by("crest"), "high")).toEqual({ crest: "high" });
    const bad = JSON.stringify([{ kind: "pump", line: [[1, 2]] }, { kind: "barrier", line: [[1, 2], [2, 2]], crest: "high" }]);
    expect(parse(structures, bad).fault).toEqual({ key: "form.row", n: 2, name: "crest" });
    expect(variantOf(variantsOf(structures), { kind: "pump" })?.tag).toBe("pump");
  });
  it("takes GeoJSON and leaves an empty list out", () => {
    const geojson = { type: "FeatureCollection", features: [{ type: "Feature", properties: { kind: "barrier", crest: 2 }, geometry: { type: "LineString", coordinates: [[1, 2, 9], [3, 4, 9]] } }] };
    expect(parse(structures, JSON.stringify(geojson)).value).toEqual([{ kind: "barrier", crest: 2, line: [[1, 2], [3, 4]] }]);
    expect(parse(structures, '{"type":"FeatureCollection","features":[{"geometry":{"type":"Polygon"}}]}').fault?.key).toBe("form.rows");
    expect(parse(structures, "[1]").fault?.key).toBe("form.rows");
    expect(() => rowsFrom("[")).toThrow();
    expect(collect([structures], {})).toEqual({ inputs: {}, faults: {} });
  });
});

describe("time", () => {
  it("reads moments in seconds and as times", () => {
    expect(timelineOf({ tiles: ["a"] })).toBeNull();
    expect(timelineOf({ tiles: ["a"], "twin:times": [0, 300, 300, 600], "twin:start": "2026-06-01T08:00:00Z" })).toEqual({ values: [0, 300, 600], seconds: [0, 300, 600], start: Date.UTC(2026, 5, 1, 8) });
    expect(timelineOf({ tiles: ["a"], "twin:times": ["2026-06-01T08:00:00Z", "2026-06-01T09:00:00Z"] })).toEqual({
      values: ["2026-06-01T08:00:00Z", "2026-06-01T09:00:00Z"], seconds: [0, 3600], start: Date.UTC(2026, 5, 1, 8) });
    expect(timelineOf({ tiles: ["a"], "twin:times": [0, 60], "twin:start": "" })?.start).toBeNull();
  });
  it("shows the last moment begun", () => {
    const seconds = [0, 60, 150];
    expect([-5, 0, 59.9, 60, 149, 150, 1e9].map((time) => frameAt(seconds, time))).toEqual([0, 0, 0, 1, 1, 2, 2]);
    expect(moments([{ values: [], seconds: [0, 60], start: null }, { values: [], seconds: [0, 30], start: null }])).toEqual([0, 30, 60]);
  });
  it("addresses the tiles of a moment", () => {
    expect(frameUrl("/map/x/{z}/{x}/{y}.png", 300)).toBe("/map/x/{z}/{x}/{y}.png?time=300");
    expect(frameUrl("/map/{z}.png?a=1", "2026-06-01T08:00:00+08:00")).toBe("/map/{z}.png?a=1&time=2026-06-01T08%3A00%3A00%2B08%3A00");
    expect(frameUrl("/map/{time}/{z}.png", 5)).toBe("/map/5/{z}.png");
  });
  it("says the time", () => {
    expect(clockText("zh", { start: null }, 3900)).toBe("1:05");
    expect(clockText("en", { start: null }, 75, true)).toBe("0:01:15");
    expect(clockText("en", { start: Date.UTC(2026, 5, 1, 8) }, 3600)).toMatch(/06.01/);
  });
});

describe("hydrographs", () => {
  const rows = [[60, 2], [0, 1], [120, 6]].map(([time_s, value]) => ({ kind: "section", name: "A", quantity: "discharge", unit: "m³/s", time_s, value }));
  it("makes curves of a long table", () => {
    const [curve, ...more] = curvesOf([...rows, { name: "A", time_s: 1, value: null }]);
    expect(more).toEqual([]);
    expect(curve).toMatchObject({ key: "section · A · discharge", unit: "m³/s", points: [[0, 1], [60, 2], [120, 6]] });
    expect([0, 30, 90, 120, 121].map((time) => valueAt(curve!, time))).toEqual([1, 1.5, 4, 6, null]);
    expect(isHydrograph([{ name: "name" }, { name: "time_s" }, { name: "value" }])).toBe(true);
    expect(isHydrograph([{ name: "name" }])).toBe(false);
  });
});

describe("who is hit", () => {
  const feature = (id: string, properties: Record<string, unknown>): Feature => ({ type: "Feature", id, geometry: { type: "Polygon", coordinates: [[[1, 2], [3, 2], [3, 6], [1, 2]]] }, properties }) as Feature;
  const hits = [feature("b", { flood_depth: 0.4, flood_entry: 60, name: "乙楼" }), feature("a", { flood_depth: 1.4, flood_entry: 600 }), feature("c", { flood_depth: 0.2 })].map((one) => hitOf(one, "zh"));
  const ids = (found: Hit[]) => found.map(({ id }) => id).join("");
  it("sorts, the unknown last", () => {
    expect(ids(sortHits(hits, "entry", false))).toBe("bac");
    expect(ids(sortHits(hits, "entry", true))).toBe("abc");
    expect(ids(sortHits(hits, "depth", true))).toBe("abc");
    expect(hits[0]).toMatchObject({ name: "乙楼", place: { lon: 2, lat: 4 } });
    expect(middle(null)).toBeNull();
  });
  it("lists closed roads by who cannot pass", () => {
    const columns = [{ name: "closed_car_from", type: "double", title: { zh: "小汽车：开始中断", en: "Closed to car from" } }, { name: "closed_car_until", type: "double" }] as never;
    const roads = [feature("r1", { closed_car_from: 120, closed_car_until: null }), feature("r2", { closed_car_from: null })];
    expect(closuresOf(roads, columns, "zh")).toMatchObject([{ id: "r1", closed: [{ who: "小汽车", from: 120, until: null }] }]);
    expect(closuresOf(roads, columns, "en")[0]?.closed[0]?.who).toBe("car");
  });
  it("tells what two runs differ in, dry buildings too", () => {
    const other = [{ ...hits[0]!, depth: 0.9 }, hits[2]!];
    expect(differences(hits, other).map(({ id, a, b, change }) => [id, a, b, Number(change.toFixed(3))])).toEqual([["a", 1.4, null, -1.4], ["b", 0.4, 0.9, 0.5]]);
  });
});

describe("a job under way", () => {
  const said = (job: Partial<Job>) => jobProgress({ jobID: "j", status: "running", ...job }, (key, values) => translate("zh", key, values ?? {}));
  it("says its stage and the model's clock in the reader's language", () => {
    expect(said({ progress: 20, "twin:stage": "running", message: "running: t = 715 s / 3600 s" })).toBe("正在推演 20% · 模型时间 0:11:55 / 1:00");
    expect(said({ progress: 40, "twin:stage": "encoding", message: "encoding: flood-buildings" })).toBe("正在切片 40%");
    expect(said({ status: "accepted" })).toBe("排队中");
    expect(said({ progress: 1, "twin:stage": "dreaming", message: "dreaming: 3 of 4" })).toBe("dreaming: 3 of 4 1%");
  });
});
