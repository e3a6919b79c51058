/** What the form and its rows share: the look of fields, and the button that draws a field's geometry on the map. */
import { css, html, nothing, type TemplateResult } from "lit";
import type { CityApp } from "../app";
import { placesText, type Field } from "../core/schema-form";

export const formLook = css`
  .field { display: grid; gap: 3px; min-width: 0; }
  .field > label, .field > span { font-weight: 600; font-size: 12.5px; }
  .field > span.help { font-weight: 400; }
  .field em { font-style: normal; font-weight: 400; color: #5f6f7c; }
  .with { display: flex; align-items: center; gap: 6px; min-width: 0; flex-wrap: wrap; }
  .with > input, .with > select, .with > textarea { flex: 1 1 90px; }
  .with > twin-rows { flex: 1 1 100%; min-width: 0; }
  .with i { font-style: normal; color: var(--soft); flex: none; }
  input, select, textarea {
    font: inherit; color: inherit; width: 100%; min-width: 0; padding: 6px 9px; border: 1px solid #cfd8df; border-radius: 7px; background: #fff;
  }
  input[aria-invalid="true"] { border-color: var(--bad); }
  .with > input[type="checkbox"] { width: auto; flex: none; }
  .fault { color: var(--bad); font-size: 12px; }
  .small { padding: 3px 9px; font-size: 12px; flex: none; }
  .small svg { width: 12px; height: 12px; vertical-align: -2px; margin-right: 3px; }
`;

/** "Draw on the map" for a field that holds a place, places, a line or an area; nothing for any other. */
export function geometryButton(app: CityApp, name: string, field: Field, value: string, put: (text: string) => void): TemplateResult | typeof nothing {
  const { kind } = field;
  if (kind !== "point" && kind !== "points" && kind !== "line" && kind !== "polygon") return nothing;
  const { drawing } = app;
  if (drawing.order?.name === name) return drawingState(app);
  const shape = kind === "points" ? "point" : kind;
  const start = () => drawing.start({
    shape, name, ...(kind === "line" && field.schema.minItems ? { least: field.schema.minItems } : {}),
    // Of a list of places every click adds one.
    done: (places) => put(kind === "points" && value.trim() ? `${value}; ${placesText(places)}` : placesText(places)),
  });
  return html`<button type="button" class="quiet small" data-draw=${name} @click=${start}>${app.t(`draw.${shape}`)}</button>`;
}

/** How a drawing under way goes on. */
export function drawingState(app: CityApp): TemplateResult {
  const { drawing } = app;
  if (drawing.order?.shape === "point") return html`<span class="muted" role="status">${app.t("scenario.picking")}</span>
    <button type="button" class="quiet small" @click=${() => drawing.cancel()}>${app.t("tool.stop")}</button>`;
  return html`<span class="muted" role="status" data-drawing=${drawing.spots.length}>${app.t("draw.hint", { n: drawing.spots.length })}</span>
    ${drawing.spots.length >= drawing.least ? html`<button type="button" class="primary small" data-role="drawn" @click=${() => drawing.finish()}>${app.t("tool.done")}</button>` : nothing}
    ${drawing.spots.length > 0 ? html`<button type="button" class="quiet small" @click=${() => drawing.undo()}>${app.t("tool.undo")}</button>` : nothing}
    <button type="button" class="quiet small" @click=${() => drawing.cancel()}>${app.t("tool.stop")}</button>`;
}
