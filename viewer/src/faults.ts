/** Tiles that did not come: said once a swarm, and the layer is read again, each time a little later. */
import type { CityApp } from "./app";
import { layerTitle } from "./core/layers";

/** A layer whose tiles fail is read again after this long, then three times that, up to the last; milliseconds. */
const REREAD_FIRST = 1_500;
const REREAD_LAST = 300_000;
/** Without a new failure for this long, milliseconds, a layer counts as whole again. */
const QUIET = 8_000;

export class Faults {
  private readonly faults = new Map<string, { count: number; status: number | undefined; wait: number; timer: number }>();

  /** @param dirty layers that are read again with the next look at the catalogue. */
  constructor(private readonly app: CityApp, private readonly dirty: Set<string>) {}

  /** A tile of a layer failed, with its HTTP status or undefined when no answer came. */
  add(id: string, status: number | undefined): void {
    const fault = this.faults.get(id) ?? { count: 0, status, wait: REREAD_FIRST, timer: 0 };
    fault.count += 1;
    fault.status = status ?? fault.status;
    this.faults.set(id, fault);
    this.dirty.add(id);
    if (!fault.timer) fault.timer = window.setTimeout(() => void this.settle(id), fault.wait);
  }

  private async settle(id: string): Promise<void> {
    const { app } = this;
    const fault = this.faults.get(id);
    const layer = app.layer(id);
    if (!fault) return;
    fault.timer = 0;
    fault.wait = Math.min(REREAD_LAST, fault.wait * 3);
    if (!layer || !(await app.health.suspect())) return;
    const why = fault.status === undefined ? "?" : `HTTP ${fault.status}`;
    const values = { name: layerTitle(layer, app.lang), id, n: fault.count, why };
    fault.count = 0;
    app.notices.set(`tiles:${id}`, "error.tiles", values, "bad");
    await app.refresh().catch(() => undefined);
    // No new failure for a while: it is over.
    window.setTimeout(() => {
      if (this.dirty.has(id)) return;
      app.notices.clear(`tiles:${id}`);
      fault.wait = REREAD_FIRST;
    }, QUIET);
  }
}
