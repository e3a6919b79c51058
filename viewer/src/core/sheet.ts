/**
 * A printed sheet as one SVG in millimetres: map, title, legend, scale bar, north arrow, date, sources, reference systems. Text stays text, so a
 * printer (and the browser's PDF) sets it in the machine's own fonts, Chinese included; the same SVG becomes the PNG.
 */
import { roundScale } from "./measure";

export const PAPERS = { A4: [210, 297], A3: [297, 420] } as const;
export type Paper = keyof typeof PAPERS;

export interface SheetFormat {
  paper: Paper;
  landscape: boolean;
}
export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}
export interface LegendRow {
  /** A CSS colour, or several from left to right for a ramp; null for a heading. */
  colour: string | readonly string[] | null;
  text: string;
}
export interface SheetModel extends SheetFormat {
  title: string;
  /** Picture of the map, exactly the frame's shape, as a data URL. */
  picture: string;
  /** Metres of the city that a millimetre in the middle of the frame stands for; null where the middle shows no ground. */
  metresPerMm: number | null;
  /** Degrees clockwise from north to which the top of the picture points. */
  heading: number;
  legend: readonly LegendRow[];
  /** Lines below the map; each is broken where it does not fit. */
  notes: readonly string[];
  words: {
    legend: string;
    /** `{n}` is what is left out. */
    more: string;
    /** `{n}` is the scale's number. */
    scale: string;
    oblique: string | null;
    /** Writes a number, and a length in metres. */
    number: (value: number) => string;
    metres: (value: number) => string;
  };
}

const FONT = "'PingFang SC','Microsoft YaHei','Noto Sans CJK SC','Source Han Sans SC',system-ui,sans-serif";
const INK = "#1c2b37";
const MARGIN = 10;
const TITLE = 14;
const NOTES = 27;
/** Legend: a column beside a lying sheet's map, a band below a standing one's. */
const COLUMN = 58;
const BAND = 44;
/** Letter height of body text and line distance, mm. */
const SMALL = 3;
const LINE = 4.4;

export function sizeOf({ paper, landscape }: SheetFormat): { width: number; height: number } {
  const [short, long] = PAPERS[paper];
  return landscape ? { width: long, height: short } : { width: short, height: long };
}

/** Where map, legend and notes stand, mm. */
export function partsOf(format: SheetFormat): { map: Box; legend: Box; notes: Box } {
  const { width, height } = sizeOf(format);
  const [inner, top] = [width - 2 * MARGIN, MARGIN + TITLE];
  const notes = { x: MARGIN, y: height - MARGIN - NOTES, width: inner, height: NOTES };
  if (format.landscape) {
    const map = { x: MARGIN, y: top, width: inner - COLUMN - 3, height: notes.y - top - 2 };
    return { map, notes, legend: { x: map.x + map.width + 3, y: top, width: COLUMN, height: map.height } };
  }
  const map = { x: MARGIN, y: top, width: inner, height: notes.y - top - BAND - 4 };
  return { map, notes, legend: { x: MARGIN, y: map.y + map.height + 2, width: inner, height: BAND } };
}

/** Width of a text in ems: a Chinese letter is one wide, others are about half of it. */
export const emsOf = (text: string): number =>
  [...text].reduce((sum, letter) => sum + (/[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uff60]/.test(letter) ? 1 : /[A-Zmw@%]/.test(letter) ? 0.72 : 0.54), 0);

/** A text in lines of at most `ems`; Latin words are kept whole where they fit a line. */
export function wrapped(text: string, ems: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const piece of text.match(/[\u2e80-\u9fff\uff00-\uff60]|[^\s\u2e80-\u9fff\uff00-\uff60]+\s*|\s+/g) ?? []) {
    if (line && emsOf(line + piece.trimEnd()) > ems) {
      lines.push(line.trimEnd());
      line = "";
    }
    let rest = piece;
    while (emsOf(rest.trimEnd()) > ems) {
      let take = 1;
      while (emsOf(rest.slice(0, take + 1)) <= ems) take += 1;
      lines.push(rest.slice(0, take));
      rest = rest.slice(take);
    }
    line += rest;
  }
  return line.trim() ? [...lines, line.trimEnd()] : lines;
}

/** The scale's number to three digits: 2347 → 2350. */
export function scaleNumber(metresPerMm: number): number {
  const exact = metresPerMm * 1000;
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(exact)) - 2);
  return Math.round(exact / unit) * unit;
}

/** Length of the scale bar: metres, and millimetres on paper. */
export function barOf(metresPerMm: number, most = 50): { metres: number; mm: number } {
  const metres = roundScale(most * metresPerMm);
  return { metres, mm: metres / metresPerMm };
}

const escaped = (text: string): string => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const mm = (value: number): string => String(Math.round(value * 1000) / 1000);
const write = (x: number, y: number, size: number, text: string, more = ""): string =>
  `<text x="${mm(x)}" y="${mm(y)}" font-size="${mm(size)}" ${more}>${escaped(text)}</text>`;

