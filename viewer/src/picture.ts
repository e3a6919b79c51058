/** The scene as a picture in the shape of a frame, as fine as the graphics device allows. */
import { Cartesian3 } from "@cesium/engine";
import type { CityApp } from "./app";
import { groundAt } from "./cesium/pick";

/** Times finer than the screen at most, and pixels along a side at most: what graphics devices bear. */
const FINER = 3;
const MOST_PIXELS = 4096;

export interface Snapshot {
  /** JPEG as a data URL; as wide to high as asked. */
  url: string;
  /** Of the city across the picture, at its middle; null where that shows no ground. */
  metresAcross: number | null;
}

/** Cuts the middle of the scene to `shape` (width over height), `pixels` wide if the device can. */
export function snapshot(app: CityApp, shape: number, pixels: number): Snapshot {
  const { widget } = app;
  if (!widget) throw new Error("no scene");
  const { canvas } = widget;
  const [wide, high] = [canvas.clientWidth, canvas.clientHeight];
  const across = Math.min(wide, high * shape);
  const perPixel = metresPerPixel(app);
  const usual = widget.resolutionScale;
  const now = canvas.width / wide;
  const scale = Math.min(FINER * now, pixels / across, MOST_PIXELS / Math.max(wide, high));
  try {
    if (scale > now) {
      widget.resolutionScale = (usual * scale) / now;
      widget.resize();
    }
    widget.render();
    const k = canvas.width / wide;
    const cut = document.createElement("canvas");
    [cut.width, cut.height] = [Math.round(across * k), Math.round((across / shape) * k)];
    cut.getContext("2d")!.drawImage(canvas, Math.round(((wide - across) / 2) * k), Math.round(((high - across / shape) / 2) * k), cut.width, cut.height, 0, 0, cut.width, cut.height);
    return { url: cut.toDataURL("image/jpeg", 0.92), metresAcross: perPixel && perPixel * across };
  } finally {
    if (widget.resolutionScale !== usual) {
      widget.resolutionScale = usual;
      widget.resize();
      widget.render();
    }
  }
}

/** Along the picture's width at its middle; in a slanting view the front is larger and the back smaller. */
export function metresPerPixel({ widget }: CityApp): number | null {
  if (!widget) return null;
  const { clientWidth, clientHeight } = widget.canvas;
  const [a, b] = [-50, 50].map((dx) => groundAt(widget, clientWidth / 2 + dx, clientHeight / 2));
  if (!a || !b) return null;
  return Cartesian3.distance(Cartesian3.fromDegrees(a.lon, a.lat, a.height), Cartesian3.fromDegrees(b.lon, b.lat, b.height)) / 100;
}

export function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 30_000);
}
