/** Heights of what is drawn (buildings, models, points, trees) over a grid, read from one unseen picture taken straight from above. */
import { BoundingRectangle, Cartesian3, Ray, type Camera, type CesiumWidget } from "@cesium/engine";
import { middles, refine, gridAround, type Grid } from "../core/grid";
import { toEcef, toEnu, type Spot } from "../core/measure";
import { groundHeights } from "./looking";

/** Where the picture is taken from, metres above the highest ground: higher than anything that stands on it. */
const ABOVE = 1500;
/** Terrain is asked for at so many places along a side and interpolated between. */
const GROUND_SIDE = 96;

/**
 * The parts of Cesium that `scene.pickFromRayMostDetailed` itself uses and that its types leave out. It loads the finest tiles below a ray
 * as wide as asked and draws them into a picture of one pixel; given a larger picture it draws a map of heights.
 */
interface View {
  camera: Camera & { frustum: { width: number } };
  frustumCommandsList: { near: number; far: number }[];
  pickDepths: ({ framebuffer: object | undefined } | undefined)[];
  destroy(): void;
}
interface Offscreen {
  picking: { _pickOffscreenView: View };
  context: { readPixels(part: { x: number; y: number; width: number; height: number; framebuffer: object }): Uint8Array };
  opaqueFrustumNearOffset: number;
  pickFromRayMostDetailed(ray: Ray, exclude: object[], width: number): Promise<unknown>;
}

/**
 * The upper surface over a grid, metres above the tangent plane of `origin`: the higher of the ground and of what stands on it; NaN where
 * neither is known.
 */
export async function surfaceAround(widget: CesiumWidget, origin: Spot, grid: Grid): Promise<Float64Array> {
  const coarse = gridAround(origin, (grid.cell * grid.columns) / 2, Math.min(GROUND_SIDE, grid.columns));
  const spots = middles(coarse);
  const heights = await groundHeights(widget, spots, coarse.cell);
  const ground = refine(spots.map((spot, i) => toEnu(origin, { ...spot, height: heights[i]! })[2]), coarse, grid);
  const drawn = await drawnFromAbove(widget, origin, grid, ground.reduce((most, up) => (up > most ? up : most), 0) + ABOVE);
  middles(grid).forEach((spot, i) => {
    const up = drawn({ ...spot, height: origin.height });
    if (Number.isFinite(up) && !(ground[i]! >= up)) ground[i] = up;
  });
  return ground;
}

/** Takes the picture; answers with the height, above the tangent plane, of what is drawn over a spot (NaN for nothing). */
async function drawnFromAbove(widget: CesiumWidget, origin: Spot, grid: Grid, above: number): Promise<(spot: Spot) => number> {
  const scene = widget.scene as unknown as Offscreen;
  const { picking, context } = scene;
  const plain = picking._pickOffscreenView;
  const side = Math.min(1024, grid.columns * 2);
  const width = grid.cell * grid.columns * 1.01;
  const middle = Cartesian3.fromDegrees(origin.lon, origin.lat, origin.height);
  const up = widget.scene.globe.ellipsoid.geodeticSurfaceNormal(middle, new Cartesian3())!;
  const top = Cartesian3.add(middle, Cartesian3.multiplyByScalar(up, above, new Cartesian3()), new Cartesian3());
  const Larger = plain.constructor as new (scene: unknown, camera: unknown, viewport: BoundingRectangle) => View;
  const view = new Larger(scene, plain.camera, new BoundingRectangle(0, 0, side, side));
  const usual = plain.camera.frustum.width;
  picking._pickOffscreenView = view;
  // What was drawn with the mouse is not part of the city.
  widget.entities.show = false;
  try {
    const taken = scene.pickFromRayMostDetailed(new Ray(top, Cartesian3.negate(up, new Cartesian3())), [], width);
    const keep = window.setInterval(() => widget.scene.requestRender(), 30);
    await taken.finally(() => window.clearInterval(keep));
    const { right, up: ahead } = plain.camera;
    const [x, y] = [Cartesian3.clone(right), Cartesian3.clone(ahead)];
    const depths = view.frustumCommandsList.map((frustum, i) => {
      const framebuffer = view.pickDepths[i]?.framebuffer;
      const start = frustum.near * (i === 0 ? 1 : scene.opaqueFrustumNearOffset);
      return framebuffer ? { start, span: frustum.far - start, pixels: context.readPixels({ x: 0, y: 0, width: side, height: side, framebuffer }) } : null;
    });
    return (spot) => {
      const off = Cartesian3.subtract(Cartesian3.fromArray(toEcef(spot)), top, new Cartesian3());
      const column = Math.floor((Cartesian3.dot(off, x) / width + 0.5) * side);
      const row = Math.floor((Cartesian3.dot(off, y) / width + 0.5) * side);
      if (column < 0 || row < 0 || column >= side || row >= side) return NaN;
      for (const part of depths) {
        const depth = part ? unpacked(part.pixels, 4 * (row * side + column)) : 0;
        if (part && depth > 0 && depth < 1) return above - (part.start + depth * part.span);
      }
      return NaN;
    };
  } finally {
    picking._pickOffscreenView = plain;
    plain.camera.frustum.width = usual;
    widget.entities.show = true;
    view.destroy();
    widget.scene.requestRender();
  }
}

/** Cesium packs a depth of 0…1 into four bytes. */
function unpacked(pixels: Uint8Array, at: number): number {
  return (pixels[at]! + pixels[at + 1]! / 255 + pixels[at + 2]! / 65025 + pixels[at + 3]! / 16581375) / 255;
}
