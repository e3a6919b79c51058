/** Puts up a new scene where the old one died (the graphics device was taken away, drawing failed): same view, same light, same layers. */
import type { CityApp } from "./app";
import { seeThrough } from "./cesium/looking";
import { setFlat } from "./cesium/scene";
import type { MessageKey } from "./core/messages";

/** A device that was lost is not back at once; milliseconds before the first try, doubled up to the last. */
const FIRST_TRY = 1_500;
const LAST_TRY = 30_000;

export class Revival {
  /** One death is told by several events: the context's and that of the frame that could not be drawn. */
  private underWay = false;

  constructor(
    private readonly app: CityApp,
    private readonly container: HTMLElement,
    private readonly build: () => void,
    private readonly reread: () => Promise<void>,
  ) {}

  begin(message: MessageKey, values: Record<string, string>): void {
    if (this.underWay) return;
    this.underWay = true;
    this.app.notices.set("scene", message, values, "bad");
    window.setTimeout(() => void this.attempt(FIRST_TRY), FIRST_TRY);
  }

  private async attempt(waited: number): Promise<void> {
    try {
      this.renew();
    } catch (error) {
      console.warn(error);
      const wait = Math.min(LAST_TRY, waited * 2);
      window.setTimeout(() => void this.attempt(wait), wait);
      return;
    }
    this.underWay = false;
    await this.reread();
    this.restore();
    this.app.notices.clear("scene");
  }

  /** A new scene at the old one's view. Throws while the device gives no context. */
  private renew(): void {
    const { app } = this;
    const old = app.widget;
    const kept = old && {
      position: old.camera.positionWC.clone(), direction: old.camera.directionWC.clone(), up: old.camera.upWC.clone(), time: old.clock.currentTime.clone(),
    };
    this.container.replaceChildren();
    this.build();
    try {
      old?.destroy();
    } catch {
      // A scene whose context is gone may not be able to clean up; the new one does not depend on it.
    }
    const { widget } = app;
    if (!widget || !kept) return;
    widget.clock.currentTime = kept.time;
    widget.clock.shouldAnimate = false;
    widget.camera.setView({ destination: kept.position, orientation: { direction: kept.direction, up: kept.up } });
  }

  /** What the reader had set besides the layers' own state. */
  private restore(): void {
    const { app } = this;
    if (!app.widget) return;
    if (app.sharing.ground > 0) seeThrough(app.widget, app.sharing.ground);
    if (app.camera.flat) setFlat(app.widget, true);
    if (app.split !== null) app.setSplit(app.split);
    for (const layer of app.layers) {
      const state = app.states.get(layer.id);
      const theme = app.themes.get(layer.id);
      if (theme) app.tilesets.setTheme(layer.id, theme);
      if (state && state.conditions.length > 0) void app.questions.filter(layer, state.conditions);
    }
    app.changed.emit();
  }
}
