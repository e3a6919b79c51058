/** Drawing one thing on the map for a form: a point, a line, an area. The next clicks belong to it until it is finished or left. */
import type { CityApp } from "../app";
import type { Place } from "../cesium/pick";
import { Sketch } from "../cesium/sketch";
import { Corners } from "./corners";

export type Shape = "point" | "line" | "polygon";
export interface Order {
  shape: Shape;
  /** Which field it is for, so that the form can show it. */
  name: string;
  /** Gets the corners as [lon, lat] with seven decimals (a centimetre). */
  done: (places: [number, number][]) => void;
  /** Corners that a line needs. */
  least?: number;
}

export class Drawing {
  order: Order | null = null;
  private readonly corners: Corners;

  constructor(private readonly app: CityApp) {
    this.corners = new Corners(app, () => ({ closed: this.order?.shape === "polygon", draped: true }));
  }

  get spots(): readonly Place[] {
    return this.corners.spots;
  }

  start(order: Order): void {
    this.app.tools.start(null);
    this.order = order;
    this.corners.collect(() => {
      if (order.shape === "point") this.finish();
      return this.order === order;
    });
  }

  get least(): number {
    return this.order?.least ?? { point: 1, line: 2, polygon: 3 }[this.order?.shape ?? "point"];
  }

  undo(): void {
    this.corners.undo();
  }

  finish(): void {
    const { order, spots } = this;
    if (!order || spots.length < this.least) return;
    this.cancel();
    const round = (angle: number): number => Number(angle.toFixed(7));
    order.done(spots.map(({ lon, lat }) => [round(lon), round(lat)]));
  }

  cancel(): void {
    if (!this.order) return;
    this.order = null;
    this.corners.stop();
  }

  /** A scene that was put up anew has none of the old drawings. */
  forget(): void {
    this.corners.forget();
    this.shown = [];
    this.last = "";
  }

  // --- what a form already holds ------------------------------------------------------------------------------------

  private shown: Sketch[] = [];
  private last = "";

  /** Keeps the lines and places of a form on the map; an empty list clears them. */
  show(lines: readonly { places: readonly (readonly number[])[]; closed: boolean }[]): void {
    const { widget } = this.app;
    const now = JSON.stringify(lines);
    if (!widget || widget.isDestroyed() || now === this.last) return;
    this.last = now;
    for (const sketch of this.shown) sketch.draw(null);
    this.shown = lines.map(({ places, closed }) => {
      const sketch = new Sketch(widget);
      const spots = places.map(([lon = 0, lat = 0]) => ({ lon, lat, height: this.app.camera.groundHeight(lon, lat) ?? 0 }));
      sketch.draw({ spots, closed, draped: true });
      return sketch;
    });
  }
}
