/** What a tool is: how many clicks it takes, how they are drawn, and how its answer is worked out. */
import type { CesiumWidget } from "@cesium/engine";
import type { PositionFound, Statistics } from "../api/types";
import type { CityApp } from "../app";
import type { Overlay } from "../cesium/overlay";
import type { Place } from "../cesium/pick";
import type { Drawing } from "../cesium/sketch";
import type { Pool } from "../core/bathtub";
import type { Grid, Slope } from "../core/grid";
import type { Layer } from "../core/layers";
import type { Area, Length } from "../core/measure";

export const TOOLS = ["distance", "area", "slope", "position", "profile", "select", "box", "corridor", "sight", "viewshed", "sun", "flood", "section", "cutbox", "note"] as const;
export type Tool = (typeof TOOLS)[number];

/** What the reader may set before or after clicking; lengths in metres, angles in degrees. */
export interface Settings {
  /** Half the width of a corridor. */
  width: number;
  /** 2026-06-21. */
  sunDate: string;
  /** Of the eye above the clicked place. */
  eye: number;
  /** How far a viewshed reaches. */
  radius: number;
  /** Middle of a viewshed's sector, clockwise from north, and its whole width. */
  heading: number;
  sector: number;
  /** How far around the click a flood preview looks. */
  basin: number;
}

export interface LayerAnswer {
  layer: Layer;
  filter: string;
  statistics: Statistics;
}
export type Datum = PositionFound["datum"];
export interface Preview {
  kind: "flood";
  grid: Grid;
  /** Ellipsoidal heights of the grid's cells, metres. */
  heights: Float64Array;
  from: number;
  /** Ellipsoidal, metres. */
  level: number;
  datum: Datum | null;
  pool: Pool;
}
export type Result =
  | { kind: "length"; length: Length }
  | { kind: "area"; area: Area; level: number; cut: number; fill: number; unknown: number }
  | { kind: "slope"; slope: Slope | null; spacing: number }
  | { kind: "position"; place: Place; found: PositionFound }
  | { kind: "profile"; points: { distance: number; ground: number }[]; length: Length }
  | { kind: "select"; area: Area | null; answers: LayerAnswer[] }
  | { kind: "sight"; free: boolean; length: Length }
  | { kind: "viewshed"; seen: number; total: number; unknown: number; cell: number }
  | { kind: "sun"; hours: number; lit: { hour: number; sun: boolean }[]; date: string }
  | { kind: "section" }
  | Preview;

/** What a tool works with once its places are clicked. */
export interface Task {
  app: CityApp;
  widget: CesiumWidget;
  spots: readonly Place[];
  settings: Readonly<Settings>;
  /** The picture that the tool may lay over the ground; gone when the tool is left. */
  overlay: Overlay;
  /** Draws the clicked places again, with something more or other. */
  draw(more: Partial<Drawing>): void;
}
export interface Kind {
  /** Clicks that it needs. */
  least: number;
  /** Whether it begins by itself at the last of them; the others end with Enter, a double click or the button. */
  ends: boolean;
  closed?: boolean;
  draped?: boolean;
  /** Whether the length so far is written at the last corner. */
  running?: boolean;
  /** Null when there is nothing to show and the tool is done. */
  work(task: Task): Promise<Result | null> | Result | null;
}
