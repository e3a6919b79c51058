/** The reader's state as a link, a bookmark's content, and back. */
import type { CityApp } from "./app";
import { seeThrough, shine } from "./cesium/looking";
import { flyToView, setView } from "./cesium/scene";
import { decode, encode, type Shared } from "./core/share";

export class Sharing {
  /** Light as the reader set it; null is the opening light. */
  sun: { date: string; hour: number } | null = null;
  /** 0 solid … 1 clear. */
  ground = 0;
  private wanted: Shared | null = decode(location.hash);

  constructor(private readonly app: CityApp) {
    if (this.wanted?.asOf) app.asOf = this.wanted.asOf;
  }

  state(): Shared {
    const { app } = this;
    const view = app.camera.currentView();
    const { picked } = app.selection;
    return {
      ...(view ? { view } : {}), lang: app.lang,
      layers: Object.fromEntries([...app.states].map(([id, { visible, opacity, colouring, thematic, conditions }]) =>
        [id, { visible, opacity, colouring, ...(thematic ? { thematic } : {}), ...(conditions.length > 0 ? { conditions: [...conditions] } : {}) }])),
      ...(picked.kind === "feature" ? { selected: { layer: picked.layer.id, id: picked.feature.id } } : {}),
      ...(this.sun ? { sun: this.sun } : {}), ...(app.asOf ? { asOf: app.asOf } : {}), ...(this.ground > 0 ? { ground: this.ground } : {}),
      ...(app.section.box ? { section: app.section.box } : {}),
    };
  }

  link(): string {
    return `${location.href.split("#")[0]}#s=${encode(this.state())}`;
  }

  /** As soon as there is a scene: where to look, and in which language. False when the link names no view. */
  restoreView(): boolean {
    const { wanted, app } = this;
    if (wanted?.lang) app.setLang(wanted.lang);
    if (!wanted?.view || !app.widget) return false;
    setView(app.widget, wanted.view);
    return true;
  }

  /** When the layers are there. */
  restoreRest(): void {
    if (this.wanted) this.apply(this.wanted, false);
    this.wanted = null;
  }

  /** Takes over a state; what it says of layers that are gone is passed over. */
  apply(state: Shared, fly = true): void {
    const { app } = this;
    if (state.lang && state.lang !== app.lang) app.setLang(state.lang);
    for (const [id, { thematic, conditions, ...rest }] of Object.entries(state.layers ?? {})) {
      const layer = app.layer(id);
      if (!layer) continue;
      app.setState(id, rest);
      void app.questions.colour(layer, thematic ?? null);
      void app.questions.filter(layer, conditions ?? []);
    }
    if (state.sun) this.light(state.sun.date, state.sun.hour);
    this.clearGround(state.ground ?? 0);
    app.section.setBox(state.section ?? null);
    const selected = state.selected && app.layer(state.selected.layer);
    if (selected) void app.selection.showFeature(selected, state.selected!.id, null);
    if (fly && state.view && app.widget) void flyToView(app.widget, state.view);
  }

  light(date: string, hour: number): void {
    this.sun = { date, hour };
    const lon = this.app.city?.bbox ? (this.app.city.bbox[0] + this.app.city.bbox[2]) / 2 : 0;
    if (this.app.widget) shine(this.app.widget, date, hour, lon);
    this.app.changed.emit();
  }

  clearGround(clear: number): void {
    if (clear === this.ground) return;
    this.ground = clear;
    if (this.app.widget) seeThrough(this.app.widget, clear);
    this.app.changed.emit();
  }
}
