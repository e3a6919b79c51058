/** The clock of what changes over time on the map: play, pause, step, speed. Shown while a layer with several moments is. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { frameAt } from "../core/timeline";
import { number } from "../core/format";
import { SPEEDS } from "../playback";
import { icon, look, Panel } from "./base";

@customElement("twin-time-slider")
export class TimeSlider extends Panel {
  static override styles = [look, css`
    .box { display: flex; align-items: center; gap: 6px; background: var(--paper); border-radius: 10px; box-shadow: 0 3px 16px rgba(18, 38, 56, 0.16); padding: 5px 10px 5px 6px; }
    input { flex: 1; min-width: 60px; accent-color: var(--accent); }
    .play { width: 34px; height: 34px; border-radius: 50%; background: var(--accent); color: #fff; flex: none; display: grid; place-items: center; }
    .play svg { width: 16px; height: 16px; fill: currentColor; }
    output { min-width: 44px; text-align: center; font-weight: 600; font-size: 14px; }
    output.wait { color: var(--soft); }
    select { font: inherit; border: 1px solid var(--line); border-radius: 6px; background: #fff; padding: 2px; }
    .flip { transform: scaleX(-1); }
  `];

  @state() private shown = true;

  protected override listen(): () => void {
    const { playback } = this.app;
    const stops = [super.listen(), playback.ticked.on(() => this.requestUpdate())];
    const timer = window.setInterval(() => { this.shown = playback.shown; }, 250);
    return () => {
      window.clearInterval(timer);
      stops.forEach((stop) => stop());
    };
  }

  protected override render(): TemplateResult | typeof nothing {
    const { playback, lang } = this.app;
    const { steps, time, clock: text } = playback;
    if (!text) return nothing;
    const step = (by: number) => { playback.stop(); playback.step(by); };
    return html`<div class="box" role="group" aria-label=${this.t("time.label")} data-playing=${playback.playing} data-shown=${this.shown} @keydown=${this.key}>
      <button class="play" data-role="time-play" title=${this.t(playback.playing ? "time.pause" : "time.play")} aria-label=${this.t(playback.playing ? "time.pause" : "time.play")}
        @click=${() => (playback.playing ? playback.stop() : playback.play())}>
        <svg viewBox="0 0 24 24" aria-hidden="true"><path d=${playback.playing ? "M7 5h4v14H7zM13 5h4v14h-4z" : "M7 4l13 8-13 8z"} /></svg></button>
      <button class="icon" title=${this.t("time.back")} aria-label=${this.t("time.back")} @click=${() => step(-1)}>${icon("back")}</button>
      <input type="range" data-role="time" min="0" max=${steps.length - 1} step="1" .value=${String(frameAt(steps, time))} aria-label=${this.t("time.label")} aria-valuetext=${text}
        @input=${(event: Event) => { playback.stop(); playback.go(steps[Number((event.target as HTMLInputElement).value)] ?? 0); }} />
      <button class="icon flip" title=${this.t("time.forth")} aria-label=${this.t("time.forth")} @click=${() => step(1)}>${icon("back")}</button>
      <output class=${this.shown ? "" : "wait"} title=${this.shown ? "" : this.t("time.wait")} data-role="clock">${text}</output>
      <select aria-label=${this.t("time.speed")} data-role="speed" @change=${(event: Event) => { playback.speed = Number((event.target as HTMLSelectElement).value); }}>
        ${SPEEDS.map((speed) => html`<option value=${speed} ?selected=${speed === playback.speed}>${number(lang, speed)}×</option>`)}</select></div>`;
  }

  /** The space bar plays and pauses; the arrows are the slider's own. */
  private key = (event: KeyboardEvent): void => {
    const on = event.composedPath()[0];
    if (event.key !== " " || on instanceof HTMLButtonElement || on instanceof HTMLSelectElement) return;
    event.preventDefault();
    const { playback } = this.app;
    if (playback.playing) playback.stop();
    else playback.play();
  };
}
