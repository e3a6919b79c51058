/** Unit tests of core/: plain data in, plain data out. */
import { describe, expect, it } from "vitest";
import type { Collection, Feature } from "../src/api/types";
import { columnTitle, featureName, toCard } from "../src/core/attributes";
import { around, grow, openingView, sizeOf, together, union } from "../src/core/camera";
import { declutter, type Candidate } from "../src/core/declutter";
import { attribute, degrees, metres, number, withUnit } from "../src/core/format";
import { bilingual, chooseLang, translate } from "../src/core/i18n";
import { labelsOf } from "../src/core/labels";
import { colourings, drapeRank, firstState, grouped, toLayer, useColumn } from "../src/core/layers";
import { MESSAGES } from "../src/core/messages";
import { classConditions, HEIGHTS, useConditions, USES } from "../src/core/palette";
import { slug } from "../src/core/properties";
import { Burst } from "../src/core/progress";
import { why } from "../src/core/why";
import { ApiError } from "../src/api/client";

function collection(id: string, extra: Partial<Collection> = {}): Collection {
  return { id, "twin:kind": "vector", "twin:group": "时空基础", links: [], ...extra };
}
const layer = (id: string, extra: Partial<Collection> = {}) => toLayer(collection(id, extra));

describe("why", () => {
  const zh = (error: unknown) => why(error, (key, values) => translate("zh", key, values ?? {}));
  it("says in the reader's language what an answer means", () => {
    expect(zh(new ApiError(500, "boom", "u"))).toBe("服务器出错（HTTP 500：boom）");
    expect(zh(new ApiError(0, "TypeError", "u"))).toBe("服务器没有响应");
    expect(zh(new ApiError(400, "unknown parameter x", "u"))).toBe("unknown parameter x");
    expect(zh({ statusCode: 404 })).toBe("服务器上没有这份数据（HTTP 404）");
    expect(zh({ statusCode: 403 })).toBe("服务器拒绝了请求（HTTP 403）");
    expect(zh(new Error("no WebGL"))).toBe("no WebGL");
  });
});

describe("messages", () => {
  it("says everything in both languages, with the same blanks", () => {
    for (const [key, [zh, en]] of Object.entries(MESSAGES)) {
      expect(zh, key).not.toBe("");
      expect(en, key).not.toBe("");
      const blanks = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();
      expect(blanks(en), key).toEqual(blanks(zh));
      if (!key.startsWith("lang.")) expect(en, `${key} is not English`).not.toMatch(/[一-鿿]/);
    }
  });
  it("fills blanks and leaves unknown ones standing", () => {
    expect(translate("en", "progress.tiles", { n: 7 })).toBe("Loading, 7 tiles to go");
    expect(translate("zh", "progress.tiles")).toContain("{n}");
  });
  it("is Chinese unless the reader asked otherwise", () => {
    expect(chooseLang([])).toBe("zh");
    expect(chooseLang(["zh-TW", "en"])).toBe("zh");
    expect(chooseLang(["en-GB", "zh"])).toBe("en");
    expect(chooseLang(["en"], "zh")).toBe("zh");
  });
  it("reads bilingual values with the other language as a stand-in", () => {
    expect(bilingual("en", { zh: "建筑" }, "x")).toBe("建筑");
    expect(bilingual("zh", null, "x")).toBe("x");
  });
});

