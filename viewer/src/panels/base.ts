/** What every panel shares: the app, redrawing when it changes, and the look. */
import { css, html, LitElement, svg, type PropertyValues, type TemplateResult } from "lit";
import { property } from "lit/decorators.js";
import type { CityApp } from "../app";
import type { MessageKey } from "../core/messages";

export class Panel extends LitElement {
  @property({ attribute: false }) app!: CityApp;
  private stop: (() => void) | null = null;

  protected t = (key: MessageKey, values: Record<string, string | number> = {}): string => this.app.t(key, values);

  protected override willUpdate(changes: PropertyValues<this>): void {
    if (!changes.has("app")) return;
    this.stop?.();
    this.stop = this.listen();
  }

  /** What makes this panel draw again; returns how to stop. */
  protected listen(): () => void {
    return this.app.changed.on(() => this.requestUpdate());
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.stop?.();
    this.stop = null;
  }
}

/**
 * Until the first picture nothing is drawn that is dear to draw: where the browser paints the page with the graphics device, icons, shadows and round
 * corners each cost a shader program and several passes, and the city waits for them (in software WebGL half of its time went there).
 */
const plain = css`
  * { border-radius: 0 !important; box-shadow: none !important; transition: none !important; }
  svg { visibility: hidden !important; }
`;

/** Ends the plain look, in every panel there is or will be: they share the sheet. */
export function dress(): void {
  if (plain.styleSheet) plain.styleSheet.disabled = true;
}

const full = css`
  :host {
    --ink: #1c2b37;
    --soft: #5b6d7d;
    --line: #e1e7ec;
    --paper: rgba(255, 255, 255, 0.965);
    --wash: #f1f5f8;
    --accent: #14507a;
    --accent-wash: #e4eff6;
    --picked: #d9620a;
    --bad: #a8261d;
    --good: #1c7048;
    font: 13px/1.5 "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Source Han Sans SC", system-ui, sans-serif;
    color: var(--ink);
    font-variant-numeric: tabular-nums;
  }
  * { box-sizing: border-box; }
  button {
    font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; border-radius: 6px;
  }
  button:focus-visible, input:focus-visible, select:focus-visible, summary:focus-visible, textarea:focus-visible {
    outline: 2px solid var(--accent); outline-offset: 1px;
  }
  .icon { display: inline-grid; place-items: center; width: 28px; height: 28px; color: var(--soft); flex: none; }
  .icon:hover { background: var(--wash); color: var(--ink); }
  .icon svg { width: 17px; height: 17px; }
  svg.line { fill: none; stroke: currentColor; stroke-width: 1.7; stroke-linecap: round; stroke-linejoin: round; }
  .primary {
    background: var(--accent); color: #fff; padding: 7px 16px; border-radius: 7px; font-weight: 600;
  }
  .primary:hover { background: #0f4063; }
  .primary[disabled] { background: #9fb4c3; cursor: default; }
  .quiet { padding: 6px 12px; border: 1px solid var(--line); border-radius: 7px; background: #fff; }
  .quiet:hover { background: var(--wash); }
  .muted { color: var(--soft); }
  .scroll { overflow: auto; scrollbar-width: thin; scrollbar-color: #c6d0d8 transparent; }
  h2 { font-size: 14px; margin: 0; font-weight: 600; }
`;

export const look = [full, plain];

const PATHS: Record<string, TemplateResult> = {
  home: svg`<path d="M4 11.500 12 4l8 7.500M6.500 10v9.500h11V10M10 19.500v-5h4v5"/>`,
  plus: svg`<path d="M12 5v14M5 12h14"/>`,
  minus: svg`<path d="M5 12h14"/>`,
  north: svg`<path d="M12 3 7 20l5-3.500 5 3.500z"/>`,
  top: svg`<path d="M4 8l8-4 8 4-8 4zM4 12.500l8 4 8-4M4 16.500l8 4 8-4"/>`,
  close: svg`<path d="M6 6l12 12M18 6 6 18"/>`,
  eye: svg`<path d="M2.500 12S6 5.500 12 5.500 21.500 12 21.500 12 18 18.500 12 18.500 2.500 12 2.500 12z"/><circle cx="12" cy="12" r="2.800"/>`,
  eyeOff: svg`<path d="M4 4l16 16M9.500 6A9 9 0 0 1 12 5.500c6 0 9.500 6.500 9.500 6.500a16 16 0 0 1-3 3.700M6 7.500A15.500 15.500 0 0 0 2.500 12S6 18.500 12 18.500a9 9 0 0 0 4-.900"/>`,
  target: svg`<circle cx="12" cy="12" r="6.500"/><path d="M12 2.500v4M12 17.500v4M2.500 12h4M17.500 12h4"/>`,
  chevron: svg`<path d="M7 10l5 5 5-5"/>`,
  back: svg`<path d="M14 6l-6 6 6 6"/>`,
  left: svg`<path d="M13 6l-6 6 6 6M19 6l-6 6 6 6"/>`,
  layers: svg`<path d="M4 9l8-4.500L20 9l-8 4.500zM4 14l8 4.500L20 14"/>`,
  copy: svg`<path d="M9 9h10v11H9zM5 15V4h10"/>`,
  warn: svg`<path d="M12 4 2.800 19.500h18.400zM12 10v4.500M12 17v.200"/>`,
  check: svg`<path d="M5 12.500 10 17.500 19.500 7"/>`,
  pin: svg`<path d="M12 21s6.500-6.200 6.500-11.200A6.500 6.500 0 0 0 5.500 9.800C5.500 14.800 12 21 12 21z"/><circle cx="12" cy="9.800" r="2.300"/>`,
  map: svg`<path d="M3.500 6.500 9 4l6 2.500L20.500 4v13.500L15 20l-6-2.500L3.500 20zM9 4v13.500M15 6.500V20"/>`,
  cube: svg`<path d="M12 3.500 20 8v8l-8 4.500L4 16V8zM4 8l8 4.500L20 8M12 12.500v8"/>`,
  beside: svg`<path d="M3.500 5h17v14h-17zM12 5v14"/>`,
  swipe: svg`<path d="M8 7.500 3.500 12 8 16.500M16 7.500l4.500 4.500-4.500 4.500M3.500 12h17"/>`,
  search: svg`<circle cx="10.500" cy="10.500" r="6"/><path d="M15 15l5.500 5.500"/>`,
  sliders: svg`<path d="M4 7h9M17 7h3M4 17h3M11 17h9"/><circle cx="15" cy="7" r="2"/><circle cx="9" cy="17" r="2"/>`,
};

export const icon = (name: keyof typeof PATHS & string): TemplateResult =>
  html`<svg class="line" viewBox="0 0 24 24" aria-hidden="true">${PATHS[name]}</svg>`;
