/** Cutting the city open: an upright plane, a box, or both. What lies outside any of their planes is not drawn. */
import { Cartesian3, ClippingPlane, ClippingPlaneCollection, Color, Matrix4, type Cesium3DTileset, type CesiumWidget } from "@cesium/engine";
import { facesOf, type SectionBox } from "../core/section";
import type { Place } from "./pick";

/** A plane in the earth's frame; what lies on the side of its normal stays. */
interface Cut {
  point: Cartesian3;
  normal: Cartesian3;
}
type Clipped = { clippingPlanes: ClippingPlaneCollection | undefined };

const EDGE = Color.fromCssColorString("#d9620a");
/** Of the coloured edge along a cut, pixels. */
const EDGE_WIDTH = 1.5;

const scratch = new Cartesian3();

export class Cuts {
  private plane: Cut[] = [];
  private box: Cut[] = [];
  private ground = true;
  /** Counts changes, so that a tileset knows whether it is cut as it should be. */
  private turn = 0;
  private readonly done = new WeakMap<object, number>();

  /** What lies right of the way from the first place to the second goes; null for none. */
  setPlane(line: readonly [Place, Place] | null): void {
    this.turn += 1;
    this.plane = [];
    if (!line) return;
    const [from, to] = line.map(({ lon, lat, height }) => Cartesian3.fromDegrees(lon, lat, height)) as [Cartesian3, Cartesian3];
    const [away, over] = line.map(({ lon, lat, height }) => Cartesian3.fromDegrees(lon, lat, height + 100)) as [Cartesian3, Cartesian3];
    const up = Cartesian3.subtract(away, from, over);
    const left = Cartesian3.cross(up, Cartesian3.subtract(to, from, new Cartesian3()), new Cartesian3());
    if (Cartesian3.magnitude(left) > 1e-6) this.plane = [{ point: from, normal: Cartesian3.normalize(left, left) }];
  }

  /** Only what is in the box stays; null for all. */
  setBox(box: SectionBox | null): void {
    this.turn += 1;
    this.ground = box?.ground ?? true;
    this.box = box ? facesOf(box).map(({ middle, outward }) =>
      ({ point: Cartesian3.fromArray(middle), normal: Cartesian3.negate(Cartesian3.fromArray(outward), new Cartesian3()) })) : [];
  }

  /** Cuts everything that is not yet cut as it should be. */
  apply(widget: CesiumWidget, tilesets: readonly Cesium3DTileset[]): void {
    const { globe } = widget.scene;
    const changed = tilesets.map((tileset) =>
      this.put(tileset as unknown as Clipped, [...this.plane, ...this.box], () => (tileset as unknown as { clippingPlanesOriginMatrix: Matrix4 }).clippingPlanesOriginMatrix));
    changed.push(this.put(globe as unknown as Clipped, [...this.plane, ...(this.ground ? this.box : [])], () => Matrix4.IDENTITY));
    if (changed.some(Boolean)) widget.scene.requestRender();
  }

  /** Shows the coloured edges along the cuts, or the cuts alone, as on paper. */
  edges(widget: CesiumWidget, tilesets: readonly Cesium3DTileset[], shown: boolean): void {
    for (const { clippingPlanes } of [widget.scene.globe, ...tilesets] as unknown as Clipped[]) if (clippingPlanes) clippingPlanes.edgeWidth = shown ? EDGE_WIDTH : 0;
  }

  /** Whether the ground at a place is still there. */
  keeps(place: Cartesian3): boolean {
    return [...this.plane, ...(this.ground ? this.box : [])].every(({ point, normal }) => Cartesian3.dot(Cartesian3.subtract(place, point, scratch), normal) >= 0);
  }

  private put(what: Clipped, cuts: readonly Cut[], frame: () => Matrix4): boolean {
    if ((this.done.get(what) ?? 0) === this.turn) return false;
    this.done.set(what, this.turn);
    // Models go on referring to a collection that was taken away, and fail with it; so each keeps its own, and it is switched off.
    const kept = what.clippingPlanes ?? new ClippingPlaneCollection({ unionClippingRegions: true, edgeWidth: EDGE_WIDTH, edgeColor: EDGE });
    kept.removeAll();
    for (const plane of cuts.length > 0 ? planes(cuts, frame()) : []) kept.add(plane);
    kept.enabled = cuts.length > 0;
    if (what.clippingPlanes !== kept) what.clippingPlanes = kept;
    return true;
  }
}

/** Planes given in the earth's frame, written in the frame that `origin` maps to the earth's. */
function planes(cuts: readonly Cut[], origin: Matrix4): ClippingPlane[] {
  const back = Matrix4.inverseTransformation(origin, new Matrix4());
  return cuts.map(({ point, normal }) => {
    const [p, n] = [Matrix4.multiplyByPoint(back, point, new Cartesian3()), Matrix4.multiplyByPointAsVector(back, normal, new Cartesian3())];
    Cartesian3.normalize(n, n);
    return new ClippingPlane(n, -Cartesian3.dot(n, p));
  });
}
