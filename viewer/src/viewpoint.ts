/** Where the reader stands: the opening view, flights, and what is in the picture. */
import { Cartographic, Math as CesiumMath, sampleTerrainMostDetailed } from "@cesium/engine";
import type { Bbox, PlaceFound } from "./api/types";
import type { CityApp } from "./app";
import { ellipsoidAt, groundAt, groundHeight } from "./cesium/pick";
import { awaitGround, flyToView, setFlat, setSun, setView, viewBox, viewFrom } from "./cesium/scene";
import { openingView, together, type View } from "./core/camera";

export class Viewpoint {
  flat = false;

  constructor(private readonly app: CityApp) {}

  /** What the city's picture should hold: the buildings if there are any, else whatever else there is. */
  private focus(): Bbox | null {
    const own = this.app.layers.filter((layer) => !layer.run);
    return together(own.filter(({ kind }) => kind === "blocks" || kind === "mesh")) ?? together(own) ?? this.app.city?.bbox ?? null;
  }

  homeView(ground?: number): View | null {
    const box = this.focus();
    if (!box || !this.app.widget) return null;
    const { clientWidth, clientHeight } = this.app.widget.canvas;
    const blocks = this.app.layers.find((layer) => layer.kind === "blocks" && layer.heights);
    const height = ground ?? blocks?.heights?.[0] ?? this.app.city?.heights?.[0] ?? 0;
    return openingView(box, height, clientWidth / Math.max(1, clientHeight));
  }

  place(): void {
    const view = this.homeView();
    if (!view || !this.app.widget) return;
    setSun(this.app.widget, view.lon, 10);
    setView(this.app.widget, view);
    awaitGround(this.app.widget);
  }

  /** The guess of the ground's height is corrected from the terrain itself, unless the reader has moved meanwhile. */
  async settle(): Promise<void> {
    const { widget } = this.app;
    const guess = this.homeView();
    if (!widget || !guess || !this.app.city?.terrain) return;
    const before = widget.camera.positionWC.clone();
    try {
      const spot = Cartographic.fromDegrees(guess.lon, guess.lat);
      const [sampled] = await sampleTerrainMostDetailed(widget.scene.terrainProvider, [spot]);
      if (!sampled || !Number.isFinite(sampled.height) || Math.abs(sampled.height - guess.height) < 3) return;
      const view = this.homeView(sampled.height);
      if (view && widget.camera.positionWC.equalsEpsilon(before, 0, 0.01)) setView(widget, view);
    } catch {
      // The first guess stands.
    }
  }

  async home(): Promise<void> {
    const guess = this.homeView();
    if (!guess || !this.app.widget) return;
    const ground = this.groundHeight(guess.lon, guess.lat) ?? undefined;
    await flyToView(this.app.widget, this.homeView(ground) ?? guess);
  }

  async zoomTo(box: Bbox, height?: number): Promise<void> {
    if (!this.app.widget) return;
    const ground = height ?? this.groundHeight((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) ?? this.app.city?.heights?.[0] ?? 0;
    const { clientWidth, clientHeight } = this.app.widget.canvas;
    const view = openingView(box, ground, clientWidth / Math.max(1, clientHeight));
    await flyToView(this.app.widget, { ...view, heading: CesiumMath.toDegrees(this.app.widget.camera.heading) });
  }

  /** Flies to something found, switches its layer on and opens its card; a bare position gets a pin. */
  async goTo(place: PlaceFound): Promise<void> {
    if (place.lon === null || place.lat === null || !this.app.widget) return;
    const layer = place.layer ? this.app.layer(place.layer) : undefined;
    if (layer && this.app.states.get(layer.id)?.visible === false) this.app.setState(layer.id, { visible: true });
    const height = this.groundHeight(place.lon, place.lat) ?? this.app.city?.heights?.[0] ?? 0;
    const spot = { lon: place.lon, lat: place.lat, height };
    this.app.marks.showPin(spot);
    if (layer && place.feature !== null) void this.app.selection.showFeature(layer, place.feature, spot);
    await flyToView(this.app.widget, { ...spot, heading: CesiumMath.toDegrees(this.app.widget.camera.heading), pitch: -45, range: 400 });
  }

  /** Nearer (factor < 1) or farther from what the middle of the picture shows. */
  zoom(factor: number): void {
    const view = this.currentView();
    if (view && this.app.widget) void flyToView(this.app.widget, { ...view, range: view.range * factor }, 0.5);
  }

  /** Turns about the middle of the picture; degrees. */
  turn(heading?: number, pitch?: number): void {
    const view = this.currentView();
    if (!view || !this.app.widget) return;
    const next = { ...view, heading: heading ?? view.heading, pitch: pitch ?? view.pitch };
    void flyToView(this.app.widget, next, 0.7).then(() => this.app.changed.emit());
  }

  /** The flat map or the city in the round. */
  setFlat(flat: boolean): void {
    const view = this.currentView();
    if (!this.app.widget || flat === this.flat) return;
    this.flat = flat;
    setFlat(this.app.widget, flat);
    if (view) setView(this.app.widget, flat ? { ...view, heading: 0, pitch: -90 } : { ...view, pitch: -38 });
    this.app.changed.emit();
  }

  get topDown(): boolean {
    return (this.app.widget?.camera.pitch ?? 0) < CesiumMath.toRadians(-85);
  }

  groundHeight(lon: number, lat: number): number | null {
    return (this.app.widget && groundHeight(this.app.widget, Cartographic.fromDegrees(lon, lat))) ?? null;
  }

  currentView(): View | null {
    const { widget } = this.app;
    if (!widget) return null;
    const [x, y] = [widget.canvas.clientWidth / 2, widget.canvas.clientHeight / 2];
    // Where the ground is cut away the ellipsoid stands for it: a link still says where one looks.
    const middle = groundAt(widget, x, y) ?? (this.app.section.box ? ellipsoidAt(widget, x, y) : null);
    return middle && viewFrom(widget, middle);
  }

  viewBox = (): Bbox | null => (this.app.widget ? viewBox(this.app.widget) : null);
}
