/** What the reader sets of a tool: numbers and a date; a change works out anew what was found. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement } from "lit/decorators.js";
import type { MessageKey } from "../core/messages";
import type { Settings, Tool } from "../tools/types";
import { look, Panel } from "./base";

type NumberSetting = Exclude<keyof Settings, "sunDate">;
/** Least, most and step of a setting, with its words. */
const LIMITS: Record<NumberSetting, { key: MessageKey; min: number; max: number; step: number }> = {
  width: { key: "tool.width", min: 1, max: 2000, step: 1 },
  eye: { key: "tool.eye", min: 0.1, max: 500, step: 0.1 },
  radius: { key: "tool.radius", min: 20, max: 5000, step: 10 },
  heading: { key: "tool.heading", min: 0, max: 360, step: 1 },
  sector: { key: "tool.sector", min: 1, max: 360, step: 1 },
  basin: { key: "tool.basin", min: 50, max: 5000, step: 50 },
};
const OF_TOOL: Partial<Record<Tool, readonly NumberSetting[]>> = { corridor: ["width"], sight: ["eye"], viewshed: ["eye", "radius", "heading", "sector"], flood: ["basin"] };

@customElement("twin-tool-settings")
export class ToolSettings extends Panel {
  static override styles = [look, css`
    :host { display: grid; gap: 6px; }
    label { display: grid; grid-template-columns: 1fr 7em; gap: 8px; align-items: center; }
    input { font: inherit; padding: 3px 6px; border: 1px solid var(--line); border-radius: 6px; min-width: 0; width: 100%; background: #fff; }
  `];

  protected override render(): TemplateResult | typeof nothing {
    const { tools } = this.app;
    if (!tools.tool) return nothing;
    return html`${(OF_TOOL[tools.tool] ?? []).map((name) => this.number(name))}
      ${tools.tool === "sun" ? html`<label>${this.t("tool.date")}<input type="date" data-setting="sunDate" .value=${tools.settings.sunDate}
        @change=${(event: Event) => tools.set({ sunDate: (event.target as HTMLInputElement).value || tools.settings.sunDate })} /></label>` : nothing}`;
  }

  private number(name: NumberSetting): TemplateResult {
    const { tools } = this.app;
    const { key, min, max, step } = LIMITS[name];
    const take = (event: Event): void => {
      const field = event.target as HTMLInputElement;
      const value = field.value === "" ? NaN : Number(field.value);
      const good = Number.isFinite(value) ? Math.min(max, Math.max(min, value)) : tools.settings[name];
      field.value = String(good);
      if (good !== tools.settings[name]) tools.set({ [name]: good });
    };
    return html`<label>${this.t(key)}<input type="number" data-setting=${name} min=${min} max=${max} step=${step} .value=${String(tools.settings[name])} @change=${take} /></label>`;
  }
}