describe("layers", () => {
  it("groups in the order of the standard, results first, unknown last", () => {
    const groups = grouped([
      layer("a", { "twin:group": "物联感知" }), layer("b"), layer("c", { "twin:group": "?" }), layer("d", { "twin:run": "job" }),
    ]).map(({ group }) => group);
    expect(groups).toEqual(["results", "时空基础", "物联感知", "other"]);
  });
  it("lays results over roads over water over areas over pictures", () => {
    const ranks = [layer("dem", { "twin:kind": "terrain" }), layer("ortho", { "twin:kind": "raster" }), layer("landuse"),
      layer("x", { "twin:title": { zh: "水系", en: "Rivers" } }), layer("streets"), layer("depth", { "twin:kind": "raster", "twin:run": "j" })].map(drapeRank);
    expect(ranks).toEqual([...ranks].sort((a, b) => a - b));
    expect(new Set(ranks).size).toBe(6);
  });
  it("opens with pictures and vectors on, thematic rasters and old results off", () => {
    const raster = layer("r", { "twin:kind": "raster" });
    expect(firstState(raster, { type: "rgb" }).visible).toBe(true);
    expect(firstState(raster, { type: "classes" }).visible).toBe(false);
    expect(firstState(raster, null).visible).toBe(false);
    expect(firstState(layer("v", { "twin:run": "j" }), { type: "vector" }).visible).toBe(false);
    expect(firstState(layer("v"), { type: "vector" }).visible).toBe(true);
    expect(firstState(layer("v", { "twin:group": "规划管控" }), { type: "vector" }).visible).toBe(false);
  });
  it("finds what blocks can be coloured by, from the schema alone", () => {
    const schema = [{ name: "USE", type: "string" }, { name: "Height", type: "double" }];
    const blocks = layer("b", { "twin:kind": "blocks", "twin:schema": schema });
    expect(useColumn(blocks)).toBe("USE");
    expect(colourings(blocks)).toEqual(["use", "height", "plain"]);
    expect(colourings(layer("b", { "twin:kind": "blocks", "twin:schema": schema, "twin:style": { color: "#abc" } }))[0]).toBe("plain");
    expect(colourings(layer("b", { "twin:kind": "blocks", "twin:schema": [{ name: "use", type: "double" }] }))).toEqual(["plain"]);
  });
  it("colours what a flood hit by its depth", () => {
    const schema = [{ name: "use", type: "string" }, { name: "flood_depth", type: "double" }];
    expect(colourings(layer("b", { "twin:kind": "blocks", "twin:schema": schema, "twin:run": "j" }))[0]).toBe("depth");
    expect(colourings(layer("b", { "twin:kind": "blocks", "twin:schema": schema }))[0]).toBe("use");
  });
  it("joins boxes and leaves broken ones out", () => {
    expect(union([[0, 0, 1, 1], null, [2, -1, 3, 0.5], [NaN, 0, 1, 1], [9, 9, 8, 8]])).toEqual([0, -1, 3, 1]);
    expect(union([null])).toBeNull();
  });
  it("changes its key with version or tiles, so that the scene reads it again", () => {
    expect(layer("a", { "twin:version": 1, "twin:tileset": "k" }).key).not.toBe(layer("a", { "twin:version": 1, "twin:tileset": "l" }).key);
  });
});

describe("palette", () => {
  it("sorts uses in both languages", () => {
    const classify = (text: string) => USES.find(({ pattern }) => new RegExp(pattern, "i").test(text))?.key;
    expect(classify("住宅")).toBe("use.residential");
    expect(classify("apartments")).toBe("use.residential");
    expect(classify("商住混合")).toBe("use.mixed");
    expect(classify("第三小学校")).toBe("use.public");
    expect(classify("industrial")).toBe("use.industrial");
    expect(classify("")).toBeUndefined();
  });
  it("writes conditions that end with a catch-all and name columns as the tiles do", () => {
    expect(useConditions("land use").at(-1)![0]).toBe("true");
    expect(useConditions("land use")[0]![0]).toContain("${land_use}");
    expect(classConditions("h", HEIGHTS).at(-1)![0]).toBe("true");
    expect(slug("2nd.floor")).toBe("_2nd_floor");
  });
});

