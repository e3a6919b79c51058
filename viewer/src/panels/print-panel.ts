/** The sheet's title and paper, and what is made of it. */
import { css, html, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { PAPERS, type Paper } from "../core/sheet";
import { save } from "../picture";
import { defaultTitle, makeSheet, print, printPage, toPng } from "../printing";
import { look, Panel } from "./base";

@customElement("twin-print")
export class PrintPanel extends Panel {
  static override styles = [look, css`
    section { padding: 10px 14px; display: grid; gap: 8px; border-top: 1px solid var(--line); }
    h3 { margin: 0; font-size: 12px; color: var(--soft); font-weight: 600; }
    label { display: grid; grid-template-columns: 6.4em 1fr; gap: 8px; align-items: center; }
    input, select { font: inherit; padding: 3px 6px; border: 1px solid var(--line); border-radius: 6px; min-width: 0; width: 100%; background: #fff; }
    .acts { display: flex; gap: 6px; flex-wrap: wrap; }
  `];

  /** Empty for the city's name. */
  @state() private heading = "";
  @state() private paper: Paper = "A4";
  @state() private landscape = true;
  @state() private busy = false;

  protected override render(): TemplateResult {
    const papers = Object.keys(PAPERS) as Paper[];
    return html`<section data-print><h3>${this.t("print.title")}</h3>
      <label>${this.t("print.heading")}<input data-role="print-title" .value=${this.heading} placeholder=${defaultTitle(this.app)}
        @input=${(event: Event) => { this.heading = (event.target as HTMLInputElement).value; }} /></label>
      <label>${this.t("print.paper")}<select data-role="paper" @change=${(event: Event) => this.choose((event.target as HTMLSelectElement).value)}>
        ${papers.flatMap((paper) => [true, false].map((landscape) => html`<option value=${`${paper}-${landscape}`} ?selected=${paper === this.paper && landscape === this.landscape}>
          ${this.t(landscape ? "print.paper.landscape" : "print.paper.portrait", { paper })}</option>`))}</select></label>
      <div class="acts"><button class="quiet" data-role="print-png" ?disabled=${this.busy} @click=${() => void this.make("png")}>${this.t("print.png")}</button>
        <button class="quiet" data-role="print-pdf" ?disabled=${this.busy} @click=${() => void this.make("pdf")}>${this.t("print.pdf")}</button></div>
      ${this.busy ? html`<span class="muted" role="status">${this.t("print.busy")}</span>` : ""}</section>`;
  }

  private choose(value: string): void {
    const [paper, landscape] = value.split("-");
    this.paper = paper as Paper;
    this.landscape = landscape === "true";
  }

  private async make(what: "png" | "pdf"): Promise<void> {
    const { app } = this;
    const format = { paper: this.paper, landscape: this.landscape };
    const title = this.heading.trim() || defaultTitle(app);
    this.busy = true;
    try {
      await this.updateComplete;
      const svg = makeSheet(app, format, title);
      if (what === "pdf") print(printPage(svg, format, title, app.lang === "zh" ? "zh-CN" : "en"));
      else save(await toPng(svg, format), `${title.replace(/[\\/:*?"<>|\s]+/g, "-")}-${new Date().toISOString().slice(0, 10)}.png`);
    } catch (error) {
      app.notices.set("question", "error.question", { why: app.why(error) }, "bad");
    } finally {
      this.busy = false;
    }
  }
}