export function sheetSvg(model: SheetModel): string {
  const { width, height } = sizeOf(model);
  const { map, legend, notes } = partsOf(model);
  const size = Math.min(7, (width - 2 * MARGIN) / Math.max(1, emsOf(model.title)));
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}mm" height="${height}mm" viewBox="0 0 ${width} ${height}" font-family="${FONT}" fill="${INK}">
<rect width="${width}" height="${height}" fill="#fff"/>
${write(width / 2, MARGIN + 8, size, model.title, 'text-anchor="middle" font-weight="700" data-part="title"')}
<image x="${mm(map.x)}" y="${mm(map.y)}" width="${mm(map.width)}" height="${mm(map.height)}" preserveAspectRatio="none" href="${model.picture}"/>
<rect x="${mm(map.x)}" y="${mm(map.y)}" width="${mm(map.width)}" height="${mm(map.height)}" fill="none" stroke="${INK}" stroke-width="0.4"/>
${north(map, model.heading)}
${scale(map, model)}
${key(legend, model)}
${foot(notes, model)}
</svg>`;
}

function north(map: Box, heading: number): string {
  const [x, y] = [map.x + map.width - 11, map.y + 12];
  return `<g data-part="north"><circle cx="${mm(x)}" cy="${mm(y)}" r="8.500" fill="#fff" fill-opacity="0.85"/>
<g transform="translate(${mm(x)} ${mm(y)}) rotate(${mm(-heading)})"><path d="M0-6 2.600 4.600 0 2.800-2.600 4.600z"/><text y="-6.300" font-size="2.800" font-weight="700" text-anchor="middle" transform="translate(0 0)">N</text></g></g>`;
}

function scale(map: Box, { metresPerMm, words }: SheetModel): string {
  if (metresPerMm === null || !(metresPerMm > 0)) return "";
  const bar = barOf(metresPerMm);
  const said = words.scale.replace("{n}", words.number(scaleNumber(metresPerMm)));
  const plate = Math.max(bar.mm + 14, emsOf(words.oblique ?? said) * 2.6 + 6, emsOf(said) * SMALL + 6);
  const [x, y] = [map.x + 2, map.y + map.height - (words.oblique ? 18.5 : 15)];
  const left = x + 4;
  const cells = [0, 1, 2, 3].map((i) => `<rect x="${mm(left + (i * bar.mm) / 4)}" y="${mm(y + 6)}" width="${mm(bar.mm / 4)}" height="1.600" fill="${i % 2 ? "#fff" : INK}" stroke="${INK}" stroke-width="0.2"/>`);
  return `<g data-part="scale" data-metres="${bar.metres}" data-mm="${mm(bar.mm)}"><rect x="${mm(x)}" y="${mm(y)}" width="${mm(plate)}" height="${words.oblique ? 16.5 : 13}" fill="#fff" fill-opacity="0.85"/>
${write(left, y + 4.6, 2.6, "0", 'text-anchor="middle"')}${write(left + bar.mm, y + 4.6, 2.6, words.metres(bar.metres), 'text-anchor="middle"')}
${cells.join("")}${write(left, y + 11.4, SMALL, said)}${words.oblique ? write(left, y + 15, 2.6, words.oblique) : ""}</g>`;
}

/** Rows from top to bottom, in as many columns as there is room for; what does not fit is counted. */
function key(box: Box, { legend, words, landscape }: SheetModel): string {
  if (legend.length === 0) return "";
  const columns = landscape ? 1 : Math.max(1, Math.floor(box.width / COLUMN));
  const rows = Math.floor((box.height - 7) / LINE);
  const room = rows * columns;
  const shown = legend.length > room ? legend.slice(0, room - 1) : legend;
  const wide = box.width / columns;
  const parts = shown.map((row, i) => {
    const [x, y] = [box.x + Math.floor(i / rows) * wide, box.y + 10 + (i % rows) * LINE];
    const text = fitted(row.text, (wide - (row.colour === null ? 2 : 9)) / SMALL);
    if (row.colour === null) return write(x, y, SMALL, text, 'font-weight="600"');
    const colours = typeof row.colour === "string" ? [row.colour] : row.colour;
    const patch = colours.map((colour, k) => `<rect x="${mm(x + (k * 6) / colours.length)}" y="${mm(y - 2.5)}" width="${mm(6 / colours.length + 0.02)}" height="3" fill="${escaped(colour)}"/>`).join("");
    return `${patch}<rect x="${mm(x)}" y="${mm(y - 2.5)}" width="6" height="3" fill="none" stroke="${INK}" stroke-width="0.1"/>${write(x + 7.5, y, SMALL, text)}`;
  });
  if (shown.length < legend.length) {
    const [x, y] = [box.x + (columns - 1) * wide, box.y + 10 + (rows - 1) * LINE];
    parts.push(write(x, y, SMALL, words.more.replace("{n}", words.number(legend.length - shown.length))));
  }
  return `<g data-part="legend">${write(box.x, box.y + 4, 3.8, words.legend, 'font-weight="700"')}${parts.join("")}</g>`;
}

function fitted(text: string, ems: number): string {
  if (emsOf(text) <= ems) return text;
  let cut = [...text];
  while (cut.length > 1 && emsOf(`${cut.join("")}…`) > ems) cut = cut.slice(0, -1);
  return `${cut.join("")}…`;
}

/** Notes in smaller letters when there are many; what still does not fit is marked. */
function foot(box: Box, { notes, words }: SheetModel): string {
  for (const size of [SMALL, 2.5, 2]) {
    const lines = notes.flatMap((note) => wrapped(note, box.width / size));
    const room = Math.floor(box.height / (size * 1.4));
    if (lines.length > room && size > 2) continue;
    const shown = lines.length > room ? [...lines.slice(0, room - 1), words.more.replace("{n}", words.number(lines.length - room + 1))] : lines;
    return `<g data-part="notes">${shown.map((line, i) => write(box.x, box.y + (i + 1) * size * 1.4, size, line)).join("")}</g>`;
  }
  return "";
}
