/** The stage: globe, sky, sun, fog and how much the machine can bear. Knows nothing of layers. */
import {
  BoundingSphere, buildModuleUrl, Camera, Cartesian2, Cartesian3, CesiumWidget, Color, EllipsoidTerrainProvider, HeadingPitchRange,
  ImageryLayer, JulianDate, Math as CesiumMath, Matrix4, Rectangle, SunLight, TileMapServiceImageryProvider,
} from "@cesium/engine";
// @ts-expect-error: it is there, and Cesium's types leave it out.
import { Texture } from "@cesium/engine";
import type { Bbox } from "../api/types";
import type { View } from "../core/camera";
import type { Detail } from "../core/device";
import { reflectanceTable } from "../core/reflectance";

/** Ground where no picture lies; also what the far globe fades into when one comes near. */
export const GROUND_COLOR = "#e6e5dd";
/** What is behind everything: space, from where the whole earth is seen. */
const SPACE_COLOR = "#0b1a28";

/** What a server without a city shows: the country whose rules for city models this follows, at noon. Degrees. */
const NOWHERE = { west: 88, south: 8, east: 128, north: 48 };

/** Places along a side of the table for reflections. */
const REFLECTIONS = 32;

/** Eye height above the ellipsoid, metres, from which corners are shaded no longer. */
const OCCLUSION_BELOW = 900;

/** The scene, which draws nothing until it is told to (`widget.useDefaultRenderLoop`): a globe seen from afar before the city is known would be work for nothing. */
export function createStage(container: HTMLElement, detail: Detail): CesiumWidget {
  Camera.DEFAULT_VIEW_RECTANGLE = Rectangle.fromDegrees(NOWHERE.west, NOWHERE.south, NOWHERE.east, NOWHERE.north);
  const widget = new CesiumWidget(container, {
    baseLayer: false,
    terrainProvider: new EllipsoidTerrainProvider(),
    skyBox: false,
    // Cesium's own credit line stays out of sight: what the reader sees are our words in the status bar.
    creditContainer: document.createElement("div"),
    creditViewport: document.createElement("div"),
    // Corners are smoothed where the scene is drawn (`msaaSamples`); the canvas only takes a copy.
    contextOptions: { webgl: { antialias: false } },
    useDefaultRenderLoop: false,
    requestRenderMode: true,
    maximumRenderTimeChange: Infinity,
    msaaSamples: detail.samples,
    shadows: detail.shadows,
    showRenderLoopErrors: false,
    useBrowserRecommendedResolution: false,
    orderIndependentTranslucency: detail.quality === "high",
  });
  widget.resolutionScale = detail.resolution;
  if (detail.quality === "low") smallReflections(widget);
  dress(widget, detail);
  setSun(widget, (NOWHERE.west + NOWHERE.east) / 2, 12);
  farGlobe(widget);
  return widget;
}

/**
 * Before it draws its first model Cesium integrates a table for reflections, 256 × 256 places with 1,024 samples each: five seconds where no
 * graphics device does it. A small table, made here, looks the same. There is no public way to hand one over.
 */
function smallReflections({ scene }: CesiumWidget): void {
  const inner = scene as unknown as { context: unknown; _brdfLutGenerator?: { _colorTexture: unknown } };
  if (!inner._brdfLutGenerator) return;
  inner._brdfLutGenerator._colorTexture = new (Texture as new (options: object) => unknown)({
    context: inner.context, width: REFLECTIONS, height: REFLECTIONS, flipY: false,
    source: { arrayBufferView: reflectanceTable(REFLECTIONS), width: REFLECTIONS, height: REFLECTIONS },
  });
}

