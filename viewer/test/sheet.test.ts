/** Printed sheets, legends, the underground switch, coordinates in words, and a section box in a link. */
import { describe, expect, it } from "vitest";
import type { Collection, Legend } from "../src/api/types";
import { fixed, sexagesimal, squareMetres } from "../src/core/format";
import { locale } from "../src/core/i18n";
import { firstState, toLayer, type LayerState } from "../src/core/layers";
import { blockRows, entryText, legendHeading, shownLegends } from "../src/core/legends";
import { boxAround } from "../src/core/section";
import { decode, encode, type Shared } from "../src/core/share";
import { barOf, emsOf, partsOf, PAPERS, scaleNumber, sheetSvg, sizeOf, wrapped, type SheetModel } from "../src/core/sheet";
import { groundView, undergroundColumn, withGroundView } from "../src/core/underground";

const layer = (id: string, extra: Partial<Collection> = {}) => toLayer({ id, "twin:kind": "raster", "twin:group": "时空基础", links: [], ...extra });

const MODEL: SheetModel = {
  paper: "A4", landscape: true, title: "蓬江区 <规划> 现状", picture: "data:image/jpeg;base64,AAAA", metresPerMm: 2.5, heading: 30,
  legend: [{ colour: null, text: "水深 (m)" }, { colour: "#123456", text: "0 – 0.5" }, { colour: ["#000000", "#ffffff"], text: "低 – 高" }],
  notes: ["数据来源与许可：建筑 v1 (CC BY 4.0)、道路 v2 (未注明许可)"],
  words: { legend: "图例", more: "另有 {n} 项未列出", scale: "图面中心约 1:{n}", oblique: null, number: String, metres: (value) => `${value} m` },
};

describe("a sheet", () => {
  it("has the paper's size, and parts that neither overlap nor leave it", () => {
    for (const paper of ["A4", "A3"] as const) for (const landscape of [true, false]) {
      const size = sizeOf({ paper, landscape });
      expect([size.width, size.height].sort((a, b) => a - b)).toEqual([...PAPERS[paper]]);
      const parts = Object.values(partsOf({ paper, landscape }));
      for (const { x, y, width, height } of parts) {
        expect(Math.min(x, y, width, height)).toBeGreaterThan(0);
        expect(x + width).toBeLessThanOrEqual(size.width - 10 + 1e-9);
        expect(y + height).toBeLessThanOrEqual(size.height - 10 + 1e-9);
      }
      parts.forEach((a, i) => parts.slice(i + 1).forEach((b) =>
        expect(a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y).toBe(true)));
    }
  });
  it("draws a scale bar as long as its metres", () => {
    // 2.5 m a millimetre: 100 m are 40 mm, and the scale is 1:2500.
    expect(barOf(2.5)).toEqual({ metres: 100, mm: 40 });
    expect([scaleNumber(2.5), scaleNumber(2.3471), scaleNumber(0.1)]).toEqual([2500, 2350, 100]);
    const svg = sheetSvg(MODEL);
    const cells = [...svg.matchAll(/<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="1.600"/g)].map((found) => [Number(found[1]), Number(found[2])]);
    expect(cells).toHaveLength(4);
    expect(cells[3]![0]! + cells[3]![1]! - cells[0]![0]!).toBeCloseTo(40, 2);
    expect(svg).toContain("图面中心约 1:2500");
    expect(svg).toContain("rotate(-30)");
    expect(sheetSvg({ ...MODEL, metresPerMm: null })).not.toContain("data-part=\"scale\"");
  });
  it("keeps every word, and says what it leaves out", () => {
    const svg = sheetSvg(MODEL);
    expect(svg).toContain("蓬江区 &#60;规划&#62; 现状");
    for (const text of ["图例", "0 – 0.5", "CC BY 4.0", "未注明许可"]) expect(svg).toContain(text);
    const many = sheetSvg({ ...MODEL, legend: Array.from({ length: 200 }, (_, i) => ({ colour: "#000000", text: `类${i}` })) });
    const listed = [...many.matchAll(/>类\d+</g)].length;
    expect(many).toContain(`另有 ${200 - listed} 项未列出`);
    expect(listed).toBeGreaterThan(20);
    const long = sheetSvg({ ...MODEL, notes: [Array.from({ length: 400 }, (_, i) => `图层${i}`).join("、")] });
    expect(long).toMatch(/另有 \d+ 项未列出/);
  });
  it("breaks Chinese anywhere and English between words", () => {
    expect(emsOf("江门a")).toBeCloseTo(2.54, 6);
    expect(wrapped("一二三四五六七", 3)).toEqual(["一二三", "四五六", "七"]);
    expect(wrapped("sources and licences", 6)).toEqual(["sources and", "licences"]);
    expect(wrapped("abcdefghij", 2.2).join("")).toBe("abcdefghij");
    expect(wrapped("数据 OpenStreetMap 贡献者", 40)).toEqual(["数据 OpenStreetMap 贡献者"]);
  });
});

