/** Tools that take clicks on the city: measure, ask an area, look along a line, leave a note. One at a time. */
import type { Statistics } from "./api/types";
import type { CityApp } from "./app";
import { cut, groundHeights, sight, sunHours } from "./cesium/looking";
import type { Place } from "./cesium/pick";
import { Sketch, type Drawing } from "./cesium/sketch";
import { metres, number } from "./core/format";
import { along, areaOf, cellsOf, corridor, lengthOf, toWkt, volumes, type Area, type Length } from "./core/measure";
import type { Layer } from "./core/layers";

export const TOOLS = ["distance", "area", "position", "profile", "select", "box", "corridor", "sight", "sun", "section", "note"] as const;
export type Tool = (typeof TOOLS)[number];

/** Clicks after which a tool is done by itself; the others end with Enter, a double click or the button. */
const CLICKS: Partial<Record<Tool, number>> = { position: 1, sun: 1, note: 1, sight: 2, section: 2, box: 2 };
const RINGS: readonly Tool[] = ["area", "select"];
/** Metres of a standing person's eye above the clicked ground. */
const EYE = 1.6;

export interface LayerAnswer {
  layer: Layer;
  filter: string;
  statistics: Statistics;
}
export type Result =
  | { kind: "length"; length: Length }
  | { kind: "area"; area: Area; level: number; cut: number; fill: number; unknown: number }
  | { kind: "position"; place: Place; rows: [key: "lon" | "lat" | "height" | "zone" | "easting" | "northing", value: string][] }
  | { kind: "profile"; points: { distance: number; ground: number }[]; length: Length }
  | { kind: "select"; area: Area | null; answers: LayerAnswer[] }
  | { kind: "sight"; free: boolean; length: Length }
  | { kind: "sun"; hours: number; lit: { hour: number; sun: boolean }[]; date: string }
  | { kind: "section" };

export class Tools {
  tool: Tool | null = null;
  spots: Place[] = [];
  result: Result | null = null;
  busy = false;
  /** Half the width of a corridor, metres. */
  width = 25;
  sunDate = new Date().toISOString().slice(0, 10);
  private sketch: Sketch | null = null;
  private turn = 0;

  constructor(private readonly app: CityApp) {}

  start(tool: Tool | null): void {
    this.app.drawing.cancel();
    this.turn += 1;
    if (this.tool === "section" && this.app.widget) cut(this.app.widget, this.app.tilesets.all(), null);
    this.tool = tool;
    this.spots = [];
    this.result = null;
    this.busy = false;
    this.draw({});
    this.app.selection.takeNext(tool ? (place) => this.click(place) : null);
    this.app.changed.emit();
  }

  get unfinished(): boolean {
    return this.tool !== null && this.result === null && !this.busy;
  }

  private click(place: Place): void {
    const { tool } = this;
    if (!tool) return;
    if (this.result !== null) {
      this.spots = [];
      this.result = null;
    }
    this.spots.push(place);
    this.app.selection.takeNext((next) => this.click(next));
    if (this.spots.length === CLICKS[tool]) void this.finish();
    else this.draw({ labels: this.running() });
    this.app.changed.emit();
  }

  undo(): void {
    this.spots.pop();
    this.draw({ labels: this.running() });
    this.app.changed.emit();
  }

  private running(): NonNullable<Drawing["labels"]> {
    const last = this.spots[this.spots.length - 1];
    if (!last || this.spots.length < 2 || this.tool === "select" || this.tool === "corridor") return [];
    return [{ at: last, text: metres(this.app.lang, lengthOf(this.spots).slant) }];
  }

  private draw(more: Partial<Drawing>): void {
    const { widget } = this.app;
    if (!widget || widget.isDestroyed()) return;
    this.sketch ??= new Sketch(widget);
    const draped = this.tool === "profile" || this.tool === "corridor";
    this.sketch.draw(this.spots.length > 0 ? { spots: this.spots, closed: this.tool !== null && RINGS.includes(this.tool), draped, ...more } : null);
  }

  /** A scene that was put up anew has none of the old drawings. */
  forget(): void {
    this.sketch = null;
  }

