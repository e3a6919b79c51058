/** The map under the keyboard: the canvas takes the focus, says what it is, and moves by keys; Space is a click in its middle. */
import type { CesiumWidget } from "@cesium/engine";
import type { CityApp } from "./app";
import { setView } from "./cesium/scene";
import { afterKey } from "./core/keys";

export class Steering {
  private canvas: HTMLCanvasElement | null = null;

  constructor(private readonly app: CityApp) {
    app.changed.on(() => this.name());
  }

  attach(widget: CesiumWidget): void {
    this.canvas = widget.canvas;
    widget.canvas.tabIndex = 0;
    // An application in ARIA's sense: its keys are its own.
    widget.canvas.setAttribute("role", "application");
    widget.canvas.addEventListener("keydown", (event) => this.key(event));
    this.name();
  }

  private name(): void {
    const label = `${this.app.t("nav.map")}. ${this.app.t("nav.keys")}`;
    if (this.canvas && this.canvas.getAttribute("aria-label") !== label) this.canvas.setAttribute("aria-label", label);
  }

  private key(event: KeyboardEvent): void {
    const { widget, camera, selection } = this.app;
    if (!widget || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " ") void selection.click(widget.canvas.clientWidth / 2, widget.canvas.clientHeight / 2);
    else if (event.key === "Home") void camera.home();
    else {
      const view = camera.currentView();
      const next = view && afterKey(view, { key: event.key, shift: event.shiftKey }, camera.flat);
      if (!next) return;
      setView(widget, next);
    }
    event.preventDefault();
  }
}
