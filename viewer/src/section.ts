/** The city cut open: an upright plane while its tool is in hand, and a box that stays until it is taken away. */
import type { CityApp } from "./app";
import { BoxHandles } from "./cesium/box-handles";
import { Cuts } from "./cesium/cuts";
import type { Place } from "./cesium/pick";
import { moved, type Face, type SectionBox } from "./core/section";

export class Section {
  box: SectionBox | null = null;
  private cuts = new Cuts();
  private handles: BoxHandles | null = null;
  private plane: readonly [Place, Place] | null = null;

  constructor(private readonly app: CityApp) {
    // Layers that come later are cut too.
    app.changed.on(() => { if (this.box || this.plane) this.apply(); });
  }

  setPlane(line: readonly [Place, Place] | null): void {
    if (!line && !this.plane) return;
    this.plane = line;
    this.cuts.setPlane(line);
    this.apply();
  }

  setBox(box: SectionBox | null): void {
    if (!box && !this.box) return;
    this.box = box;
    this.cuts.setBox(box);
    this.drawHandles();
    this.apply();
    this.app.changed.emit();
  }

  move(face: Face, to: number): void {
    if (this.box) this.setBox(moved(this.box, face, to));
  }

  /** The scene was put up anew. */
  renew(): void {
    this.handles?.destroy();
    this.handles = null;
    this.cuts = new Cuts();
    this.cuts.setPlane(this.plane);
    this.cuts.setBox(this.box);
    this.drawHandles();
  }

  /** What is done without edges and knobs in the picture. */
  unmarked<T>(act: () => T): T {
    this.mark(false);
    try {
      return act();
    } finally {
      this.mark(true);
    }
  }

  private mark(shown: boolean): void {
    const { widget, tilesets } = this.app;
    this.handles?.show(shown);
    if (widget && !widget.isDestroyed()) this.cuts.edges(widget, tilesets.all(), shown);
  }

  private drawHandles(): void {
    const { widget } = this.app;
    if (!widget || widget.isDestroyed() || (!this.box && !this.handles)) return;
    this.handles ??= new BoxHandles(widget, (box) => this.setBox(box));
    this.handles.draw(this.box);
  }

  private apply(): void {
    const { widget, tilesets, labels } = this.app;
    if (!widget || widget.isDestroyed()) return;
    this.cuts.apply(widget, tilesets.all());
    labels.cut((place) => this.cuts.keeps(place));
  }
}