describe("legends", () => {
  const depth: Legend = { type: "classes", unit: "m", title: { zh: "水深", en: "Depth" }, entries: [{ value: [0, 0.5], color: "#aaddff" }, { value: [0.5, 9], color: "#0044aa" }] };
  const bare: Legend = { type: "vector", unit: "", title: {}, entries: [{ value: "", color: "#c81e1e", label: { zh: "", en: "" } }] };
  const layers = [layer("a-depth", { "twin:run": "1" }), layer("b-depth", { "twin:run": "2" }),
    layer("closed", { "twin:kind": "vector", "twin:run": "2", "twin:title": { zh: "中断道路", en: "Closed roads" } }), layer("off")];
  const states = new Map<string, LayerState>(layers.map((one) => [one.id, { ...firstState(one, null), visible: one.id !== "off" }]));
  const own = new Map([["a-depth", depth], ["b-depth", structuredClone(depth)], ["closed", bare], ["off", depth]]);
  it("stands once for two runs side by side", () => {
    const shown = shownLegends(layers, states, own, new Map());
    expect(shown.map((one) => one.layers.map(({ id }) => id))).toEqual([["a-depth", "b-depth"], ["closed"]]);
    expect(legendHeading("zh", shown[0]!)).toEqual({ title: "水深", unit: "m" });
    const twice = { ...shown[0]!, legend: { ...shown[0]!.legend, title: { zh: "水深（米）", en: "Depth (m)" } } };
    expect([legendHeading("zh", twice), legendHeading("en", twice)]).toEqual([{ title: "水深", unit: "m" }, { title: "Depth", unit: "m" }]);
    expect(entryText("en", shown[0]!, depth.entries![0]!)).toBe("0 – 0.5");
  });
  it("names a vector layer's own colour by the layer", () => {
    const [, closed] = shownLegends(layers, states, own, new Map());
    expect(entryText("zh", closed!, bare.entries![0]!)).toBe("中断道路");
    expect(entryText("en", closed!, bare.entries![0]!)).toBe("Closed roads");
  });
  it("says usual values of a column in the reader's language", () => {
    const roofs: Legend = { type: "classes", unit: "", title: {}, entries: [{ value: "flat", color: "#777777", label: { zh: "flat", en: "flat" } }, { value: "飞檐", color: "#888888" }] };
    const said = (lang: "zh" | "en"): string[] => roofs.entries!.map((entry) => entryText(lang, { layers, column: "roof" }, entry));
    expect([said("zh"), said("en")]).toEqual([["平屋面", "飞檐"], ["flat", "飞檐"]]);
    expect(entryText("zh", { layers, column: "kind" }, roofs.entries![0]!)).toBe("flat");
  });
  it("says how a result's buildings are coloured", () => {
    const hit = layer("a-buildings", { "twin:kind": "blocks", "twin:run": "1", "twin:title": { zh: "受淹建筑", en: "Flooded" } });
    const [one] = shownLegends([hit], new Map([[hit.id, { ...states.get("off")!, visible: true, colouring: "depth" }]]), new Map(), new Map());
    expect(legendHeading("zh", one!).title).toBe("受淹建筑");
    expect(one!.legend.entries!.map((entry) => entryText("zh", one!, entry))[1]).toBe("0.15–0.5 m");
  });
  it("says the colours of blocks", () => {
    const blocks = layer("blocks", { "twin:kind": "blocks" });
    expect(blockRows("en", blocks, { ...states.get("off")!, colouring: "height" })[1]).toMatchObject({ text: "6–12 m" });
    expect(blockRows("en", blocks, { ...states.get("off")!, colouring: "depth" }).at(-1)?.text).toBe("> 2 m");
  });
});

describe("the underground switch", () => {
  const model = layer("model", { "twin:kind": "mesh", "twin:style": { underground: "below_ground" }, "twin:schema": [{ name: "below_ground", type: "bool" }, { name: "class", type: "string" }] });
  it("keeps the other conditions", () => {
    const others = [{ column: "class", op: "=" as const, value: "IfcWall" }];
    const below = withGroundView(model, others, "below");
    expect(below).toEqual([...others, { column: "below_ground", op: "=", value: "true" }]);
    expect(groundView(model, { conditions: below })).toBe("below");
    expect(groundView(model, { conditions: withGroundView(model, below, "above") })).toBe("above");
    expect(withGroundView(model, below, "all")).toEqual(others);
  });
  it("is there only for layers that know", () => {
    expect(undergroundColumn(layer("x", { "twin:style": { underground: "below_ground" } }))).toBeNull();
    expect(groundView(layer("x"), { conditions: [] })).toBe("all");
  });
});

describe("words", () => {
  it("write coordinates for people and for programs", () => {
    expect(sexagesimal("en", 113.08, "lon")).toBe("113°04′48.00000″E");
    expect(sexagesimal("en", -22.5000000001, "lat", 3)).toBe("22°30′00.000″S");
    expect(sexagesimal("zh", 59.9999999999, "lat", 3)).toBe("60°00′00.000″N");
    expect(fixed("en", 405400.0004, 3)).toBe("405400.000");
    expect([squareMetres("en", 3400), squareMetres("en", 2_500_000)]).toEqual(["3,400 m²", "2.5 km²"]);
  });
  it("follow the reader's own kind of the language", () => {
    expect(locale("en", ["zh-CN", "en-GB", "en"])).toBe("en-GB");
    expect(locale("zh", ["en-GB"])).toBe("zh-CN");
    expect(locale("en", ["eng-x"])).toBe("en");
  });
});

describe("a link", () => {
  it("carries the section box, and no broken one", () => {
    const section = boxAround({ lon: 113.08, lat: 22.58, height: 20 }, 100, 15);
    const back = (state: Shared) => decode(`#s=${encode(state)}`)?.section;
    expect(back({ section })).toEqual(section);
    expect(back({ section: { ...section, west: 500 } })).toBeUndefined();
    expect(back({ section: { ...section, top: null as unknown as number } })).toBeUndefined();
  });
});