function dress(widget: CesiumWidget, detail: Detail): void {
  const { scene } = widget;
  const { globe, fog, skyAtmosphere } = scene;
  scene.backgroundColor = Color.fromCssColorString(SPACE_COLOR);
  scene.light = new SunLight({ intensity: 2.0 });
  if (scene.sun) scene.sun.show = false;
  if (scene.moon) scene.moon.show = false;
  globe.show = false;
  globe.baseColor = Color.fromCssColorString(GROUND_COLOR);
  globe.depthTestAgainstTerrain = true;
  globe.enableLighting = true;
  globe.dynamicAtmosphereLighting = true;
  globe.dynamicAtmosphereLightingFromSun = true;
  globe.lambertDiffuseMultiplier = 1.0;
  globe.vertexShadowDarkness = 0.45;
  globe.maximumScreenSpaceError = 1.5 * detail.error;
  globe.tileCacheSize = 300;
  globe.showWaterEffect = false;
  // What lies above the ground that is to be seen is for zooming out: it comes after the first picture (`hurry`).
  globe.preloadAncestors = false;
  fog.enabled = true;
  fog.density = 0.00022;
  fog.minimumBrightness = 0.6;
  fog.screenSpaceErrorFactor = 4;
  if (skyAtmosphere) {
    skyAtmosphere.brightnessShift = 0.05;
    skyAtmosphere.saturationShift = -0.12;
  }
  scene.preUpdate.addEventListener(() => { if (skyAtmosphere) skyAtmosphere.show = skyShows(widget); });
  if (detail.occlusion) {
    // Corners and courtyards a little darker: blocks without textures gain most from it.
    const { ambientOcclusion } = scene.postProcessStages;
    ambientOcclusion.enabled = true;
    Object.assign(ambientOcclusion.uniforms as object, { intensity: 2.0, bias: 0.1, lengthCap: 0.35, directionCount: 8, stepCount: 16 });
    // From high above a pixel is wider than any corner's shade, and what is left is the noise of the depths.
    scene.preUpdate.addEventListener(() => {
      ambientOcclusion.enabled = widget.camera.positionCartographic.height < OCCLUSION_BELOW;
    });
  }
  if (detail.shadows) {
    scene.shadowMap.softShadows = true;
    scene.shadowMap.size = 2048;
    scene.shadowMap.darkness = 0.6;
    scene.shadowMap.maximumDistance = 3000;
    // Cesium's own offsets are for things of a few metres. Over a city a shadow's pixel is metres wide, and with them roofs and walls are
    // striped by their own shadows; looked at from 500 m to 3 km, these are the least that leave none. There is no public way to set them.
    Object.assign((scene.shadowMap as unknown as { _primitiveBias: object })._primitiveBias, { normalOffsetScale: 2.5, depthBias: 0.00025 });
  }
  const control = scene.screenSpaceCameraController;
  control.minimumZoomDistance = 3;
  control.maximumZoomDistance = 30_000_000;
}

/**
 * Cesium gives a frame 5 ms for ground that has come; where the frame itself takes a hundred times that, the picture would wait for frames.
 * Called once the city stands: until then the ground is not to take the line from it.
 */
export function hurry({ scene }: CesiumWidget, detail: Detail): void {
  scene.globe.preloadAncestors = true;
  Object.assign((scene.globe as unknown as { _surface: object })._surface, { _loadQueueTimeSlice: detail.loading });
}

/** Over a city the first houses come before the ground that they stand on: until it does, its colour is behind them and not the dark of space. */
export function awaitGround({ scene }: CesiumWidget): void {
  const { globe } = scene;
  scene.backgroundColor = Color.fromCssColorString(GROUND_COLOR);
  const off = scene.postRender.addEventListener(() => {
    if (!globe.show || !globe.tilesLoaded) return;
    off();
    scene.backgroundColor = Color.fromCssColorString(SPACE_COLOR);
    scene.requestRender();
  });
}

/**
 * Whether any sky may be in the picture. The air costs as much as all the rest where no graphics device draws it, and a reader who looks down on
 * a city has none of it in sight: the earth seen from outside is convex, so with its four corners the whole picture is ground.
 */
function skyShows({ camera, canvas, scene }: CesiumWidget): boolean {
  const { globe } = scene;
  if (globe.translucency.enabled || globe.clippingPlanes) return true;
  const [right, bottom] = [canvas.clientWidth, canvas.clientHeight];
  const corners: [number, number][] = [[0, 0], [right, 0], [0, bottom], [right, bottom]];
  return corners.some(([x, y]) => !camera.pickEllipsoid(new Cartesian2(x, y), globe.ellipsoid));
}

