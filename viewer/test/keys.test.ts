/** Keys that move the view. */
import { describe, expect, it } from "vitest";
import type { View } from "../src/core/camera";
import { afterKey } from "../src/core/keys";

const view: View = { lon: 113, lat: 60, height: 5, heading: 0, pitch: -40, range: 1000 };
const press = (key: string, shift = false, from = view, flat = false) => afterKey(from, { key, shift }, flat);

describe("the keyboard over the map", () => {
  it("moves as the picture lies, by metres on the ground", () => {
    const metres = (to: View | null) => [((to!.lon - view.lon) * 111_320) / 2, (to!.lat - view.lat) * 111_320].map((one) => Math.round(one));
    expect(metres(press("ArrowUp"))).toEqual([0, 120]);
    expect(metres(press("ArrowRight"))).toEqual([120, 0]);
    expect(metres(press("ArrowUp", false, { ...view, heading: 90 }))).toEqual([120, 0]);
    expect(metres(press("ArrowRight", false, { ...view, heading: 90 }))).toEqual([0, -120]);
    expect(press("ArrowRight", false, { ...view, lon: 179.9999 })!.lon).toBeLessThan(-179);
  });
  it("turns and tilts with Shift, within bounds, but not a flat map", () => {
    expect(press("ArrowLeft", true)!.heading).toBe(350);
    expect(press("ArrowUp", true)!.pitch).toBe(-45);
    expect(press("ArrowUp", true, { ...view, pitch: -89 })!.pitch).toBe(-89.5);
    expect(press("ArrowDown", true, { ...view, pitch: -9 })!.pitch).toBe(-8);
    expect(press("ArrowLeft", true, view, true)).toBeNull();
    expect(press("N", true, { ...view, heading: 77 })!.heading).toBe(0);
  });
  it("comes nearer and goes back, and leaves other keys alone", () => {
    expect(press("+")!.range).toBe(800);
    expect(afterKey(press("+")!, { key: "-", shift: false })!.range).toBe(1000);
    expect(press("+", false, { ...view, range: 20 })!.range).toBe(20);
    expect([press("a"), press("Enter"), press("Tab")]).toEqual([null, null, null]);
  });
});