  /** Works out what was drawn. */
  async finish(): Promise<void> {
    const { tool, spots } = this;
    const least = tool && RINGS.includes(tool) ? 3 : CLICKS[tool ?? "position"] ?? 2;
    if (!tool || spots.length < least) return;
    this.busy = true;
    this.app.changed.emit();
    this.turn += 1;
    const { turn } = this;
    try {
      const result = await this.work(tool, spots);
      if (turn === this.turn) this.result = result;
    } catch (error) {
      this.app.notices.set("question", "error.question", { why: error instanceof Error ? error.message : String(error) }, "bad");
    }
    if (turn === this.turn) this.busy = false;
    this.app.changed.emit();
  }

  private async work(tool: Tool, spots: Place[]): Promise<Result | null> {
    const { widget, lang } = this.app;
    if (!widget) return null;
    const last = spots[spots.length - 1]!;
    switch (tool) {
      case "distance": {
        const length = lengthOf(spots);
        this.draw({ labels: [{ at: last, text: metres(lang, length.slant, 2) }] });
        return { kind: "length", length };
      }
      case "area": {
        const area = areaOf(spots);
        const { spots: cells, area: each } = cellsOf(spots);
        const heights = await groundHeights(widget, cells);
        const level = Math.min(...spots.map(({ height }) => height));
        this.draw({ labels: [{ at: last, text: `${number(lang, area.level, 1)} m²` }] });
        return { kind: "area", area, level, ...volumes(heights, each, level) };
      }
      case "position": return this.position(spots[0]!);
      case "profile": {
        const points = along(spots);
        const heights = await groundHeights(widget, points);
        return { kind: "profile", points: points.map(({ distance }, i) => ({ distance, ground: heights[i]! })), length: lengthOf(spots) };
      }
      case "select": return this.ask(toWkt([spots]), areaOf(spots));
      case "box": return this.ask(toWkt([this.boxRing()]), null);
      case "corridor": {
        const rings = corridor(spots, this.width);
        this.draw({ rings });
        return this.ask(toWkt(rings), null);
      }
      case "sight": {
        const eye = { ...spots[0]!, height: spots[0]!.height + EYE };
        const { free, end } = sight(widget, eye, last);
        this.draw({ spots: [], rays: free ? [{ from: eye, to: last, good: true }] : [{ from: eye, to: end, good: true }, { from: end, to: last, good: false }] });
        return { kind: "sight", free, length: lengthOf([eye, last]) };
      }
      case "sun": return { kind: "sun", date: this.sunDate, ...sunHours(widget, last, this.sunDate) };
      case "section": {
        cut(widget, this.app.tilesets.all(), [spots[0]!, last]);
        return { kind: "section" };
      }
      case "note": {
        this.app.notebook.addNote(last);
        this.start(null);
        return null;
      }
    }
  }

  private boxRing(): { lon: number; lat: number }[] {
    const [a, b] = [this.spots[0]!, this.spots[1]!];
    const ring = [{ lon: a.lon, lat: a.lat }, { lon: b.lon, lat: a.lat }, { lon: b.lon, lat: b.lat }, { lon: a.lon, lat: b.lat }];
    this.draw({ spots: [], rings: [ring] });
    return ring;
  }

  private async position(place: Place): Promise<Result> {
    const rows: (Result & { kind: "position" })["rows"] = [["lon", place.lon.toFixed(8)], ["lat", place.lat.toFixed(8)], ["height", `${place.height.toFixed(2)} m`]];
    const { zone } = await this.app.api.position(place.lon, place.lat);
    if (zone) rows.push(["zone", `${zone.crs} · ${zone.zone} · ${zone.meridian}°`], ["easting", `${zone.easting.toFixed(3)} m`], ["northing", `${zone.northing.toFixed(3)} m`]);
    return { kind: "position", place, rows };
  }

  /** What every visible layer with features holds in an area. */
  private async ask(wkt: string, area: Area | null): Promise<Result> {
    const filter = `S_INTERSECTS(geometry, ${wkt})`;
    const layers = this.app.layers.filter((layer) => layer.links.items && layer.kind !== "table" && this.app.states.get(layer.id)?.visible);
    const answers = await Promise.all(layers.map(async (layer) => ({ layer, filter, statistics: await this.app.api.statistics(layer.id, { filter }) })));
    return { kind: "select", area, answers: answers.filter(({ statistics }) => statistics.numberMatched > 0) };
  }
}
