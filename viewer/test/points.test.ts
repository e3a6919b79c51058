/** Point clouds: what they can be coloured by, their legends, and the shader that follows from them. */
import { describe, expect, it } from "vitest";
import { pointShaderText } from "../src/cesium/point-shader";
import { CLASS, classRows, HEIGHT, INTENSITY, intensityRange, pointColumns, pointLegend, type PointFacts } from "../src/core/points";

const cloud = { kind: "points" as const, heights: [10, 50] as [number, number] };
const facts: PointFacts = { classes: [{ code: 2, zh: "地面", en: "ground" }, { code: 6, zh: "建筑", en: "building" }, { code: 77, zh: "自定 77", en: "user 77" }], intensity: [0, 400] };

describe("colours of points", () => {
  it("are offered for what the cloud has", () => {
    expect(pointColumns(cloud, facts)).toEqual([CLASS, INTENSITY, HEIGHT]);
    expect(pointColumns({ ...cloud, heights: null }, { classes: null, intensity: null })).toEqual([CLASS]);
    expect(pointColumns({ kind: "blocks", heights: [1, 2] }, facts)).toEqual([]);
  });
  it("by class have the names of the tiles in both languages, in the tiles' order", () => {
    const legend = pointLegend({ column: CLASS, ramp: "viridis" }, cloud, facts)!;
    expect(legend.entries!.map(({ value, label }) => [value, label?.zh, label?.en])).toEqual([[2, "地面", "ground"], [6, "建筑", "building"], [77, "自定 77", "user 77"]]);
    expect(new Set(legend.entries!.map(({ color }) => color)).size).toBe(3);
    expect(pointLegend({ column: CLASS, ramp: "viridis" }, cloud, { classes: null, intensity: null })).toBeNull();
  });
  it("by height and intensity run from the lowest to the highest", () => {
    const ends = (column: string) => { const all = pointLegend({ column, ramp: "magma" }, cloud, facts)!.entries!; return [all[0]!.value, all[all.length - 1]!.value]; };
    expect([ends(HEIGHT), ends(INTENSITY)]).toEqual([[10, 50], [0, 400]]);
    expect(pointLegend({ column: HEIGHT, ramp: "magma" }, cloud, facts)!.unit).toBe("m");
    expect(pointLegend({ column: INTENSITY, ramp: "magma" }, cloud, { classes: null, intensity: null })).toBeNull();
  });
  it("are read from the tiles' table and statistics, and from nothing else", () => {
    expect(classRows([{ classification: 2, class_zh: "地面", class_en: "ground" }, { classification: undefined }])).toEqual([{ code: 2, zh: "地面", en: "ground" }]);
    expect(intensityRange({ classes: { a_point: { properties: { intensity: { min: 3, max: 9 } } } } })).toEqual([3, 9]);
    expect([intensityRange(undefined), intensityRange({ classes: { a: { properties: { intensity: { min: 4, max: 4 } } } } })]).toEqual([null, null]);
  });
  it("become a shader whose numbers GLSL reads as floats", () => {
    const height = pointShaderText(HEIGHT, pointLegend({ column: HEIGHT, ramp: "viridis" }, cloud, facts)!);
    expect(height).toContain("clamp((value - 10.0) / 10.0, 0.0, 1.0)");
    expect(height.match(/mix\(shown/g)).toHaveLength(4);
    const byClass = pointShaderText(CLASS, pointLegend({ column: CLASS, ramp: "viridis" }, cloud, facts)!);
    expect(byClass).toContain("abs(value - 2.0) < 0.5");
    expect(pointShaderText(INTENSITY, pointLegend({ column: INTENSITY, ramp: "viridis" }, cloud, facts)!)).toContain("fsInput.attributes.intensity");
  });
});
