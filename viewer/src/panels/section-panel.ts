/** The section box in numbers, as long as there is one: its six faces, its turn, whether the ground is cut. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement } from "lit/decorators.js";
import { SIDES } from "../core/section";
import { look, Panel } from "./base";

@customElement("twin-section")
export class SectionPanel extends Panel {
  static override styles = [look, css`
    section { padding: 10px 14px; display: grid; gap: 6px; border-top: 1px solid var(--line); }
    h3 { margin: 0; font-size: 12px; color: var(--soft); font-weight: 600; }
    .faces { display: grid; grid-template-columns: 1fr 1fr; gap: 6px 12px; }
    label { display: grid; grid-template-columns: 1fr 5.4em; gap: 6px; align-items: center; }
    .tick { display: flex; }
    input { font: inherit; padding: 3px 6px; border: 1px solid var(--line); border-radius: 6px; min-width: 0; background: #fff; }
    input[type="number"] { width: 100%; }
  `];

  protected override render(): TemplateResult | typeof nothing {
    const { section } = this.app;
    const { box } = section;
    if (!box) return nothing;
    const typed = (event: Event): number => {
      const { value } = event.target as HTMLInputElement;
      return value === "" ? NaN : Number(value);
    };
    return html`<section data-section-box><h3>${this.t("tool.cutbox")}</h3><span class="muted">${this.t("cutbox.hint")}</span>
      <div class="faces">${SIDES.map((face) => html`<label>${this.t(`cutbox.${face}`)}<input type="number" step="1" data-face=${face} .value=${String(round(box[face]))}
        @change=${(event: Event) => { section.move(face, typed(event)); (event.target as HTMLInputElement).value = String(round(section.box?.[face] ?? 0)); }} /></label>`)}
        <label>${this.t("cutbox.heading")}<input type="number" step="5" data-face="heading" .value=${String(round(box.heading))}
          @change=${(event: Event) => { const heading = typed(event); if (Number.isFinite(heading)) section.setBox({ ...box, heading: ((heading % 360) + 360) % 360 }); }} /></label></div>
      <label class="tick"><input type="checkbox" data-face="ground" .checked=${box.ground}
        @change=${(event: Event) => section.setBox({ ...box, ground: (event.target as HTMLInputElement).checked })} />${this.t("cutbox.ground")}</label>
      <div><button class="quiet" data-role="box-reset" @click=${() => section.setBox(null)}>${this.t("cutbox.reset")}</button></div></section>`;
  }
}

const round = (value: number): number => Math.round(value * 100) / 100;
