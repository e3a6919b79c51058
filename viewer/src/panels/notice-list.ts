/** What went wrong and what to do about it, at the top where it is seen, gone when it is over. */
import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { icon, look, Panel } from "./base";

const LIMIT = 2;

@customElement("twin-notices")
export class NoticeList extends Panel {
  static override styles = [look, css`
    :host { display: grid; gap: 8px; justify-items: center; }
    .notice {
      display: flex; align-items: flex-start; gap: 9px; max-width: 640px; padding: 9px 8px 9px 13px; border-radius: 9px; background: #fff;
      box-shadow: 0 4px 20px rgba(18, 38, 56, 0.2); border-left: 4px solid var(--accent);
    }
    .bad { border-color: var(--bad); }
    .good { border-color: var(--good); }
    .notice > svg { width: 18px; height: 18px; flex: none; margin-top: 1px; }
    .bad > svg { color: var(--bad); }
    .good > svg { color: var(--good); }
    .icon { width: 22px; height: 22px; }
  `];

  @state() private open = false;

  protected override render(): TemplateResult {
    const { all } = this.app.notices;
    // The newest first, and few: a wall of messages hides the city and is not read.
    const shown = this.open ? all : all.slice(-LIMIT);
    return html`${[...shown].reverse().map(({ subject, key, values, tone }) => html`
      <div class="notice ${tone}" role=${tone === "bad" ? "alert" : "status"} data-notice=${subject}>
        ${icon(tone === "good" ? "check" : "warn")}<span>${this.t(key, values)}</span>
        <button class="icon" title=${this.t("notice.dismiss")} aria-label=${this.t("notice.dismiss")}
          @click=${() => this.app.notices.clear(subject)}>${icon("close")}</button></div>`)}
      ${all.length > LIMIT ? html`<button class="quiet" @click=${() => { this.open = !this.open; }}>${this.t("notice.more", { n: all.length - LIMIT })}</button>` : nothing}`;
  }
}
