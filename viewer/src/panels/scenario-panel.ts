/** The scenario room: what can be run and its form; below it the runs (each a card of its own) and the comparison of two. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import type { Process } from "../api/types";
import { processName } from "../core/i18n";
import { going, type Run } from "../runs";
import { icon, look, Panel } from "./base";
import "./compare-panel";
import "./run-panel";
import "./scenario-form";

@customElement("twin-scenarios")
export class ScenarioPanel extends Panel {
  static override styles = [look, css`
    .item { display: block; width: 100%; text-align: left; padding: 11px 16px; border-radius: 0; border-bottom: 1px solid var(--line); }
    .item:hover { background: var(--wash); }
    .item b { display: block; font-weight: 600; }
    .item small { color: var(--soft); font-size: 12px; }
    .head { display: flex; align-items: center; gap: 4px; padding: 8px 12px 2px 8px; }
    .intro { margin: 0; padding: 0 16px 8px; color: var(--soft); font-size: 12px; }
    .say { padding: 20px 16px; color: var(--soft); }
    details.earlier { padding: 8px 0 0; }
    details.earlier > summary { padding: 0 16px; cursor: pointer; color: var(--soft); font-weight: 600; }
  `];

  @state() private chosen: string | null = null;

  protected override render(): TemplateResult {
    const { runs } = this.app;
    if (!runs.loaded) return html`<p class="say">${this.t("scenario.reads")}</p>`;
    if (runs.processes.length === 0) return html`<p class="say">${this.t("scenario.none")}</p>`;
    const process = runs.processes.find(({ id }) => id === this.chosen);
    const card = (run: Run) => html`<twin-run .app=${this.app} .run=${run}></twin-run>`;
    const earlier = runs.list.filter((run) => run.earlier && (going(run) || runs.results(run).length > 0));
    return html`${runs.list.filter((run) => !run.earlier).map(card)}
      ${earlier.length > 0 ? html`<details class="earlier" data-role="earlier" ?open=${earlier.some(going)}><summary>${this.t("run.earlier")} (${earlier.length})</summary>${earlier.map(card)}</details>` : nothing}
      <twin-compare .app=${this.app}></twin-compare>
      ${process ? this.form(process) : runs.processes.map((each) => this.item(each))}`;
  }

  private about(process: Process): string {
    const zh = process["x-description-zh"];
    return this.app.lang === "zh" && typeof zh === "string" ? zh : process.description ?? "";
  }

  private item(process: Process): TemplateResult {
    return html`<button class="item" data-process=${process.id} @click=${() => this.choose(process.id)}>
      <b>${processName(process, this.app.lang)}</b><small>${this.about(process)}</small></button>`;
  }

  private choose(id: string | null): void {
    this.app.drawing.cancel();
    this.chosen = id;
  }

  private form(process: Process): TemplateResult {
    return html`<div class="head">
        <button class="icon" title=${this.t("scenario.back")} aria-label=${this.t("scenario.back")} @click=${() => this.choose(null)}>${icon("back")}</button>
        <h2>${processName(process, this.app.lang)}</h2></div>
      <p class="intro">${this.about(process)}</p>
      <twin-scenario-form .app=${this.app} .process=${process} ?hidden=${this.hidden} @started=${() => this.scrollIntoView({ block: "start" })}></twin-scenario-form>`;
  }
}
