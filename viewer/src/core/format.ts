/** Numbers, units, coordinates and attribute values as the reader's locale writes them. */
import type { Lang } from "./i18n";
import { locale, translate } from "./i18n";

/** Units as printed; anything not listed is printed as it came. */
const UNITS: Record<string, string> = {
  m2: "m²", m3: "m³", "m^2": "m²", "m^3": "m³", metre: "m", meter: "m", deg: "°", degree: "°",
  "m3/s": "m³/s", "kg/m3": "kg/m³", percent: "%", "1": "", mm_per_h: "mm/h",
};

export function unitText(unit: string | null | undefined): string {
  if (!unit) return "";
  return UNITS[unit] ?? unit;
}

/** At most `digits` decimals, grouped by thousands; very small and very large numbers keep their significant digits. */
export function number(lang: Lang, value: number, digits = 2): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const small = size > 0 && size < 10 ** -digits;
  const options = small ? { maximumSignificantDigits: 3 } : { maximumFractionDigits: digits };
  return new Intl.NumberFormat(locale(lang), options).format(value);
}

/** Exactly `digits` decimals and no grouping: coordinates are copied into other programs. */
export function fixed(lang: Lang, value: number, digits: number): string {
  if (!Number.isFinite(value)) return "–";
  return new Intl.NumberFormat(locale(lang), { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false }).format(value);
}

/** Square metres, as square kilometres from one on. */
export function squareMetres(lang: Lang, value: number, digits = 0): string {
  return Math.abs(value) >= 1e6 ? `${number(lang, value / 1e6, 3)} km²` : `${number(lang, value, digits)} m²`;
}

/** 113°04'48.00000"E; five decimals of a second are a third of a millimetre. */
export function sexagesimal(lang: Lang, value: number, axis: "lon" | "lat", digits = 5): string {
  const unit = 10 ** digits;
  const whole = Math.round(Math.abs(value) * 3600 * unit);
  const [degree, minute, second] = [Math.floor(whole / (3600 * unit)), Math.floor(whole / (60 * unit)) % 60, (whole % (60 * unit)) / unit];
  const side = axis === "lon" ? (value < 0 ? "W" : "E") : value < 0 ? "S" : "N";
  return `${degree}°${String(minute).padStart(2, "0")}′${second < 10 ? "0" : ""}${fixed(lang, second, digits)}″${side}`;
}

export function withUnit(text: string, unit: string | null | undefined): string {
  const shown = unitText(unit);
  if (!shown) return text;
  return shown === "°" || shown === "%" ? `${text}${shown}` : `${text} ${shown}`;
}

/** A length in metres, in km from 10 km on. */
export function metres(lang: Lang, value: number, digits = 1): string {
  if (Math.abs(value) >= 10_000) return `${number(lang, value / 1000, 1)} km`;
  return `${number(lang, value, digits)} m`;
}

export function degrees(lang: Lang, value: number, axis: "lon" | "lat"): string {
  const side = axis === "lon" ? (value < 0 ? "W" : "E") : value < 0 ? "S" : "N";
  return `${fixed(lang, Math.abs(value), 6)}° ${side}`;
}

/** An attribute value of any JSON type. Whole numbers in id-like columns are not grouped: 441301 is a code, not a sum. */
export function attribute(lang: Lang, value: unknown, unit?: string | null): string {
  if (value === null || value === undefined || value === "") return "";
  if (typeof value === "boolean") return translate(lang, value ? "value.yes" : "value.no");
  if (typeof value === "number") {
    const text = Number.isInteger(value) && !unit ? String(value) : number(lang, value, 3);
    return withUnit(text, unit);
  }
  if (Array.isArray(value)) return value.map((item) => attribute(lang, item)).filter(Boolean).join(lang === "zh" ? "、" : ", ");
  if (typeof value === "object") return JSON.stringify(value);
  return withUnit(String(value), unit);
}
