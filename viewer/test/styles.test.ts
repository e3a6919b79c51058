/** What our styles make of features, by Cesium's own reading of the style language. */
import { Cesium3DTileStyle, type Cesium3DTileFeature } from "@cesium/engine";
import { describe, expect, it } from "vitest";
import type { Column, Legend } from "../src/api/types";
import { toStyle } from "../src/core/filter";
import { classConditions, DEPTHS, OTHER_USE, useConditions } from "../src/core/palette";
import { legendConditions, OTHER } from "../src/core/thematic";

const feature = (values: Record<string, unknown>) => ({ getPropertyInherited: (name: string) => values[name], getProperty: (name: string) => values[name] }) as unknown as Cesium3DTileFeature;
const coloured = (conditions: [string, string][], values: Record<string, unknown>): string =>
  (new Cesium3DTileStyle({ color: { conditions } }).color as unknown as { evaluateColor(feature: Cesium3DTileFeature): { toCssHexString(): string } })
    .evaluateColor(feature(values)).toCssHexString();

describe("a style", () => {
  it.each([undefined, null])("bears a feature whose value is %s: an error would end the drawing of the city", (nothing) => {
    const legend: Legend = { type: "classes", entries: [{ value: [0, 10], color: "#000000" }] };
    const schema: Column[] = [{ name: "depth", type: "double" }];
    expect(coloured(classConditions("depth", DEPTHS), { depth: nothing })).toBe(OTHER_USE);
    expect(coloured(legendConditions("depth", schema, legend), { depth: nothing })).toBe(OTHER);
    expect(coloured(useConditions("use"), { use: nothing })).toBe(OTHER_USE);
    const style = new Cesium3DTileStyle({ show: toStyle([{ column: "depth", op: "<", value: "3" }], schema)! });
    expect(style.show!.evaluate(feature({ depth: nothing }))).toBe(false);
  });
  it("colours by class", () => {
    expect([0.1, 0.5, 9].map((depth) => coloured(classConditions("depth", DEPTHS), { depth }))).toEqual([DEPTHS[0]![1], DEPTHS[1]![1], DEPTHS[4]![1]]);
  });
});
