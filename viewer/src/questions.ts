/** What the reader asks of layers: colours by an attribute, which features to show, and how many those are. */
import { ApiError } from "./api/client";
import type { CityApp } from "./app";
import { places, toCql2, type Condition } from "./core/filter";
import type { Layer } from "./core/layers";
import { pointLegend } from "./core/points";
import type { Thematic } from "./core/thematic";

/** Features that a place may leave in the tiles; more are not asked one by one. */
const MOST = 200_000;
const PAGE = 10_000;

export class Questions {
  /** How many features match a layer's conditions, or why that is not known. */
  readonly matched = new Map<string, number | string>();
  private readonly latest = new Map<string, number>();

  constructor(private readonly app: CityApp) {}

  /** Colours a layer by a column; null gives it its own colours again. */
  async colour(layer: Layer, thematic: Thematic | null): Promise<void> {
    const turn = this.turn(`colour:${layer.id}`);
    this.app.setState(layer.id, { thematic });
    if (!thematic) {
      this.app.tilesets.setTheme(layer.id, null);
      this.app.themes.delete(layer.id);
      this.app.changed.emit();
      return;
    }
    const { column, ...how } = thematic;
    if (layer.kind === "points") return this.colourPoints(layer);
    try {
      const legend = await this.app.api.style(layer.id, column, how);
      if (turn !== this.latest.get(`colour:${layer.id}`)) return;
      this.app.themes.set(layer.id, legend);
      this.app.tilesets.setTheme(layer.id, legend);
    } catch (error) {
      this.tell(error);
      if (turn === this.latest.get(`colour:${layer.id}`)) this.app.setState(layer.id, { thematic: null });
    }
    this.app.changed.emit();
  }

  /** A cloud's legend is made here, from its tiles; until the first has come there is none, and `app.tilesets` calls again. */
  colourPoints(layer: Layer): void {
    const thematic = this.app.states.get(layer.id)?.thematic;
    if (!thematic) return;
    const legend = pointLegend(thematic, layer, this.app.tilesets.pointFacts(layer.id));
    if (legend) this.app.themes.set(layer.id, legend);
    else this.app.themes.delete(layer.id);
    this.app.tilesets.setTheme(layer.id, legend);
    this.app.changed.emit();
  }

  /** Shows only what matches; asks the server how many that are. */
  async filter(layer: Layer, conditions: readonly Condition[]): Promise<void> {
    const turn = this.turn(`filter:${layer.id}`);
    this.app.setState(layer.id, { conditions });
    const text = layer.links.items ? toCql2(conditions, layer.schema) : "";
    const placed = text !== "" && Boolean(layer.links.tiles3d) && places(conditions).length > 0;
    if (!placed) this.app.tilesets?.setWithin(layer.id, null);
    if (!text) {
      this.matched.delete(layer.id);
      this.app.changed.emit();
      return;
    }
    try {
      const { numberMatched } = await this.app.api.items(layer.id, { limit: 1, filter: text, properties: layer.schema[0]?.name ?? "" });
      const ids = placed ? await this.ids(layer, text, numberMatched ?? 0) : null;
      if (turn !== this.latest.get(`filter:${layer.id}`)) return;
      this.matched.set(layer.id, numberMatched ?? 0);
      if (ids) this.app.tilesets.setWithin(layer.id, ids);
    } catch (error) {
      if (turn === this.latest.get(`filter:${layer.id}`)) this.matched.set(layer.id, this.tell(error));
    }
    this.app.changed.emit();
  }

  /** Ids of all features that match. */
  private async ids(layer: Layer, filter: string, count: number): Promise<ReadonlySet<string>> {
    if (count > MOST) throw new Error(this.app.t("filter.many", { n: MOST }));
    const ids = new Set<string>();
    for (let offset = 0; offset < count; offset += PAGE) {
      const { features } = await this.app.api.items(layer.id, { limit: PAGE, offset, filter, properties: layer.schema[0]?.name ?? "" });
      for (const { id } of features) ids.add(String(id));
    }
    return ids;
  }

  /** An answer that comes after a later question is not shown. */
  private turn(key: string): number {
    const turn = (this.latest.get(key) ?? 0) + 1;
    this.latest.set(key, turn);
    return turn;
  }

  private tell(error: unknown): string {
    if (error instanceof ApiError && error.offline) void this.app.health.suspect();
    const why = this.app.why(error);
    this.app.notices.set("question", "error.question", { why }, "bad");
    return why;
  }
}
