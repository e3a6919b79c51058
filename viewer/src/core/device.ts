/** How much detail a machine can bear: decided once from what the browser says of it, never from its name. */

export type Quality = "high" | "low";

/** What the browser tells. `width` × `height`: the page in CSS pixels; `memory`: gigabytes, where it says. */
export interface Machine {
  software: boolean;
  width: number;
  height: number;
  ratio: number;
  coarsePointer: boolean;
  memory?: number;
}

export interface Detail {
  quality: Quality;
  /** Factor on the pixels of error that are borne: above 1, coarser tiles. */
  error: number;
  /** Pixels drawn per CSS pixel. */
  resolution: number;
  shadows: boolean;
  occlusion: boolean;
  /** Waves over water bodies. */
  waves: boolean;
  samples: 1 | 4;
  cacheMegabytes: number;
  /** Milliseconds of each frame for ground that has come. */
  loading: number;
}

/** A 4K screen's: what a graphics device of a wall computer draws smoothly with shadows. */
const MOST_PIXELS = 8_300_000;
/** What a processor that draws by itself bears: what a laptop shows. A wall is drawn coarser rather than once in three seconds. */
const MOST_IN_SOFTWARE = 1_000_000;
const PHONE = 520;

/** @param asked what the page prescribes; the machine decides when absent. */
export function detailFor(machine: Machine, asked?: Quality): Detail {
  const { software, width, height, ratio, coarsePointer, memory } = machine;
  const phone = coarsePointer && Math.min(width, height) <= PHONE;
  const quality = asked ?? (software ? "low" : "high");
  const fits = Math.sqrt(MOST_PIXELS / Math.max(1, width * height));
  const bears = software ? Math.min(1, Math.sqrt(MOST_IN_SOFTWARE / Math.max(1, width * height))) : 1;
  const loading = software ? 60 : 5;
  if (quality === "low") return { quality, error: phone ? 2.2 : 1.6, resolution: bears, shadows: false, occlusion: false, waves: false, samples: 1, cacheMegabytes: phone ? 128 : 384, loading };
  // A hand's breadth of screen shows neither fine corners nor half a storey of error, and its battery pays for both.
  if (phone) return { quality, error: 1.6, resolution: Math.min(1.5, ratio), shadows: false, occlusion: false, waves: false, samples: 1, cacheMegabytes: 192, loading };
  const weak = memory !== undefined && memory <= 4;
  return {
    quality, error: weak ? 1.3 : 1, resolution: Math.max(1, Math.min(2, ratio, fits)), shadows: !weak, occlusion: !weak, waves: !weak, samples: 4,
    cacheMegabytes: weak ? 256 : 512, loading,
  };
}
