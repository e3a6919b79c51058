/** From the city on the screen to a sheet of paper: what is drawn, its legend, where it comes from; as SVG, PNG, or through the browser's printing. */
import { Math as CesiumMath } from "@cesium/engine";
import type { CityApp } from "./app";
import { fixed, metres, number } from "./core/format";
import { bilingual, isMessageKey, locale } from "./core/i18n";
import { layerTitle, type Layer } from "./core/layers";
import { blockRows, entryText, legendHeading, shownLegends } from "./core/legends";
import type { MessageKey } from "./core/messages";
import { partsOf, sheetSvg, sizeOf, type LegendRow, type SheetFormat } from "./core/sheet";
import { snapshot } from "./picture";

/** Dots per inch of the map on paper and of the PNG. */
const DPI = 200;
const MM_PER_INCH = 25.4;

export function makeSheet(app: CityApp, format: SheetFormat, title: string): string {
  const { lang } = app;
  const { map } = partsOf(format);
  const { url, metresAcross } = app.section.unmarked(() => snapshot(app, map.width / map.height, (map.width / MM_PER_INCH) * DPI));
  const camera = app.widget!.camera;
  const upright = app.camera.flat || camera.pitch < -CesiumMath.toRadians(88);
  return sheetSvg({
    ...format, title, picture: url, metresPerMm: metresAcross === null ? null : metresAcross / map.width,
    heading: CesiumMath.toDegrees(camera.heading), legend: legendRows(app), notes: notes(app),
    words: {
      legend: app.t("print.legend"), more: app.t("print.more"), scale: app.t("print.scale"), oblique: upright ? null : app.t("print.oblique"),
      number: (value) => number(lang, value, 0), metres: (value) => metres(lang, value, 2),
    },
  });
}

const visible = (app: CityApp): Layer[] => app.layers.filter(({ id, kind }) => kind !== "table" && app.states.get(id)?.visible);

function legendRows(app: CityApp): LegendRow[] {
  const { lang, layers, states, legends, themes } = app;
  const shown = shownLegends(layers, states, legends, themes);
  const named = new Set(shown.flatMap((one) => one.layers));
  const rows = shown.flatMap((one): LegendRow[] => {
    const { title, unit } = legendHeading(lang, one);
    const entries = one.legend.entries ?? [];
    const [first, last] = [entries[0]!, entries[entries.length - 1]!];
    const head = { colour: null, text: unit ? `${title} (${unit})` : title };
    if (one.legend.type === "continuous") return [head, { colour: entries.map(({ color }) => color), text: `${entryText(lang, one, first, 0)} – ${entryText(lang, one, last, 1)}` }];
    return entries.length === 1 && entryText(lang, one, first) === title ? [{ colour: first.color, text: title }]
      : [head, ...entries.map((entry) => ({ colour: entry.color, text: entryText(lang, one, entry) }))];
  });
  const plain = visible(app).filter((layer) => !named.has(layer)).flatMap((layer): LegendRow[] => {
    if (layer.kind === "vector") return [{ colour: layer.style.color ?? legends.get(layer.id)?.entries?.[0]?.color ?? "#888888", text: layerTitle(layer, lang) }];
    if (layer.kind !== "blocks") return [];
    const blocks = blockRows(lang, layer, states.get(layer.id)!).map(({ color, text }) => ({ colour: color, text }));
    return blocks.length === 1 ? blocks : [{ colour: null, text: layerTitle(layer, lang) }, ...blocks];
  });
  return [...rows, ...plain];
}

function notes(app: CityApp): string[] {
  const { lang } = app;
  const time = (date: Date): string => new Intl.DateTimeFormat(locale(lang), { dateStyle: "long", timeStyle: "short" }).format(date);
  const list = (parts: readonly string[]): string => parts.join(lang === "zh" ? "、" : ", ");
  const shown = visible(app);
  const sources = shown.map((layer) => `${layerTitle(layer, lang)} v${layer.version ?? "–"} (${layer.licence ?? app.t("print.licence.none")})`);
  const references = new Set(shown.flatMap(({ reference }) => (reference ? [[reference.horizontal, reference.vertical && datumName(app, reference.vertical)].filter(Boolean).join(" + ")] : [])));
  const middle = app.camera.currentView();
  return [
    app.t("print.date", { when: time(new Date()) }) + (app.playback.clock ? ` · ${app.t("print.moment", { clock: app.playback.clock })}` : "") + (app.asOf ? ` · ${app.t("print.asOf", { when: time(new Date(app.asOf)) })}` : "")
      + (middle ? ` · ${app.t("print.middle", { lon: `${fixed(lang, middle.lon, 5)}°`, lat: `${fixed(lang, middle.lat, 5)}°` })}` : "")
      + ` · ${app.t("print.made", { name: app.t("app.name") })}`,
    app.t("print.crs", { crs: list([app.t("print.display"), ...references]) }),
    app.t("print.sources", { layers: list([...sources, app.t("app.made")]) }),
  ];
}

function datumName(app: CityApp, code: string): string {
  const key = `datum.${code}`;
  return isMessageKey(key) ? app.t(key as MessageKey) : code;
}

export const defaultTitle = (app: CityApp): string => bilingual(app.lang, app.city?.title, app.t("app.name"));

/** The sheet as PNG. */
export async function toPng(svg: string, format: SheetFormat): Promise<Blob> {
  const { width, height } = sizeOf(format);
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height].map((mm) => Math.round((mm / MM_PER_INCH) * DPI)) as [number, number];
  canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => { canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("PNG"))), "image/png"); });
}

/** A page that is the sheet and nothing else, for the browser's printing. */
export function printPage(svg: string, format: SheetFormat, title: string, lang: string): string {
  const { width, height } = sizeOf(format);
  const name = title.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);
  return `<!doctype html><html lang="${lang}"><head><meta charset="utf-8"><title>${name}</title><style>
@page { size: ${width}mm ${height}mm; margin: 0 } html, body { margin: 0 } svg { display: block; width: ${width}mm; height: ${height}mm; break-after: avoid }
* { -webkit-print-color-adjust: exact; print-color-adjust: exact }</style></head><body>${svg}</body></html>`;
}

/** Opens the browser's printing with the sheet; there it is also saved as PDF. */
export function print(page: string): void {
  const frame = document.createElement("iframe");
  frame.setAttribute("aria-hidden", "true");
  frame.style.cssText = "position:fixed;right:0;bottom:0;width:0;height:0;border:0";
  frame.addEventListener("load", () => {
    const inner = frame.contentWindow!;
    inner.addEventListener("afterprint", () => frame.remove());
    inner.focus();
    inner.print();
  });
  frame.srcdoc = page;
  document.querySelector("iframe[data-role=print]")?.remove();
  frame.dataset["role"] = "print";
  document.body.append(frame);
}
