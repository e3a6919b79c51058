/** The picture of the present view for a report: with title, scale, north, date and source. */
import { Cartesian3 } from "@cesium/engine";
import type { CityApp } from "./app";
import { groundAt } from "./cesium/pick";
import { metres } from "./core/format";
import { bilingual, locale } from "./core/i18n";
import { roundScale } from "./core/measure";

const STRIP = 46;

/** PNG of the city as it is now. */
export async function picture(app: CityApp): Promise<Blob> {
  const { widget } = app;
  if (!widget) throw new Error("no scene");
  widget.render();
  const source = widget.canvas;
  const canvas = document.createElement("canvas");
  const scale = source.width / source.clientWidth;
  canvas.width = source.width;
  canvas.height = source.height + STRIP * scale;
  const pen = canvas.getContext("2d")!;
  pen.drawImage(source, 0, 0);
  pen.scale(scale, scale);
  frame(app, pen, source.clientWidth, source.clientHeight);
  return new Promise((resolve, reject) => { canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("PNG"))), "image/png"); });
}

function frame(app: CityApp, pen: CanvasRenderingContext2D, width: number, height: number): void {
  pen.fillStyle = "#ffffff";
  pen.fillRect(0, height, width, STRIP);
  pen.fillStyle = "#1c2b37";
  pen.textBaseline = "middle";
  pen.font = '600 15px "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", system-ui, sans-serif';
  pen.fillText(bilingual(app.lang, app.city?.title, app.t("app.name")), 14, height + 16);
  pen.font = '12px "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", system-ui, sans-serif';
  const when = new Intl.DateTimeFormat(locale(app.lang), { dateStyle: "long", timeStyle: "short" }).format(new Date());
  pen.fillText(app.t("picture.source", { when, layers: sources(app) }), 14, height + 34, width - 240);
  scaleBar(app, pen, width - 150, height + 30);
  north(app, pen, width - 30, height + 23);
}

const sources = (app: CityApp): string =>
  app.layers.filter((layer) => app.states.get(layer.id)?.visible).map((layer) => `${bilingual(app.lang, layer.title)} v${layer.version ?? "–"}`).join(app.lang === "zh" ? "、" : ", ");

/** True in the middle of the picture; in a slanting view the front is larger and the back smaller. */
function scaleBar(app: CityApp, pen: CanvasRenderingContext2D, x: number, y: number): void {
  const { widget } = app;
  if (!widget) return;
  const { clientWidth, clientHeight } = widget.canvas;
  const ends = [-50, 50].map((dx) => groundAt(widget, clientWidth / 2 + dx, clientHeight / 2));
  const [a, b] = ends;
  if (!a || !b) return;
  const across = Cartesian3.distance(Cartesian3.fromDegrees(a.lon, a.lat, a.height), Cartesian3.fromDegrees(b.lon, b.lat, b.height));
  const long = roundScale(across);
  const pixels = (long / across) * 100;
  pen.fillRect(x, y, pixels, 3);
  pen.fillRect(x, y - 4, 1.5, 7);
  pen.fillRect(x + pixels - 1.5, y - 4, 1.5, 7);
  pen.fillText(metres(app.lang, long, 1), x, y - 13);
}

function north(app: CityApp, pen: CanvasRenderingContext2D, x: number, y: number): void {
  pen.save();
  pen.translate(x, y);
  pen.rotate(-(app.widget?.camera.heading ?? 0));
  pen.beginPath();
  for (const [px, py] of [[0, -14], [7, 11], [0, 6], [-7, 11]] as const) pen.lineTo(px, py);
  pen.closePath();
  pen.fill();
  pen.restore();
  pen.fillText("N", x + 10, y - 12);
}

export function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 30_000);
}