describe("camera", () => {
  it("stands south of the box, looks down at it, and sees all of it", () => {
    const view = openingView([113.07, 22.57, 113.09, 22.59], 5);
    expect(view.lon).toBeCloseTo(113.08, 9);
    expect(view.height).toBe(5);
    expect(view.pitch).toBeLessThan(-20);
    expect(view.range).toBeGreaterThan(1000);
    expect(view.range).toBeLessThan(4000);
  });
  it("looks at the layers that lie together and hold most", () => {
    const at = (lon: number, lat: number, count: number | null) => ({ bbox: [lon, lat, lon + 0.1, lat + 0.1] as [number, number, number, number], count });
    expect(together([at(113, 22.5, 900), at(-71, 42.3, 50), at(113.14, 22.6, 20), { bbox: null, count: 9e9 }])!.map((angle) => angle.toFixed(6)).map(Number)).toEqual([113, 22.5, 113.24, 22.7]);
    expect(together([at(0, 0, 1), at(0.2, 0, 1), at(0.1, 0.1, null)])!, "the third joins the two").toEqual([0, 0, 0.30000000000000004, 0.2]);
    expect(together([])).toBeNull();
  });
  it("keeps a sane distance for a shed and for a province", () => {
    expect(openingView([113, 22, 113.0001, 22.0001], 0).range).toBe(250);
    expect(openingView([110, 20, 117, 25], 0).range).toBe(40_000);
  });
  it("measures in metres", () => {
    const box = around(113, 22.5, 10);
    expect(sizeOf(box).width).toBeCloseTo(20, 1);
    expect(sizeOf(box).depth).toBeCloseTo(20, 1);
    expect(sizeOf(grow(box, 2)).width).toBeCloseTo(40, 1);
  });
});

describe("declutter", () => {
  const label = (x: number, y: number, priority = 0): Candidate => ({ x, y, width: 80, height: 18, priority });
  it("keeps the important one of two that overlap", () => {
    expect(declutter([label(100, 100, 1), label(120, 104, 2)])).toEqual([1]);
  });
  it("finds overlaps across the cells of its grid", () => {
    expect(declutter([label(63, 63, 2), label(66, 66, 1)])).toEqual([0]);
    expect(declutter([label(-10, 63, 2), label(10, 66, 1)])).toEqual([0]);
  });
  it("never shows two that overlap, whatever comes", () => {
    let seed = 7;
    const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
    const all = Array.from({ length: 400 }, () => ({ x: random() * 1200, y: random() * 700, width: 20 + random() * 140, height: 18, priority: random() }));
    const shown = declutter(all, 1000).map((index) => all[index]!);
    expect(shown.length).toBeGreaterThan(20);
    for (const a of shown) for (const b of shown) {
      const apart = Math.abs(a.x - b.x) * 2 >= a.width + b.width || Math.abs(a.y - b.y) * 2 >= a.height + b.height;
      expect(a === b || apart).toBe(true);
    }
  });
  it("stops at the limit", () => {
    expect(declutter([label(0, 0), label(500, 0), label(0, 500)], 2)).toHaveLength(2);
  });
});

describe("progress", () => {
  it("never runs backwards while more tiles come in, and ends at one", () => {
    const burst = new Burst();
    const seen = [4, 8, 6, 9, 3, 1].map((pending) => burst.update(pending).fraction);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(Math.max(...seen)).toBeLessThan(1);
    expect(burst.update(0)).toEqual({ pending: 0, fraction: 1 });
    expect(burst.update(5).fraction).toBe(0);
  });
});

describe("format", () => {
  it("writes numbers with units", () => {
    expect(number("zh", 1234567.891)).toBe("1,234,567.89");
    expect(number("en", 0.000123)).toBe("0.000123");
    expect(number("zh", NaN)).toBe("–");
    expect(withUnit("3", "m2")).toBe("3 m²");
    expect(metres("zh", 12_345)).toBe("12.3 km");
    expect(degrees("zh", -113.5, "lon")).toBe("113.500000° W");
  });
  it("writes any attribute", () => {
    expect(attribute("zh", true)).toBe("是");
    expect(attribute("en", false)).toBe("No");
    expect(attribute("zh", 441301)).toBe("441301");
    expect(attribute("zh", 12.3456, "m")).toBe("12.346 m");
    expect(attribute("zh", ["甲", "乙"])).toBe("甲、乙");
    expect(attribute("zh", null)).toBe("");
  });
});

