/** How far a job is, in words: its stage, and a scenario's own clock. */
import type { Job } from "../api/types";
import { isMessageKey } from "./i18n";
import type { MessageKey } from "./messages";
import { hours } from "./timeline";

type Say = (key: MessageKey, values?: Record<string, string | number>) => string;

/** What the driver says of the model's time; anything else is said as it stands. */
const MODEL_TIME = /t = (\d+) s \/ (\d+) s/;

export function jobProgress(job: Job, t: Say): string {
  if (job.status === "accepted") return t("scenario.waiting");
  const key = `stage.${job["twin:stage"] ?? ""}`;
  const stage = isMessageKey(key) ? t(key) : job.message ?? "";
  const at = MODEL_TIME.exec(job.message ?? "");
  return `${stage} ${job.progress ?? 0}%${at ? ` · ${t("stage.time", { at: hours(Number(at[1])), of: hours(Number(at[2])) })}` : ""}`;
}
