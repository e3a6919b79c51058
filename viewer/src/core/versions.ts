/** Moments at which a layer began to show another version, from its list of versions: the stops of its time slider. */
import type { VersionEntry } from "../api/types";

export interface Stop {
  /** RFC 3339 time from which the version was shown; "" is now. */
  from: string;
  version: number;
  count: number | null;
}

/** Oldest first; the last stop is what is shown now. A version that was rolled back to is there twice. */
export function stops(versions: readonly VersionEntry[]): Stop[] {
  const shown = versions.flatMap(({ version, count, shown: periods }) => periods.map(({ from }) => ({ from, version, count })));
  shown.sort((a, b) => Date.parse(a.from) - Date.parse(b.from));
  return shown.map((stop, index) => (index === shown.length - 1 ? { ...stop, from: "" } : stop));
}

/** The stop that was shown at a time ("" is now); the first one for times before all. */
export function stopAt(all: readonly Stop[], time: string): number {
  if (!time) return all.length - 1;
  const at = Date.parse(time);
  const later = all.findIndex(({ from }) => from === "" || Date.parse(from) > at);
  return Math.max(0, later === -1 ? all.length - 1 : later - 1);
}
