/** Parts below the ground: which layers tell them apart (their style names the column), and which of them a filter leaves. */
import type { Condition } from "./filter";
import type { Layer, LayerState } from "./layers";

export const VIEWS = ["all", "below", "above"] as const;
export type GroundView = (typeof VIEWS)[number];

const WANTED: Record<Exclude<GroundView, "all">, string> = { below: "true", above: "false" };

/** Column that is true for what lies below the ground, or null. */
export function undergroundColumn(layer: Layer): string | null {
  const named = layer.style["underground"];
  return typeof named === "string" && layer.schema.some(({ name }) => name === named) ? named : null;
}

/** What of a layer is shown now. */
export function groundView(layer: Layer, { conditions }: Pick<LayerState, "conditions">): GroundView {
  const column = undergroundColumn(layer);
  const value = conditions.find((one) => one.column === column && one.op === "=")?.value;
  return value === WANTED.below ? "below" : value === WANTED.above ? "above" : "all";
}

/** A layer's filter with another view of the ground; its other conditions stay. */
export function withGroundView(layer: Layer, conditions: readonly Condition[], view: GroundView): Condition[] {
  const column = undergroundColumn(layer);
  if (column === null) return [...conditions];
  const rest = conditions.filter((one) => one.column !== column);
  return view === "all" ? rest : [...rest, { column, op: "=", value: WANTED[view] }];
}
