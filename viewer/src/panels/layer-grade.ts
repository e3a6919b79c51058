/** A layer's CIM grade: that of the rule, and in its place what the reader says. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { live } from "lit/directives/live.js";
import type { Grade } from "../api/types";
import { layerTitle, type Layer } from "../core/layers";
import { look, Panel } from "./base";

const GRADES = ["CIM1", "CIM2", "CIM3", "CIM4", "CIM5", "CIM6", "CIM7"] as const;

@customElement("twin-layer-grade")
export class LayerGrade extends Panel {
  static override styles = [look, css`
    label { display: grid; grid-template-columns: 5.2em 1fr; align-items: center; gap: 8px; }
    select { font: inherit; padding: 3px 6px; border: 1px solid var(--line); border-radius: 6px; background: #fff; min-width: 0; width: 100%; }
    p { margin: 3px 0 0; color: var(--soft); font-size: 12px; }
  `];

  @property({ attribute: false }) layer!: Layer;
  /** Grades that are on their way, by layer: this panel may be given another one meanwhile. */
  @state() private asked = new Map<string, Grade>();

  protected override render(): TemplateResult | typeof nothing {
    const basis = this.layer.gradeBasis;
    if (!basis) return nothing;
    const given = basis.given ?? "";
    const asked = this.asked.get(this.layer.id);
    const chosen = asked ?? given;
    const rule = this.t("layer.grade.rule", { grade: GRADES.find((one) => one === basis.value) ?? this.t("layer.grade.none") });
    const said = asked !== undefined ? this.t("layer.grade.busy") : given ? this.givenBy(basis.by) : "";
    // Of the past nothing is changed.
    return html`<label title=${basis.reasons.join("; ")}>${this.t("layer.grade")}<select data-role="grade" ?disabled=${asked !== undefined || this.app.asOf !== ""}
      @change=${(event: Event) => void this.give(this.layer, (event.target as HTMLSelectElement).value as Grade)}>
      <option value="" .selected=${live(chosen === "")}>${rule}</option>
      ${GRADES.map((one) => html`<option value=${one} .selected=${live(one === chosen)}>${this.t(`grade.${one}`)}</option>`)}</select></label>
      ${said ? html`<p role="status">${said}</p>` : nothing}`;
  }

  /** A server that does not know its user calls him "unknown". */
  private givenBy(by: string | null | undefined): string {
    return by && by !== "unknown" ? this.t("layer.grade.given", { by }) : this.t("layer.grade.by_hand");
  }

  private async give(layer: Layer, grade: Grade): Promise<void> {
    const { api, notices, runs } = this.app;
    this.asked = new Map(this.asked).set(layer.id, grade);
    notices.clear("grade");
    try {
      const job = await runs.settled(await api.regrade(layer.id, grade));
      if (job.status !== "successful") throw new Error(job.message ?? job.status);
      await this.app.reload();
    } catch (error) {
      notices.set("grade", "layer.grade.failed", { name: layerTitle(layer, this.app.lang), why: this.app.why(error) }, "bad");
    }
    const asked = new Map(this.asked);
    asked.delete(layer.id);
    this.asked = asked;
  }
}
