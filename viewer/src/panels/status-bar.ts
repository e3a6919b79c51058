/** The strip below: where the mouse is, how high one is, how much is still loading. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { groundAt, type Place } from "../cesium/pick";
import { degrees, metres, number } from "../core/format";
import type { Progress } from "../core/progress";
import { look, Panel } from "./base";

@customElement("twin-status-bar")
export class StatusBar extends Panel {
  static override styles = [look, css`
    .strip {
      display: flex; align-items: center; gap: 18px; height: 26px; padding: 0 12px; font-size: 12px; color: #33475a;
      background: rgba(250, 252, 253, 0.9); border-top: 1px solid rgba(30, 60, 80, 0.1); white-space: nowrap; overflow: hidden;
    }
    .load { display: flex; align-items: center; gap: 8px; color: var(--accent); font-weight: 600; }
    .load i { display: block; width: 84px; height: 4px; border-radius: 2px; background: #d7e1e8; overflow: hidden; }
    .load b { display: block; height: 100%; background: var(--accent); }
    .gap { flex: 1; }
    @media (max-width: 720px) { .wide { display: none; } .strip { gap: 10px; } }
  `];

  @state() private progress: Progress = { pending: 0, fraction: 1 };
  @state() private place: Place | null = null;
  @state() private eye = 0;
  private due = false;

  protected override listen(): () => void {
    const stops = [super.listen(), this.app.progressed.on((progress) => { this.progress = progress; })];
    return () => stops.forEach((stop) => stop());
  }

  /** Called by the host with mouse positions over the canvas; follows them at most once per frame. */
  follow(x: number, y: number): void {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      const { widget } = this.app;
      if (!widget || widget.isDestroyed()) return;
      this.place = groundAt(widget, x, y);
      this.eye = widget.camera.positionCartographic.height;
    });
  }

  protected override render(): TemplateResult {
    const { lang } = this.app;
    const { place, progress } = this;
    return html`<div class="strip" role="status">
      ${this.loading(progress)}
      ${place ? html`<span data-field="lon">${degrees(this.app.lang, place.lon, "lon")}</span><span data-field="lat">${degrees(this.app.lang, place.lat, "lat")}</span>
        <span class="wide">${this.t("coord.height")} ${number(lang, place.height, 1)} m</span>
        <span class="wide">${this.t("coord.eye", { h: metres(lang, this.eye, 0) })}</span>` : nothing}
      <span class="gap"></span><slot></slot></div>`;
  }

  private loading({ pending, fraction }: Progress): TemplateResult | typeof nothing {
    if (!this.app.opened && this.app.health.state.online) return html`<span class="load">${this.t("progress.starting")}</span>`;
    if (pending === 0) return nothing;
    return html`<span class="load" data-pending=${pending}><i><b style="width:${Math.round(fraction * 100)}%"></b></i>${this.t("progress.tiles", { n: pending })}</span>`;
  }
}
