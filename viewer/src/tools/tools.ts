/** Tools that take clicks on the city, one at a time: which is in hand, what was clicked, what came of it. */
import type { CityApp } from "../app";
import { Overlay } from "../cesium/overlay";
import type { Place } from "../cesium/pick";
import type { Drawing } from "../cesium/sketch";
import { metres } from "../core/format";
import { lengthOf } from "../core/measure";
import { ASKING } from "./asking";
import { Corners } from "./corners";
import { MEASURING } from "./measuring";
import { EYE, SEEING } from "./seeing";
import type { Kind, Result, Settings, Tool } from "./types";
import { filled, WATER } from "./water";

export const KINDS: Record<Tool, Kind> = { ...MEASURING, ...ASKING, ...SEEING, ...WATER };

export class Tools {
  tool: Tool | null = null;
  result: Result | null = null;
  busy = false;
  settings: Settings = { width: 25, sunDate: new Date().toISOString().slice(0, 10), eye: EYE, radius: 300, heading: 0, sector: 360, basin: 500 };
  private readonly corners: Corners;
  private overlay: Overlay | null = null;
  private turn = 0;

  constructor(private readonly app: CityApp) {
    this.corners = new Corners(app, () => this.look());
  }

  get kind(): Kind | null {
    return this.tool && KINDS[this.tool];
  }
  get spots(): readonly Place[] {
    return this.corners.spots;
  }
  get unfinished(): boolean {
    return this.tool !== null && this.result === null && !this.busy;
  }

  start(tool: Tool | null): void {
    this.app.drawing.cancel();
    this.turn += 1;
    if (this.tool === "section") this.app.section.setPlane(null);
    this.overlay?.clear();
    this.tool = tool;
    this.result = null;
    this.busy = false;
    if (tool) this.corners.collect(() => this.clicked());
    else this.corners.stop();
    this.app.changed.emit();
  }

  /** After a result the next click begins anew. */
  private clicked(): boolean {
    const { kind, corners } = this;
    if (!kind) return false;
    if (this.result !== null) {
      this.result = null;
      corners.spots.splice(0, corners.spots.length - 1);
      corners.draw();
    }
    if (kind.ends && corners.spots.length === kind.least) void this.finish();
    return true;
  }

  undo(): void {
    this.corners.undo();
  }

  /** Changes a setting; what was found with another is worked out again. */
  set(change: Partial<Settings>): void {
    this.settings = { ...this.settings, ...change };
    if (this.result !== null || this.busy) void this.finish();
    this.app.changed.emit();
  }

  /** Water of a flood preview at another level, ellipsoidal metres. */
  setLevel(level: number): void {
    if (this.result?.kind !== "flood" || !this.overlay || !Number.isFinite(level)) return;
    this.result = filled(this.result, level, this.overlay);
    this.app.changed.emit();
  }

  private look(): Partial<Drawing> {
    const { spots, kind } = this;
    const last = spots[spots.length - 1];
    const labels = kind?.running && last && spots.length > 1 ? [{ at: last, text: metres(this.app.lang, lengthOf(spots).slant) }] : [];
    return { closed: kind?.closed ?? false, draped: kind?.draped ?? false, labels };
  }

  /** A scene that was put up anew has none of the old drawings. */
  forget(): void {
    this.corners.forget();
    this.overlay = null;
  }

  /** Works out what was clicked. */
  async finish(): Promise<void> {
    const { kind, app } = this;
    const { widget } = app;
    if (!kind || !widget || this.spots.length < kind.least) return;
    this.busy = true;
    this.turn += 1;
    const { turn } = this;
    app.changed.emit();
    this.overlay ??= new Overlay(widget);
    try {
      const result = await kind.work({ app, widget, spots: [...this.spots], settings: this.settings, overlay: this.overlay, draw: (more) => this.corners.draw(more) });
      if (turn !== this.turn) return;
      this.result = result;
      if (result === null) return this.start(null);
    } catch (error) {
      if (turn !== this.turn) return;
      app.notices.set("question", "error.question", { why: app.why(error) }, "bad");
    }
    this.busy = false;
    app.changed.emit();
  }
}
