/** Language: which one, how a message is looked up, how a bilingual value is read. */
import type { Bilingual } from "../api/types";
import { MESSAGES, type MessageKey } from "./messages";

export type Lang = "zh" | "en";

/** Chinese unless the reader's browser clearly asks for another language. */
export function chooseLang(preferred: readonly string[], stored?: string | null): Lang {
  if (stored === "zh" || stored === "en") return stored;
  const first = preferred[0]?.toLowerCase();
  return first === undefined || first.startsWith("zh") ? "zh" : "en";
}

export function translate(lang: Lang, key: MessageKey, values: Record<string, string | number> = {}): string {
  const text: string = MESSAGES[key][lang === "zh" ? 0 : 1];
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** Reads a bilingual value in `lang`, else in the other language, else the fallback. */
export function bilingual(lang: Lang, value: Bilingual | null | undefined, fallback = ""): string {
  const [first, second] = lang === "zh" ? [value?.zh, value?.en] : [value?.en, value?.zh];
  return first || second || fallback;
}

/** How numbers and dates are written: the reader's own kind of the language (en-GB, zh-HK) where the browser names one. */
export function locale(lang: Lang, preferred: readonly string[] = globalThis.navigator?.languages ?? []): string {
  return preferred.find((tag) => tag.toLowerCase().split("-")[0] === lang) ?? (lang === "zh" ? "zh-CN" : "en");
}

export function isMessageKey(key: string): key is MessageKey {
  return key in MESSAGES;
}

/** A process's title in the reader's language. */
export function processName(process: { id: string; title?: string; [extension: `x-${string}`]: unknown }, lang: Lang): string {
  const zh = process["x-title-zh"];
  return lang === "zh" && typeof zh === "string" ? zh : process.title ?? process.id;
}
