/** A second view of the city beside the first (双屏): its own layers, time and tools, one camera for both. */
import { css, html, type TemplateResult } from "lit";
import { customElement } from "lit/decorators.js";
import type { CesiumWidget } from "@cesium/engine";
import type { CityApp } from "../app";
import { tie } from "../cesium/tie";
import { Panel } from "./base";

/** What the other `<city-twin>` is, without importing the module that shows this panel. */
type Other = HTMLElement & { app: CityApp | null; started(): Promise<unknown> };

@customElement("twin-second-view")
export class SecondView extends Panel {
  static override styles = [css`
    :host { position: absolute; inset: 0 0 0 50%; border-left: 2px solid #fff; }
  `];

  private tied: [CesiumWidget, CesiumWidget] | null = null;
  private release: () => void = () => undefined;
  private off: () => void = () => undefined;

  protected override render(): TemplateResult {
    return html`<city-twin data-role="second" src=${this.app.api.base} language=${this.app.lang} folded></city-twin>`;
  }

  protected override firstUpdated(): void {
    const other = this.renderRoot.querySelector<Other>("city-twin");
    void other?.started().then(() => {
      const { app } = other;
      if (!app || !this.isConnected) return;
      this.off = app.changed.on(() => this.follow(app));
      this.follow(app);
    });
  }

  protected override updated(): void {
    const app = this.renderRoot.querySelector<Other>("city-twin")?.app;
    if (app) this.follow(app);
  }

  /** Ties the cameras once both cities are open, and again when one of the scenes was put up anew. */
  private follow(other: CityApp): void {
    const pair = [this.app.widget, other.widget] as const;
    if (!other.opened || !pair[0] || !pair[1] || (this.tied?.[0] === pair[0] && this.tied[1] === pair[1])) return;
    this.release();
    this.tied = [pair[0], pair[1]];
    this.release = tie(pair[0], pair[1]);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.off();
    this.release();
  }
}
