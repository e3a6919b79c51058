/** A layer's versions as a slider: the city is shown as of the time from which the chosen one was shown. */
import { css, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { number } from "../core/format";
import type { Layer } from "../core/layers";
import { stopAt, stops, type Stop } from "../core/versions";
import { look, Panel } from "./base";

@customElement("twin-layer-versions")
export class LayerVersions extends Panel {
  static override styles = [look, css`
    label { display: grid; grid-template-columns: 5.2em 1fr; align-items: center; gap: 8px; }
    input { width: 100%; accent-color: var(--accent); margin: 0; height: 18px; }
    p { margin: 3px 0 0; color: var(--soft); font-size: 12px; }
  `];

  @property({ attribute: false }) layer!: Layer;
  @state() private all: Stop[] = [];

  protected override willUpdate(changed: PropertyValues): void {
    const before = changed.get("layer") as Layer | undefined;
    if (changed.has("layer") && (before?.id !== this.layer.id || before.version !== this.layer.version)) void this.read();
  }

  private async read(): Promise<void> {
    const { id } = this.layer;
    // The list is a convenience: the layer is there without it.
    const found = await this.app.api.versions(id).catch(() => []);
    if (id === this.layer.id) this.all = stops(found);
  }

  protected override render(): TemplateResult | typeof nothing {
    if (this.all.length < 2) return nothing;
    const { lang, asOf } = this.app;
    const at = stopAt(this.all, asOf);
    const { from, version, count } = this.all[at]!;
    const when = from ? new Date(from).toLocaleString(lang === "zh" ? "zh-CN" : "en", { dateStyle: "medium", timeStyle: "short" }) : this.t("look.now");
    const text = [this.t("layer.version", { n: number(lang, version, 0) }), when, count === null ? "" : this.t("layer.count", { n: number(lang, count, 0) })].filter(Boolean).join(" · ");
    return html`<label>${this.t("layer.versions")}<input type="range" data-role="versions" min="0" max=${this.all.length - 1} step="1" .value=${String(at)}
      aria-valuetext=${text} @change=${(event: Event) => void this.app.setAsOf(this.all[Number((event.target as HTMLInputElement).value)]!.from).catch(() => undefined)} /></label>
      <p role="status">${text}</p>`;
  }
}
