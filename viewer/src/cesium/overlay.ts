/** A picture laid over a box of ground, as a tool paints it anew. */
import { CallbackProperty, ClassificationType, ImageMaterialProperty, Rectangle, type CesiumWidget, type Entity } from "@cesium/engine";
import type { Bbox } from "../api/types";

export class Overlay {
  private entity: Entity | null = null;
  private picture: HTMLCanvasElement | null = null;
  private place = "";

  constructor(private readonly widget: CesiumWidget) {}

  /** Shows a picture; `over` says whether it lies on buildings too. Another picture of the same place only takes its place. */
  show(box: Bbox, picture: HTMLCanvasElement, over: boolean): void {
    this.picture = picture;
    const place = JSON.stringify([box, over]);
    if (!this.entity || place !== this.place) {
      this.clear();
      this.picture = picture;
      this.place = place;
      this.entity = this.widget.entities.add({
        rectangle: {
          coordinates: Rectangle.fromDegrees(...box),
          // A property that is asked each time: the picture changes without the geometry being made again.
          material: new ImageMaterialProperty({ image: new CallbackProperty(() => this.picture, false), transparent: true }),
          classificationType: over ? ClassificationType.BOTH : ClassificationType.TERRAIN,
        },
      });
    }
    this.widget.scene.requestRender();
  }

  clear(): void {
    if (this.entity && !this.widget.isDestroyed()) this.widget.entities.remove(this.entity);
    this.entity = null;
    this.picture = null;
    if (!this.widget.isDestroyed()) this.widget.scene.requestRender();
  }
}

/** A picture of a grid, one pixel a cell (doubled where a pattern wants finer ones), coloured by `paint`: red, green, blue, alpha 0…255. */
export function painted(columns: number, rows: number, scale: number, paint: (index: number, x: number, y: number) => readonly [number, number, number, number]): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = columns * scale;
  canvas.height = rows * scale;
  const pen = canvas.getContext("2d")!;
  const image = pen.createImageData(canvas.width, canvas.height);
  for (let y = 0; y < canvas.height; y += 1) {
    for (let x = 0; x < canvas.width; x += 1) {
      image.data.set(paint(Math.floor(y / scale) * columns + Math.floor(x / scale), x, y), 4 * (y * canvas.width + x));
    }
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}
