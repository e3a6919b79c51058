/** Key figures and alerts of the big screen, from the catalogue and the jobs. */
import type { Job } from "../api/types";
import { byRun, runName, type Layer } from "./layers";
import type { MessageKey } from "./messages";

export interface Figure {
  layer: Layer;
  count: number;
}
export interface Alert {
  level: "bad" | "warn" | "info" | "good";
  key: MessageKey;
  values: Record<string, string | number>;
  layer?: Layer;
}

/** Whether a layer's count is one of things; a raster's is one of cells. */
const counted = ({ kind, count }: Layer): boolean => count !== null && ["blocks", "mesh", "vector", "points"].includes(kind);

/** Layers whose features can be counted like things, the largest first; results of runs are no stock of the city. */
export function figuresOf(layers: readonly Layer[], most = 8): Figure[] {
  return layers.filter((layer) => !layer.run && counted(layer)).map((layer) => ({ layer, count: layer.count! }))
    .sort((a, b) => b.count - a.count || a.layer.id.localeCompare(b.layer.id)).slice(0, most);
}

/** What needs attention, the worst first: failed jobs, what runs now, tiles that stand on old ground, the newest runs. */
export function alertsOf(layers: readonly Layer[], jobs: readonly Job[], most = 9): Alert[] {
  const name = (job: Job) => ({ process: job.processID ?? job.jobID.slice(0, 8), why: (job.message ?? "").slice(0, 90), n: Math.round(job.progress ?? 0) });
  const of = (status: Job["status"]) => jobs.filter((job) => job.status === status);
  const found: Alert[] = [
    ...of("failed").slice(0, 3).map((job): Alert => ({ level: "bad", key: "wall.failed", values: name(job) })),
    ...of("running").map((job): Alert => ({ level: "info", key: "wall.running", values: name(job) })),
    ...layers.filter(({ stale }) => stale).map((layer): Alert => ({ level: "warn", key: "wall.stale", values: {}, layer })),
    ...[...byRun(layers.filter(({ run }) => run)).entries()].sort(([a], [b]) => age(jobs, a) - age(jobs, b)).slice(0, 4).map(([, own]) => resultOf(own)),
  ];
  return found.slice(0, most);
}

/** Place of a run's job in the list, which has the newest first; those that are kept no longer come last. */
function age(jobs: readonly Job[], run: string): number {
  const at = jobs.findIndex(({ jobID }) => jobID === run);
  return at < 0 ? jobs.length : at;
}

/** A run's results in a line: how many buildings it hit, or other things, or what there is. */
function resultOf(own: readonly Layer[]): Alert {
  const hit = own.find((layer) => layer.kind === "blocks" && counted(layer)) ?? own.find(counted);
  const run = runName(own);
  return hit ? { level: "good", key: "wall.result", values: { run, n: hit.count! }, layer: hit } : { level: "good", key: "wall.ready", values: { run }, layer: own[0]! };
}