/** Natural Earth ships inside Cesium, so the far globe is there without any network. It fades out near the ground. */
function farGlobe(widget: CesiumWidget): void {
  const url = buildModuleUrl("Assets/Textures/NaturalEarthII");
  const layer = ImageryLayer.fromProviderAsync(
    TileMapServiceImageryProvider.fromUrl(url, { fileExtension: "jpg" }), {});
  layer.saturation = 0.75;
  layer.brightness = 1.1;
  widget.scene.imageryLayers.add(layer);
  const fade = () => {
    const height = widget.camera.positionCartographic.height;
    const alpha = CesiumMath.clamp((height - 30_000) / 170_000, 0, 1);
    if (alpha !== layer.alpha) {
      layer.alpha = alpha;
      layer.show = alpha > 0;
    }
  };
  widget.scene.preUpdate.addEventListener(fade);
}

/** Puts the sun where it stands over `lon` at a local solar hour: the same light whatever the clock on the wall says. */
export function setSun(widget: CesiumWidget, lon: number, hour: number): void {
  const noonUtc = 12 - lon / 15;
  const date = JulianDate.fromIso8601("2024-10-12T00:00:00Z");
  widget.clock.currentTime = JulianDate.addSeconds(date, (noonUtc + hour - 12) * 3600, new JulianDate());
  widget.clock.shouldAnimate = false;
  widget.scene.requestRender();
}

/** Looks from there at once. A flight under way ends: its next frame would take the camera away again. */
export function setView(widget: CesiumWidget, view: View): void {
  widget.camera.cancelFlight();
  const target = Cartesian3.fromDegrees(view.lon, view.lat, view.height);
  widget.camera.lookAt(target, offset(view));
  // lookAt leaves the camera tied to the target; the reader's mouse must turn about the ground instead.
  widget.camera.lookAtTransform(Matrix4.IDENTITY);
  widget.scene.requestRender();
}

export function flyToView(widget: CesiumWidget, view: View, seconds = 1.6): Promise<void> {
  const target = Cartesian3.fromDegrees(view.lon, view.lat, view.height);
  return new Promise((resolve) => {
    const done = () => resolve();
    widget.camera.flyToBoundingSphere(
      new BoundingSphere(target, 1),
      { offset: offset(view), duration: seconds, complete: done, cancel: done });
  });
}

/** A flat map: seen straight from above, without perspective, north up, and no tilting; or the city in the round again. */
export function setFlat(widget: CesiumWidget, flat: boolean): void {
  const { camera, scene } = widget;
  if (flat) camera.switchToOrthographicFrustum();
  else camera.switchToPerspectiveFrustum();
  scene.screenSpaceCameraController.enableTilt = !flat;
  scene.screenSpaceCameraController.enableLook = !flat;
  scene.requestRender();
}

/** The present view, as turning about a point that is in it. */
export function viewFrom(widget: CesiumWidget, { lon, lat, height }: { lon: number; lat: number; height: number }): View {
  const { camera } = widget;
  return {
    lon, lat, height,
    heading: CesiumMath.toDegrees(camera.heading),
    pitch: CesiumMath.toDegrees(camera.pitch),
    range: Cartesian3.distance(camera.positionWC, Cartesian3.fromDegrees(lon, lat, height)),
  };
}

const offset = (view: View) =>
  new HeadingPitchRange(CesiumMath.toRadians(view.heading), CesiumMath.toRadians(view.pitch), view.range);

/** The ground that the picture shows, or null when it shows sky or the whole earth. */
export function viewBox(widget: CesiumWidget): Bbox | null {
  const box = widget.camera.computeViewRectangle(widget.scene.globe.ellipsoid, new Rectangle());
  if (!box) return null;
  return [box.west, box.south, box.east, box.north].map((angle) => CesiumMath.toDegrees(angle)) as Bbox;
}
