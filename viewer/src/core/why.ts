/** Why something failed, in the reader's language: for the `{why}` of a message. */
import { ApiError } from "../api/client";
import type { MessageKey } from "./messages";

type Say = (key: MessageKey, values?: Record<string, string | number>) => string;

/** @param error what was thrown: an answer of the server, Cesium's own failed request (`statusCode`), or anything else. */
export function why(error: unknown, t: Say): string {
  if (error instanceof ApiError) return byStatus(error.status, error.detail, t);
  const { statusCode } = (error ?? {}) as { statusCode?: number };
  if (statusCode !== undefined) return byStatus(statusCode, "", t);
  return error instanceof Error ? error.message : String(error);
}

function byStatus(status: number, detail: string, t: Say): string {
  if (status === 0) return t("why.silent");
  if (status >= 500) return t("why.server", { status, detail: detail || "?" });
  if (detail) return detail;
  return status === 404 ? t("why.missing") : t("why.status", { status });
}
