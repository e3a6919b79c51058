/** Which labels may be seen at once: the important ones first, none over another. */

export interface Candidate {
  /** Middle of the label on the screen, pixels. */
  x: number;
  y: number;
  width: number;
  height: number;
  /** Higher is kept first. */
  priority: number;
}

const CELL = 64;

/** Indices of the candidates to show; greedy by priority (ties: earlier first) over a grid of cells. */
export function declutter(candidates: readonly Candidate[], limit = 150, gap = 6): number[] {
  const order = candidates.map((_, index) => index)
    .sort((a, b) => candidates[b]!.priority - candidates[a]!.priority || a - b);
  const cells = new Map<string, Candidate[]>();
  const shown: number[] = [];
  for (const index of order) {
    if (shown.length >= limit) break;
    const label = candidates[index]!;
    const keys = cellsOf(label, gap);
    if (keys.some((key) => cells.get(key)?.some((other) => overlaps(label, other, gap)))) continue;
    for (const key of keys) cells.set(key, [...(cells.get(key) ?? []), label]);
    shown.push(index);
  }
  return shown;
}

function overlaps(a: Candidate, b: Candidate, gap: number): boolean {
  return Math.abs(a.x - b.x) * 2 < a.width + b.width + 2 * gap && Math.abs(a.y - b.y) * 2 < a.height + b.height + 2 * gap;
}

function cellsOf(label: Candidate, gap: number): string[] {
  const keys: string[] = [];
  const x1 = Math.floor((label.x + label.width / 2 + gap) / CELL);
  const y1 = Math.floor((label.y + label.height / 2 + gap) / CELL);
  for (let x = Math.floor((label.x - label.width / 2 - gap) / CELL); x <= x1; x++)
    for (let y = Math.floor((label.y - label.height / 2 - gap) / CELL); y <= y1; y++) keys.push(`${x}:${y}`);
  return keys;
}
