/**
 * Names on the map. Each is drawn once by the browser's own text engine (Cesium's glyph atlas is coarse for Chinese)
 * and shown as a picture; which are shown is decided anew whenever the camera rests.
 */
import {
  BillboardCollection, Cartesian2, Cartesian3, Cartographic, SceneTransforms, VerticalOrigin,
  type Billboard, type CesiumWidget,
} from "@cesium/engine";
import { declutter } from "../core/declutter";
import type { Label } from "../core/labels";
import { groundHeight } from "./pick";

interface Placed {
  label: Label;
  carto: Cartographic;
  width: number;
  height: number;
  color: string;
  billboard: Billboard | null;
}

const FONT = '"PingFang SC","Microsoft YaHei","Noto Sans CJK SC","Source Han Sans SC",system-ui,sans-serif';
const MAX_SHOWN = 90;
/** Numbered things are named within this many metres. */
const SERIAL_REACH = 700;
/** Above this eye height, metres, a city is a dot and its names say nothing. */
const TOO_HIGH = 120_000;
const EARTH_RADIUS = 6_371_000;

export class Labels {
  private readonly collection: BillboardCollection;
  private readonly layers = new Map<string, Placed[]>();
  private readonly ratio = Math.min(2, Math.max(1, window.devicePixelRatio || 1));
  private readonly measure = document.createElement("canvas").getContext("2d")!;
  private due = false;
  private keeps: (place: Cartesian3) => boolean = () => true;

  constructor(private readonly widget: CesiumWidget) {
    this.collection = widget.scene.primitives.add(new BillboardCollection({ scene: widget.scene })) as BillboardCollection;
    widget.camera.percentageChanged = 0.05;
    widget.camera.changed.addEventListener(() => this.arrange());
    widget.camera.moveEnd.addEventListener(() => this.arrange());
    // Terrain that arrives later lifts the labels: place them again when it has settled.
    widget.scene.globe.tileLoadProgressEvent.addEventListener((left: number) => { if (left === 0) this.arrange(); });
  }

  set(layer: string, labels: readonly Label[], color: string): void {
    this.clear(layer);
    this.measure.font = font(1);
    this.layers.set(layer, labels.map((label) => ({
      label,
      carto: Cartographic.fromDegrees(label.lon, label.lat),
      width: this.measure.measureText(label.text).width + 8,
      height: 18,
      color,
      billboard: null,
    })));
    this.arrange();
  }

  /** Names of places that are cut away are not shown. */
  cut(keeps: (place: Cartesian3) => boolean): void {
    this.keeps = keeps;
    this.arrange();
  }

  clear(layer: string): void {
    for (const placed of this.layers.get(layer) ?? []) if (placed.billboard) this.collection.remove(placed.billboard);
    this.layers.delete(layer);
    this.widget.scene.requestRender();
  }

  /** Texts now on the screen. */
  get shown(): string[] {
    return [...this.layers.values()].flat().filter((placed) => placed.billboard?.show).map((placed) => placed.label.text);
  }

  /** Chooses at most once per frame. */
  private arrange(): void {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      if (!this.widget.isDestroyed()) this.choose();
    });
  }

  private choose(): void {
    const { scene, camera } = this.widget;
    const all = [...this.layers.values()].flat();
    const eye = Math.max(1, camera.positionCartographic.height);
    // Names end where they would pile up, and at the horizon, beyond which the globe hides its far side.
    const far = Math.min(Math.max(9000, eye * 4), Math.sqrt(2 * EARTH_RADIUS * eye));
    const seen: { placed: Placed; position: Cartesian3; x: number; y: number; distance: number }[] = [];
    for (const placed of eye > TOO_HIGH ? [] : all) {
      placed.carto.height = groundHeight(this.widget, placed.carto) ?? placed.carto.height;
      const position = Cartographic.toCartesian(placed.carto);
      if (!this.keeps(position)) continue;
      const distance = Cartesian3.distance(position, camera.positionWC);
      if (distance > (placed.label.serial ? Math.min(far, SERIAL_REACH) : far)) continue;
      const pixel = SceneTransforms.worldToWindowCoordinates(scene, position, new Cartesian2()) as Cartesian2 | undefined;
      if (!pixel || pixel.x < 0 || pixel.y < 0 || pixel.x > scene.canvas.clientWidth || pixel.y > scene.canvas.clientHeight) continue;
      seen.push({ placed, position, x: pixel.x, y: pixel.y - 14, distance });
    }
    const chosen = declutter(seen.map(({ placed, x, y, distance }) => ({
      x, y, width: placed.width, height: placed.height,
      // What is already shown stays if it can, or names would flicker while one moves.
      priority: placed.label.priority + (placed.billboard?.show ? 0.3 : 0) - Math.min(0.9, distance / far),
    })), MAX_SHOWN);
    const keep = new Set(chosen.map((index) => seen[index]!.placed));
    for (const placed of all) if (placed.billboard && !keep.has(placed)) placed.billboard.show = false;
    for (const index of chosen) this.show(seen[index]!.placed, seen[index]!.position);
    scene.requestRender();
  }

  private show(placed: Placed, position: Cartesian3): void {
    if (!placed.billboard) {
      placed.billboard = this.collection.add({
        position,
        image: this.paint(placed),
        scale: 1 / this.ratio,
        verticalOrigin: VerticalOrigin.BOTTOM,
        disableDepthTestDistance: Number.POSITIVE_INFINITY,
        id: { label: placed.label.text },
      });
    }
    placed.billboard.position = position;
    placed.billboard.show = true;
  }

  private paint({ label, width, color }: Placed): HTMLCanvasElement {
    const canvas = document.createElement("canvas");
    const dot = label.dot ? 9 : 0;
    canvas.width = Math.ceil(width * this.ratio);
    canvas.height = Math.ceil((18 + dot) * this.ratio);
    const pen = canvas.getContext("2d")!;
    pen.font = font(this.ratio, label.dot);
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    pen.strokeStyle = "rgba(255,255,255,0.92)";
    pen.lineWidth = 3.4 * this.ratio;
    pen.strokeText(label.text, canvas.width / 2, 9.5 * this.ratio);
    pen.fillStyle = label.dot ? "#1d2b36" : "#40566a";
    pen.fillText(label.text, canvas.width / 2, 9.5 * this.ratio);
    if (dot) {
      pen.beginPath();
      pen.arc(canvas.width / 2, (18 + 4.5) * this.ratio, 3.2 * this.ratio, 0, 2 * Math.PI);
      pen.fillStyle = color;
      pen.fill();
      pen.lineWidth = 1.5 * this.ratio;
      pen.strokeStyle = "#ffffff";
      pen.stroke();
    }
    return canvas;
  }
}

const font = (ratio: number, strong = true): string => `${strong ? 600 : 500} ${12.5 * ratio}px ${FONT}`;
