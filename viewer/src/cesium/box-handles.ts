/** The edges of a section box, and a knob on each face that is dragged along its way. */
import {
  ArcType, CallbackPositionProperty, CallbackProperty, Cartesian2, Cartesian3, Color, ScreenSpaceEventHandler, ScreenSpaceEventType, type CesiumWidget, type Entity,
} from "@cesium/engine";
import { cornersOf, facesOf, moved, nearestAlong, type FaceAt, type SectionBox, type Vector } from "../core/section";

const EDGE = Color.fromCssColorString("#d9620a");
const PAIRS = [[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7]] as const;
/** Pixels about a knob in which the mouse takes hold of it. */
const GRIP = 14;

export class BoxHandles {
  private entities: Entity[] = [];
  private box: SectionBox | null = null;
  private corners: Cartesian3[] = [];
  private middles: Cartesian3[] = [];
  private held: { at: FaceAt; start: number; from: number } | null = null;
  private readonly handler: ScreenSpaceEventHandler;

  /** @param change told of the new box while a knob is dragged. */
  constructor(private readonly widget: CesiumWidget, private readonly change: (box: SectionBox) => void) {
    this.handler = new ScreenSpaceEventHandler(widget.canvas);
    this.handler.setInputAction(({ position }: { position: Cartesian2 }) => this.take(position), ScreenSpaceEventType.LEFT_DOWN);
    this.handler.setInputAction(({ endPosition }: { endPosition: Cartesian2 }) => this.drag(endPosition), ScreenSpaceEventType.MOUSE_MOVE);
    this.handler.setInputAction(() => this.release(), ScreenSpaceEventType.LEFT_UP);
  }

  draw(box: SectionBox | null): void {
    this.box = box;
    if (box) {
      this.corners = cornersOf(box).map((corner) => Cartesian3.fromArray(corner));
      this.middles = facesOf(box).map(({ middle }) => Cartesian3.fromArray(middle));
      if (this.entities.length === 0) this.put();
    } else {
      for (const entity of this.entities) this.widget.entities.remove(entity);
      this.entities = [];
      this.widget.canvas.style.cursor = "";
    }
    this.widget.scene.requestRender();
  }

  /** Positions are asked for with each frame, so that edges and knobs keep up with the mouse. */
  private put(): void {
    const edges = PAIRS.map(([a, b]) => this.widget.entities.add({
      polyline: { positions: new CallbackProperty(() => [this.corners[a]!, this.corners[b]!], false), width: 2, arcType: ArcType.NONE, material: EDGE },
    }));
    const knobs = this.middles.map((_, i) => this.widget.entities.add({
      position: new CallbackPositionProperty(() => this.middles[i], false),
      point: { pixelSize: 13, color: Color.WHITE, outlineColor: EDGE, outlineWidth: 4, disableDepthTestDistance: Number.POSITIVE_INFINITY },
    }));
    this.entities = [...edges, ...knobs];
  }

  /** Whether edges and knobs are drawn; a printed sheet shows the cut, not the tool. */
  show(shown: boolean): void {
    for (const entity of this.entities) entity.show = shown;
  }

  destroy(): void {
    if (!this.handler.isDestroyed()) this.handler.destroy();
  }

  private take(mouse: Cartesian2): void {
    if (!this.box) return;
    const near = facesOf(this.box).map((at) => ({ at, away: this.pixelsFrom(at.middle, mouse) })).filter(({ away }) => away <= GRIP).sort((a, b) => a.away - b.away)[0];
    const start = near && this.along(near.at, mouse);
    if (!near || start === null || start === undefined) return;
    this.held = { at: near.at, start, from: this.box[near.at.face] };
    this.widget.scene.screenSpaceCameraController.enableInputs = false;
  }

  private drag(mouse: Cartesian2): void {
    if (!this.box) return;
    if (!this.held) {
      const over = facesOf(this.box).some(({ middle }) => this.pixelsFrom(middle, mouse) <= GRIP);
      this.widget.canvas.style.cursor = over ? "grab" : "";
      return;
    }
    const { at, start, from } = this.held;
    const now = this.along(at, mouse);
    if (now === null) return;
    const outward = at.face === "east" || at.face === "north" || at.face === "top" ? 1 : -1;
    this.change(moved(this.box, at.face, from + outward * (now - start)));
  }

  private release(): void {
    if (!this.held) return;
    this.held = null;
    this.widget.scene.screenSpaceCameraController.enableInputs = true;
    this.widget.canvas.style.cursor = "";
  }

  private pixelsFrom(point: Vector, mouse: Cartesian2): number {
    const spot = this.widget.scene.cartesianToCanvasCoordinates(Cartesian3.fromArray(point), new Cartesian2()) as Cartesian2 | undefined;
    return spot ? Cartesian2.distance(spot, mouse) : Infinity;
  }

  private along({ middle, outward }: FaceAt, mouse: Cartesian2): number | null {
    const ray = this.widget.camera.getPickRay(mouse);
    if (!ray) return null;
    const { origin, direction } = ray;
    return nearestAlong(middle, outward, [origin.x, origin.y, origin.z], [direction.x, direction.y, direction.z]);
  }
}
