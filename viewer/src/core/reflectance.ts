/**
 * How much a rough surface mirrors: the two factors of Karis's split sum, F₀ · A + B, which glTF's shading model reads from a table.
 * GGX with Smith's visibility and Schlick's Fresnel (Karis, "Real Shading in Unreal Engine 4", 2013, equation 8).
 */

/** @param roughness perceptual, 0 … 1; `facing` cosine between view and normal, 0 … 1. Importance sampling with `samples` directions. */
export function reflectance(facing: number, roughness: number, samples = 256): [number, number] {
  const alpha2 = roughness ** 4;
  const across = Math.sqrt(Math.max(0, 1 - facing * facing));
  let [a, b] = [0, 0];
  for (let i = 0; i < samples; i++) {
    const turn = (2 * Math.PI * (i + 0.5)) / samples;
    const share = mirroredBits(i);
    const cos = Math.sqrt((1 - share) / (1 + (alpha2 - 1) * share));
    const half = Math.sqrt(Math.max(0, 1 - cos * cos)) * Math.cos(turn);
    const viewHalf = across * half + facing * cos;
    const light = 2 * viewHalf * cos - facing;
    if (light <= 0 || viewHalf <= 0) continue;
    const smith = light * Math.sqrt(facing * facing * (1 - alpha2) + alpha2) + facing * Math.sqrt(light * light * (1 - alpha2) + alpha2);
    const seen = (2 * viewHalf * light) / (smith * cos);
    const grazing = (1 - viewHalf) ** 5;
    a += (1 - grazing) * seen;
    b += grazing * seen;
  }
  return [a / samples, b / samples];
}

/** Bits of `i` behind the binary point, turned round (van der Corput). */
function mirroredBits(i: number): number {
  let [left, place, sum] = [i, 0.5, 0];
  for (; left > 0; left >>= 1, place /= 2) sum += (left & 1) * place;
  return sum;
}

/** RGBA bytes of a table, `size` × `size`: facing along a row, roughness from row to row, the first nearest to 0. */
export function reflectanceTable(size: number): Uint8Array {
  const bytes = new Uint8Array(4 * size * size);
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const [a, b] = reflectance((column + 0.5) / size, (row + 0.5) / size);
      bytes.set([Math.round(255 * Math.min(1, a)), Math.round(255 * Math.min(1, b)), 0, 255], 4 * (row * size + column));
    }
  }
  return bytes;
}
