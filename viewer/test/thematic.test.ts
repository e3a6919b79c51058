/** Filters and colouring by attribute: the same condition for server and tiles, legends as style rows. */
import { describe, expect, it } from "vitest";
import type { Column, Legend } from "../src/api/types";
import { columnKind, comparisons, complete, cornersOf, places, toCql2, toStyle, type Condition } from "../src/core/filter";
import { propertyIds, slug } from "../src/core/properties";
import { legendConditions, mapQuery, narrow, thematicColumns } from "../src/core/thematic";

const schema: Column[] = [
  { name: "height", type: "double" }, { name: "名称", type: "string" }, { name: "flag", type: "bool" }, { name: "a-b", type: "int64" },
  { name: "a.b", type: "string" }, { name: "psets", type: "string" }, { name: "tags", type: "list<item: string>" },
];

describe("names of properties", () => {
  it("follow the tiler's rule", () => {
    expect([slug("height"), slug("名称"), slug("1st"), slug("a-b"), slug("é"), slug("①")]).toEqual(["height", "u540du79f0", "_1st", "a_b", "ue9", "u2460"]);
    expect(Object.fromEntries(propertyIds(schema.map(({ name }) => name)))).toMatchObject({ id: "id", "a-b": "a_b", "a.b": "a_b_2" });
  });
});

describe("filters", () => {
  const ask = (...conditions: Condition[]) => [toCql2(conditions, schema), toStyle(conditions, schema)];
  it("say the same to server and tiles", () => {
    expect(ask({ column: "height", op: ">=", value: " 30 " })).toEqual(
      ['"height" >= 30', "((${height} !== undefined && ${height} !== null) && ${height} >= 30)"]);
    expect(ask({ column: "名称", op: "=", value: "O'Neill" })[0]).toBe("\"名称\" = 'O''Neill'");
    expect(ask({ column: "名称", op: "=", value: "O'Neill" })[1]).toContain("${u540du79f0} === 'O\\'Neill'");
    expect(ask({ column: "名称", op: "like", value: "50%_a.b" })).toEqual(
      ["CASEI(\"名称\") LIKE CASEI('%50\\%\\_a.b%')", "((${u540du79f0} !== undefined && ${u540du79f0} !== null) && regExp('50%_a\\\\.b', 'i').test(String(${u540du79f0})))"]);
    expect(ask({ column: "flag", op: "=", value: "true" })[0]).toBe('"flag" = true');
    expect(ask({ column: "height", op: "null", value: "" }, { column: "a-b", op: "<>", value: "3" })[0]).toBe('"height" IS NULL AND "a-b" <> 3');
  });
  it("leave out rows that are not finished, and know no others", () => {
    const open: Condition[] = [{ column: "height", op: ">", value: "" }, { column: "height", op: ">", value: "x" }, { column: "gone", op: "=", value: "1" }, { column: "flag", op: "=", value: "yes" }];
    expect(complete(open, schema)).toEqual([]);
    expect(ask(...open)).toEqual(["", null]);
  });
  it("hold places beside attributes, for the server and for map tiles", () => {
    const place: Condition = { column: "", op: "within", value: "113, 22; 113.1, 22; 113.1, 22.2" };
    const both = [place, { column: "height", op: ">", value: "3" } as Condition];
    const text = 'S_INTERSECTS(geometry, POLYGON((113 22, 113.1 22, 113.1 22.2, 113 22))) AND "height" > 3';
    expect(toCql2(both, schema)).toBe(text);
    expect(toStyle([place], schema)).toBeNull();
    expect(places(both)).toEqual([[[113, 22], [113.1, 22], [113.1, 22.2]]]);
    expect([cornersOf("1, 2; x"), cornersOf("1, 2, 3"), cornersOf("200, 2; 3, 4")]).toEqual([[], [], []]);
    expect(complete([{ ...place, value: "1, 2; 3, 4" }], schema)).toEqual([]);
    const query = new URLSearchParams(mapQuery(both, { column: "名称", method: "equal", classes: 4, ramp: "magma" }, schema).slice(1));
    expect(Object.fromEntries(query)).toEqual({ filter: text, "color-by": "名称", method: "equal", classes: "4", ramp: "magma" });
    expect(mapQuery([], null, schema)).toBe("");
  });
  it("offer what suits a column", () => {
    expect(["double", "decimal128(5, 2)", "large_string", "bool", "timestamp[us]"].map(columnKind)).toEqual(["number", "number", "text", "boolean", "other"]);
    expect(comparisons("text")).not.toContain("<");
  });
});

describe("colouring by attribute", () => {
  it("takes every column with a legend", () => expect(thematicColumns(schema).map(({ name }) => name)).toEqual(["height", "名称", "flag", "a-b", "a.b"]));
  it("makes half-open classes, the last one closed, and grey for the rest", () => {
    const legend: Legend = { type: "classes", entries: [{ value: [0, 10], color: "#000000" }, { value: [10, 20], color: "#ffffff" }] };
    expect(legendConditions("height", schema, legend)).toEqual([
      ["${height} === undefined || ${height} === null", "color('#b9bdc0')"],
      ["${height} >= 0 && ${height} < 10", "color('#000000')"], ["${height} >= 10 && ${height} <= 20", "color('#ffffff')"], ["true", "color('#b9bdc0')"]]);
  });
  it("writes texts as literals, with the server's colour for the others", () => {
    const legend: Legend = { type: "classes", entries: [{ value: "a'b", color: "#112233" }, { color: "#999999" }] };
    expect(legendConditions("名称", schema, legend)).toEqual([["String(${u540du79f0}) === 'a\\'b'", "color('#112233')"], ["true", "color('#999999')"]]);
  });
  it("cuts a ramp into narrow classes that cover it", () => {
    const cut = narrow([{ value: 0, color: "#000000" }, { value: 10, color: "#ffffff" }], 5);
    expect(cut.map(({ value }) => value)).toEqual([[0, 2], [2, 4], [4, 6], [6, 8], [8, 10]]);
    expect(cut.map(({ color }) => color)).toEqual(["#1a1a1a", "#4d4d4d", "#808080", "#b3b3b3", "#e6e6e6"]);
    expect(narrow([{ value: 3, color: "#123456" }])).toEqual([{ value: [3, 3], color: "#123456" }]);
  });
});
