/** Fields over time: their moments, which one is shown at a time of the clock, and how the clock reads. */
import type { TileJson } from "../api/types";
import type { Lang } from "./i18n";
import { locale } from "./i18n";

export interface Timeline {
  /** As the tiles' `time` parameter takes them, ascending. */
  values: readonly (number | string)[];
  /** The same in seconds from the first, or from the start of the run. */
  seconds: readonly number[];
  /** Time of second 0, milliseconds since 1970; null where only the seconds are known. */
  start: number | null;
}

/** The moments of a layer whose tiles know several; null for any other. Moments that cannot be read, or do not ascend, are left out. */
export function timelineOf(json: TileJson): Timeline | null {
  const given = json["twin:times"];
  if (!given || given.length === 0) return null;
  const stamps = given.map((value) => (typeof value === "number" ? value : Number(value) === Number(value) && value.trim() !== "" ? Number(value) : Date.parse(value) / 1000));
  const absolute = given.every((value) => typeof value === "string" && !Number.isFinite(Number(value)));
  const zero = absolute ? stamps[0]! : 0;
  const start = absolute ? zero * 1000 : json["twin:start"] ? Date.parse(json["twin:start"]) : NaN;
  const values: (number | string)[] = [];
  const seconds: number[] = [];
  given.forEach((value, index) => {
    const second = stamps[index]! - zero;
    if (!Number.isFinite(second) || second <= (seconds.at(-1) ?? -Infinity)) return;
    values.push(value);
    seconds.push(second);
  });
  return values.length > 0 ? { values, seconds, start: Number.isFinite(start) ? start : null } : null;
}

/** The moment that stands at a time of the clock: the last one begun; before the first, the first. */
export function frameAt(seconds: readonly number[], time: number): number {
  let low = 0;
  let high = seconds.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (seconds[middle]! <= time + 1e-6) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** All moments of several timelines, ascending, each once. */
export const moments = (lines: readonly Timeline[]): number[] => [...new Set(lines.flatMap(({ seconds }) => seconds))].sort((a, b) => a - b);

/** Address of the tiles of one moment. */
export function frameUrl(template: string, value: number | string): string {
  const text = encodeURIComponent(String(value));
  if (template.includes("{time}")) return template.replaceAll("{time}", text);
  return `${template}${template.includes("?") ? "&" : "?"}time=${text}`;
}

/** "1:05" after the start of a run (hours and minutes; seconds where it is short), or the date and time. */
export function clockText(lang: Lang, line: Pick<Timeline, "start">, time: number, short = false): string {
  if (line.start !== null)
    return new Intl.DateTimeFormat(locale(lang), { month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23" })
      .format(new Date(line.start + time * 1000));
  return hours(time, short);
}

/** Seconds as hours and minutes, "1:05"; with seconds where there are some, or `short` is the whole. */
export function hours(time: number, short = false): string {
  const whole = Math.round(time);
  const two = (n: number) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return short || s !== 0 ? `${h}:${two(m)}:${two(s)}` : `${h}:${two(m)}`;
}
