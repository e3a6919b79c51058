/** Ways of looking at the city: sun by date and hour, a ground one sees through, and what stands in the way of a sight or of the sun. */
import {
  Cartesian3, Cartographic, Color, JulianDate, Math as CesiumMath, Matrix3, NearFarScalar, Ray,
  sampleTerrain, sampleTerrainMostDetailed, Simon1994PlanetaryPositions, Transforms, type CesiumWidget,
} from "@cesium/engine";
import { groundHeight, type Place } from "./pick";

/** The moment of a solar hour over a longitude on a date (2026-06-21). */
export function moment(date: string, hour: number, lon: number): JulianDate {
  return JulianDate.addSeconds(JulianDate.fromIso8601(`${date}T00:00:00Z`), (hour - lon / 15) * 3600, new JulianDate());
}

export function shine(widget: CesiumWidget, date: string, hour: number, lon: number): void {
  widget.clock.currentTime = moment(date, hour, lon);
  widget.clock.shouldAnimate = false;
  widget.scene.requestRender();
}

/** Direction to the sun in the earth's frame. */
function sunAt(time: JulianDate): Cartesian3 {
  const inertial = Simon1994PlanetaryPositions.computeSunPositionInEarthInertialFrame(time, new Cartesian3());
  const turn = (Transforms.computeIcrfToFixedMatrix(time, new Matrix3()) as Matrix3 | undefined) ?? Transforms.computeTemeToPseudoFixedMatrix(time, new Matrix3());
  return Cartesian3.normalize(Matrix3.multiplyByVector(turn, inertial, new Cartesian3()), new Cartesian3());
}

/** 0 (solid) … 1 (clear): pipes and basements below show, and the camera may go there. */
export function seeThrough(widget: CesiumWidget, clear: number): void {
  const { globe, screenSpaceCameraController } = widget.scene;
  globe.translucency.enabled = clear > 0;
  globe.translucency.frontFaceAlphaByDistance = new NearFarScalar(200, 1 - clear, 20_000, 1 - clear * 0.6);
  globe.translucency.backFaceAlpha = clear > 0 ? 0 : 1;
  globe.undergroundColor = Color.fromCssColorString("#3b444c");
  screenSpaceCameraController.enableCollisionDetection = clear === 0;
  globe.depthTestAgainstTerrain = clear === 0;
  widget.scene.requestRender();
}

interface Castable {
  pickFromRay(ray: Ray, exclude?: object[]): { object?: unknown; position?: Cartesian3 } | undefined;
}

/** First surface that a ray meets, or null. Cesium draws one pixel for it, so it costs a frame. */
function firstHit(widget: CesiumWidget, ray: Ray, exclude: object[]): Cartesian3 | null {
  return (widget.scene as unknown as Castable).pickFromRay(ray, exclude)?.position ?? null;
}

/** Whether `to` is seen from `from`; if not, where the sight ends. */
export function sight(widget: CesiumWidget, from: Place, to: Place, exclude: object[] = []): { free: boolean; end: Place } {
  const [a, b] = [from, to].map(({ lon, lat, height }) => Cartesian3.fromDegrees(lon, lat, height)) as [Cartesian3, Cartesian3];
  const direction = Cartesian3.normalize(Cartesian3.subtract(b, a, new Cartesian3()), new Cartesian3());
  const hit = firstHit(widget, new Ray(a, direction), exclude);
  // Half a metre before the target is the target's own surface.
  const free = hit === null || Cartesian3.distance(a, hit) >= Cartesian3.distance(a, b) - 0.5;
  if (free || hit === null) return { free: true, end: to };
  const end = Cartographic.fromCartesian(hit);
  return { free: false, end: { lon: CesiumMath.toDegrees(end.longitude), lat: CesiumMath.toDegrees(end.latitude), height: end.height } };
}

/** Hours of sun that reach a spot on a date, by steps of `step` solar hours; what stands around shades it. */
export function sunHours(widget: CesiumWidget, spot: Place, date: string, step = 0.25): { hours: number; lit: { hour: number; sun: boolean }[] } {
  const from = Cartesian3.fromDegrees(spot.lon, spot.lat, spot.height + 0.5);
  const up = widget.scene.globe.ellipsoid.geodeticSurfaceNormal(from, new Cartesian3())!;
  const lit: { hour: number; sun: boolean }[] = [];
  for (let hour = step / 2; hour < 24; hour += step) {
    const direction = sunAt(moment(date, hour, spot.lon));
    if (Cartesian3.dot(direction, up) <= 0.01) continue; // below the horizon, or too low to warm
    lit.push({ hour, sun: firstHit(widget, new Ray(from, direction), []) === null });
  }
  return { hours: lit.filter(({ sun }) => sun).length * step, lit };
}

/** Places along the side of a terrain tile that is just fine enough for them. */
const PER_TILE = 32;
const METRES_PER_DEGREE = 111_320;

/**
 * Ellipsoidal heights of the ground, metres; NaN where there is none. At its finest, or, for places `spacing` metres apart, as fine as they can
 * show: kilometres around at the finest level would be thousands of tiles.
 */
export async function groundHeights(widget: CesiumWidget, spots: readonly { lon: number; lat: number }[], spacing = 0): Promise<number[]> {
  const wanted = spots.map(({ lon, lat }) => Cartographic.fromDegrees(lon, lat));
  const provider = widget.scene.terrainProvider;
  if (!provider.availability) return wanted.map((spot) => groundHeight(widget, spot) ?? 0);
  const level = spacing > 0 ? Math.ceil(Math.log2((180 * METRES_PER_DEGREE) / (spacing * PER_TILE))) : Infinity;
  const { availability } = provider;
  const everywhere = Number.isFinite(level) && wanted.every((spot) => level < availability.computeMaximumLevelAtPosition(spot));
  await (everywhere ? sampleTerrain(provider, level, wanted) : sampleTerrainMostDetailed(provider, wanted));
  return wanted.map(({ height }) => ((height as number | undefined) ?? NaN));
}