describe("attributes", () => {
  const feature: Feature = {
    type: "Feature", id: "w-1", geometry: null,
    properties: {
      id: "w-1", name: "外墙", height: 3.2, psets: { Pset_WallCommon: { FireRating: "2h", LoadBearing: true } },
      quantities: { Qto_Wall: { NetVolume: { value: 1.25, unit: "m3" } } },
    },
  };
  it("titles, units and folds", () => {
    const card = toCard(feature, [{ name: "height", type: "double", unit: "m", title: { zh: "高度", en: "Height" } }], "zh");
    expect(card.title).toBe("外墙");
    expect(card.subtitle).toBe("w-1");
    expect(card.rows.map(({ name }) => name)).toEqual(["name", "height"]);
    expect(card.rows[1]).toEqual({ name: "height", label: "高度", value: "3.2 m" });
    expect(card.sections.map(({ title }) => title)).toEqual(["Pset_WallCommon", "Qto_Wall"]);
    expect(card.sections[0]!.rows[1]!.value).toBe("是");
    expect(card.sections[1]!.rows[0]!.value).toBe("1.25 m³");
  });
  it("names common columns in the reader's language and leaves strange ones as they are", () => {
    expect(columnTitle("floors", undefined, "zh")).toBe("层数");
    expect(columnTitle("floors", { name: "floors", type: "int", title: { zh: "地上层数", en: "" } }, "zh")).toBe("地上层数");
    expect(columnTitle("floors", { name: "floors", type: "int", title: { zh: "地上层数" } }, "en")).toBe("Floors");
    expect(columnTitle("toString", undefined, "zh")).toBe("toString");
  });
  it("says usual values in the reader's language and leaves others as they are", () => {
    const values = (lang: "zh" | "en", roof: unknown): (string | undefined)[] =>
      toCard({ ...feature, properties: { roof, height_from: "floors" } }, [], lang).rows.map(({ value }) => value);
    expect(values("zh", "flat")).toEqual(["平屋面", "按层数推算"]);
    expect(values("en", "flat")).toEqual(["flat", "number of floors"]);
    expect(values("zh", "坡屋顶")[0]).toBe("坡屋顶");
    expect(values("zh", "toString")[0]).toBe("toString");
    expect(values("zh", 3)[0]).toBe("3");
  });
  it("falls back to the id for a title", () => {
    const card = toCard({ ...feature, properties: { name: "" } }, [], "en");
    expect(card.title).toBe("w-1");
    expect(card.subtitle).toBe("");
  });
  it("takes the English name in English", () => {
    expect(featureName({ name: "蓬江", name_en: "Pengjiang" }, "en")).toBe("Pengjiang");
    expect(featureName({ name: "蓬江", name_en: "Pengjiang" }, "zh")).toBe("蓬江");
  });
});

describe("labels", () => {
  const road = (id: string, name: string, to: number): Feature => ({
    type: "Feature", id, properties: { name }, geometry: { type: "LineString", coordinates: [[0, 0], [to, 0]] },
  });
  it("puts a road's name once, in the middle of its longest piece", () => {
    const labels = labelsOf([road("1", "迎宾路", 1), road("2", "迎宾路", 4)], "name", "zh");
    expect(labels).toHaveLength(1);
    expect(labels[0]).toMatchObject({ lon: 2, lat: 0, dot: false });
  });
  it("knows numbered things from places", () => {
    const point = (name: string): Feature => ({ type: "Feature", id: "p", properties: { name }, geometry: { type: "Point", coordinates: [5, 6] } });
    const serial = labelsOf(["路口摄像头17", "北堤第8段", "MH-203", "五邑大学", "第一中学", "Bridge"].map(point), "name", "zh").map((label) => label.serial);
    expect(serial).toEqual([true, true, true, false, false, false]);
  });
  it("puts every point, before lines, and leaves the nameless out", () => {
    const point = (name: unknown): Feature => ({ type: "Feature", id: "p", properties: { name }, geometry: { type: "Point", coordinates: [5, 6] } });
    const labels = labelsOf([road("1", "路", 1), point("甲"), point("甲"), point(null), point("  ")], "name", "zh");
    expect(labels.filter(({ dot }) => dot)).toHaveLength(2);
    expect(labels[0]!.priority).toBeGreaterThan(labels[2]!.priority);
  });
});

describe("house rules", () => {
  it("keeps core/ free of Cesium, Lit and the page", () => {
    const sources = import.meta.glob<string>("../src/core/*.ts", { query: "?raw", import: "default", eager: true });
    expect(Object.keys(sources).length).toBeGreaterThan(10);
    for (const [file, text] of Object.entries(sources))
      expect(text, file).not.toMatch(/from "(@cesium|lit|\.\.\/(cesium|panels|app))|\bdocument\.|\bwindow\./);
  });
});
