/** One run: how far it is, its layers, its clock, its report; and on demand its hydrographs and who is hit. */
import { css, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { layerTitle, type Layer } from "../core/layers";
import { going, type Run } from "../runs";
import { processName } from "../core/i18n";
import { jobProgress } from "../core/job-progress";
import { icon, look, Panel } from "./base";
import "./hit-lists";
import "./hydrograph";

@customElement("twin-run")
export class RunPanel extends Panel {
  static override styles = [look, css`
    .run { margin: 10px 12px 0; padding: 10px 12px; border: 1px solid var(--line); border-radius: 9px; background: #fff; }
    .top { display: flex; gap: 8px; align-items: center; }
    .top b { flex: 1; min-width: 0; overflow-wrap: anywhere; }
    .top small { font-weight: 400; color: var(--soft); display: block; }
    .track { height: 5px; border-radius: 3px; background: #e6ecf0; overflow: hidden; margin: 7px 0 4px; }
    .track i { display: block; height: 100%; background: var(--accent); transition: width 0.3s; }
    .good { color: var(--good); }
    .bad { color: var(--bad); overflow-wrap: anywhere; }
    .partial { display: block; color: #8a4b00; font-weight: 600; }
    .result { display: flex; align-items: center; gap: 4px; }
    .result button:first-child { flex: 1; text-align: left; padding: 3px 4px; color: var(--accent); font-weight: 600; }
    .acts { display: flex; flex-wrap: wrap; gap: 6px; margin: 6px 0 2px; align-items: center; }
    .acts a { color: var(--accent); font-weight: 600; }
    .small { padding: 3px 9px; font-size: 12px; flex: none; }
    details > summary { cursor: pointer; color: var(--soft); font-size: 12px; }
  `];

  @property({ attribute: false }) run!: Run;
  @state() private open = false;

  protected override updated(changes: PropertyValues<this>): void {
    super.updated(changes);
    if (this.run.report === undefined && this.app.runs.results(this.run).length > 0) void this.app.runs.learn(this.run).catch(() => undefined);
  }

  protected override render(): TemplateResult {
    const { run } = this;
    const { status, progress = 0 } = run.job;
    const busy = going(run);
    const layers = this.app.runs.results(run);
    const title = processName(run.process, this.app.lang);
    return html`<div class="run" data-run=${run.job.jobID} data-status=${status}>
      <div class="top"><b>${title}${layers.length > 0 ? html`<small>${this.app.runs.nameOf(run)} · ${this.when()}</small>` : nothing}</b>
        ${busy && run.job.jobID ? html`<button class="quiet small" data-role="cancel" @click=${() => void this.app.runs.cancel(run)}>${this.t("scenario.cancel")}</button>` : nothing}
      </div>
      ${busy ? html`<div class="track" role="progressbar" aria-label=${title} aria-valuenow=${progress} aria-valuemin="0" aria-valuemax="100"><i style="width:${progress}%"></i></div>
        <span class="muted">${jobProgress(run.job, this.t)}</span>` : nothing}
      ${status === "successful" && !run.earlier ? html`<span class="good">${this.t(layers.length > 0 ? "scenario.done" : "run.replaced")}</span>` : nothing}
      ${status === "failed" ? html`<span class="bad">${this.t("scenario.failed", { why: run.why })}</span>` : nothing}
      ${status === "dismissed" ? html`<span class="muted">${this.t("scenario.cancelled")}</span>` : nothing}
      ${!busy && status !== "successful" && layers.length > 0 ? html`<span class="partial" data-role="partial">${this.t("run.partial")}</span>` : nothing}
      ${!busy && layers.length > 0 ? this.results(layers) : nothing}
    </div>`;
  }

  private when(): string {
    const time = this.run.job.finished ?? this.run.job.created;
    return time ? new Intl.DateTimeFormat(this.app.lang === "zh" ? "zh-CN" : "en", { month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(new Date(time)) : "";
  }

  private results(layers: Layer[]): TemplateResult {
    const { app, run } = this;
    const shown = layers.filter((layer) => layer.kind !== "table");
    const moving = layers.find(({ id }) => app.playback.hasTime(id));
    return html`<div class="acts">
        ${moving ? html`<button class="primary small" data-role="play" @click=${() => this.play(moving)}>${this.t("run.play")}</button>` : nothing}
        <button class="quiet small" data-role="details" aria-expanded=${this.open} @click=${() => { this.open = !this.open; }}>${this.t(this.open ? "run.hide" : "run.details")}</button>
        ${run.report ? html`<a data-role="report" target="_blank" rel="noopener" href=${run.report}>${this.t("run.report")}</a>` : nothing}</div>
      ${this.open ? html`<twin-hydrographs .app=${app} .run=${run}></twin-hydrographs><twin-hits .app=${app} .run=${run}></twin-hits>` : nothing}
      <details ?open=${!run.earlier && !this.open}><summary>${this.t("scenario.results")} (${shown.length})</summary>${shown.map((layer) => this.result(layer))}</details>`;
  }

  private play(layer: Layer): void {
    this.app.runs.bring(this.run);
    this.app.setState(layer.id, { visible: true });
    this.app.playback.go(0);
    this.app.playback.play();
  }

  private result(layer: Layer): TemplateResult {
    const visible = this.app.states.get(layer.id)?.visible ?? false;
    const name = layerTitle(layer, this.app.lang);
    return html`<div class="result">
      <button title=${this.t("layer.zoom", { name })} @click=${() => layer.bbox && void this.app.camera.zoomTo(layer.bbox)}>${name}</button>
      <button class="icon" role="switch" aria-checked=${visible} aria-label=${this.t("layer.show", { name })}
        @click=${() => this.app.setState(layer.id, { visible: !visible })}>${icon(visible ? "eye" : "eyeOff")}</button></div>`;
  }
}
