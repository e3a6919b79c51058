/**
 * Colours of buildings. Muted, similar in lightness, apart in hue, so that 2,000 blocks stay calm and the picked one stands out.
 * Checked against deuteranopia by keeping the lightness of neighbouring classes apart.
 */
import type { MessageKey } from "./messages";
import { slug, unknown } from "./properties";

export interface Swatch {
  key: MessageKey;
  color: string;
  /** Source of a case-insensitive regular expression over the attribute's text, Chinese and English words. */
  pattern: string;
}

/** The first matching row wins, so the specific words come first. */
export const USES: readonly Swatch[] = [
  { key: "use.mixed", color: "#dcc3b4", pattern: "mixed|混合|商住|综合体" },
  { key: "use.industrial", color: "#b3acc9", pattern: "industr|factory|warehouse|storage|manufactur|works|hangar|silo|工业|厂|仓" },
  { key: "use.public", color: "#9cc4b6",
    pattern: "public|school|hospital|universit|colleg|kinder|government|civic|church|temple|museum|library|clinic|community|sport|公共|学校|医院|医疗|教育|行政|文化|体育|政府|社区|寺|庙" },
  { key: "use.transport", color: "#a3a9b3", pattern: "transport|station|parking|garage|bridge|terminal|交通|车站|停车|桥" },
  { key: "use.commercial", color: "#8fb4d9", pattern: "commerc|retail|office|shop|hotel|market|mall|bank|restaurant|supermarket|商|办公|酒店|市场|写字楼" },
  { key: "use.residential", color: "#ecdcb9", pattern: "resid|house|apart|dwelling|detached|terrace|dormitor|villa|居住|住宅|公寓|宿舍|民居|老屋|民房" },
];
export const OTHER_USE = "#d6d8d6";
export const PLAIN = "#e4e2dc";

/** Low → high: [upper bound in metres, colour]; sequential in lightness, safe for colour-blind readers. */
export const HEIGHTS: readonly (readonly [number, string])[] = [
  [6, "#f2ead8"], [12, "#e3dcc4"], [24, "#bcd3c5"], [50, "#86b6bf"], [100, "#4f8eae"], [Infinity, "#2d5d8f"],
];

/** Buildings by the water at their walls: [upper bound in metres, colour]; warm, so that they stand out of the blue flood. */
export const DEPTHS: readonly (readonly [number, string])[] = [
  [0.15, "#f8e3b4"], [0.5, "#f4bd75"], [1, "#e98a4c"], [2, "#d0503a"], [Infinity, "#8f1f33"],
];

/** Conditions of a 3D Tiles style for a text column of uses. `String()` guards features without the value. */
export function useConditions(column: string): [string, string][] {
  const text = `String(\${${slug(column)}})`;
  return [
    ...USES.map(({ pattern, color }): [string, string] => [`regExp('${pattern}', 'i').test(${text})`, `color('${color}')`]),
    ["true", `color('${OTHER_USE}')`],
  ];
}

/** Conditions for a numeric column in classes of ascending upper bounds; features without the value (and masses) come first. */
export function classConditions(column: string, classes: readonly (readonly [number, string])[]): [string, string][] {
  const property = `\${${slug(column)}}`;
  return [[unknown(property), `color('${OTHER_USE}')`], ...classes.map(([limit, color]): [string, string] =>
    [Number.isFinite(limit) ? `${property} <= ${limit}` : "true", `color('${color}')`])];
}
