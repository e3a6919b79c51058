/** Keeps the waves in step with the layers: only on machines that bear them, only over water that is drawn as it is, never under a flood. */
import type { CityApp } from "./app";
import { Water } from "./cesium/water";
import { isWater, type Layer } from "./core/layers";

const LIMIT = 2000;
const COLOR = "#4b86b4";

export class Waters {
  private water: Water | null = null;
  /** Version of each layer that has waves, or is being read for them. */
  private readonly drawn = new Map<string, string>();

  constructor(private readonly app: CityApp) {
    app.changed.on(() => this.follow());
  }

  /** A scene that was put up anew has no waves. */
  renew(): void {
    this.drawn.clear();
    this.water = this.app.widget && this.app.detail.waves ? new Water(this.app.widget) : null;
  }

  private follow(): void {
    const { water, app } = this;
    if (!water) return;
    const wanted = app.layers.filter((layer) => this.wants(layer));
    for (const id of [...this.drawn.keys()]) {
      if (wanted.some((layer) => layer.id === id && layer.key === this.drawn.get(id))) continue;
      this.drawn.delete(id);
      water.clear(id);
    }
    for (const layer of wanted) if (!this.drawn.has(layer.id)) this.begin(layer, water);
    water.show(!app.layers.some((layer) => layer.run !== null && layer.kind === "raster" && app.states.get(layer.id)?.visible));
  }

  private wants(layer: Layer): boolean {
    const state = this.app.states.get(layer.id);
    return isWater(layer) && Boolean(layer.links.items) && this.app.split === null
      && Boolean(state?.visible && state.opacity >= 1 && !state.thematic && state.conditions.length === 0);
  }

  private begin(layer: Layer, water: Water): void {
    this.drawn.set(layer.id, layer.key);
    this.app.later.do(() => void this.draw(layer, water));
  }

  private async draw(layer: Layer, water: Water): Promise<void> {
    // Waves are an ornament: without them the water is there all the same.
    const found = await this.app.api.items(layer.id, { limit: LIMIT }).catch(() => null);
    if (found && water === this.water && this.drawn.get(layer.id) === layer.key) water.set(layer.id, found.features, layer.style.color ?? COLOR);
  }
}
