/** The table for reflections against what is known of it in closed form. */
import { describe, expect, it } from "vitest";
import { reflectance, reflectanceTable } from "../src/core/reflectance";

/** The same two integrals by brute force: the whole BRDF over the hemisphere of light, in even steps of angle. */
function summed(facing: number, roughness: number, steps = 300): [number, number] {
  const alpha2 = roughness ** 4;
  const view = [Math.sqrt(1 - facing * facing), 0, facing] as const;
  let [a, b] = [0, 0];
  for (let i = 0; i < steps; i++) for (let j = 0; j < steps; j++) {
    const [polar, turn] = [(Math.PI / 2) * ((i + 0.5) / steps), 2 * Math.PI * ((j + 0.5) / steps)];
    const light = [Math.sin(polar) * Math.cos(turn), Math.sin(polar) * Math.sin(turn), Math.cos(polar)] as const;
    const middle = light.map((value, axis) => value + view[axis]!);
    const length = Math.hypot(...middle);
    const [up, along] = [middle[2]! / length, (view[0] * middle[0]! + view[2] * middle[2]!) / length];
    const spread = alpha2 / (Math.PI * (up * up * (alpha2 - 1) + 1) ** 2);
    const lambda = (cos: number): number => (Math.sqrt(1 + (alpha2 * (1 - cos * cos)) / (cos * cos)) - 1) / 2;
    const shadow = 1 / (1 + lambda(light[2]) + lambda(facing));
    const part = (spread * shadow) / (4 * facing) * Math.sin(polar) * (Math.PI / 2 / steps) * (2 * Math.PI / steps);
    a += part * (1 - (1 - along) ** 5);
    b += part * (1 - along) ** 5;
  }
  return [a, b];
}

describe("reflectance", () => {
  it("is Schlick's Fresnel on a mirror", () => {
    for (const facing of [0.1, 0.3, 0.7, 1]) {
      const grazing = (1 - facing) ** 5;
      const [a, b] = reflectance(facing, 0.01);
      expect(a).toBeCloseTo(1 - grazing, 2);
      expect(b).toBeCloseTo(grazing, 2);
    }
  });
  it("agrees with the integral over all light on rough surfaces", () => {
    for (const facing of [0.2, 0.5, 0.9]) for (const roughness of [0.4, 0.7, 1]) {
      const [found, whole] = [reflectance(facing, roughness), summed(facing, roughness)];
      expect(Math.abs(found[0] - whole[0]), `${facing} ${roughness}`).toBeLessThan(0.012);
      expect(Math.abs(found[1] - whole[1]), `${facing} ${roughness}`).toBeLessThan(0.004);
    }
  });
  it("is laid out as the shader reads it", () => {
    const size = 8;
    const table = reflectanceTable(size);
    const [a, b] = reflectance(6.5 / size, 1.5 / size);
    expect([...table.subarray(4 * (size + 6), 4 * (size + 6) + 4)]).toEqual([Math.round(255 * a), Math.round(255 * b), 0, 255]);
  });
});
