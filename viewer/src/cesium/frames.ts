/** Moments of draped layers: the next picture is loaded unseen (alpha 0) and changes places with the present one when its tiles are there. */
import type { CesiumWidget, ImageryLayer } from "@cesium/engine";

export interface Framed {
  imagery: ImageryLayer;
  error: () => void;
  make: (url: string) => { imagery: ImageryLayer; error: () => void };
}
interface Waiting {
  url: string;
  imagery: ImageryLayer;
  error: () => void;
  /** Frames drawn since it was added: the globe knows of its tiles only after it was drawn once or twice. */
  drawn: number;
  since: number;
}
interface Track {
  drape: Framed;
  shown: string | null;
  wanted: string;
  next: string | null;
  waiting: Waiting | null;
  swapped: () => void;
}

/** Frames drawn before "all loaded" is believed. */
const SETTLE = 3;
/** A picture that is not whole after this long is shown as it is, milliseconds. */
const PATIENCE = 8_000;

export class Frames {
  private readonly tracks = new Map<string, Track>();

  constructor(private readonly widget: CesiumWidget) {
    widget.scene.postRender.addEventListener(() => {
      for (const track of this.tracks.values()) this.look(track);
    });
  }

  want(id: string, drape: Framed, url: string, next: string | null, swapped: () => void): void {
    let track = this.tracks.get(id);
    if (!track) {
      track = { drape, shown: null, wanted: url, next, waiting: null, swapped };
      this.tracks.set(id, track);
    }
    Object.assign(track, { drape, wanted: url, next, swapped });
    this.fetch(track);
  }

  shown = (id: string): string | null => this.tracks.get(id)?.shown ?? null;

  /** Address of what is to be shown, already or as soon as it is whole. */
  wanted = (id: string): string | null => this.tracks.get(id)?.wanted ?? null;

  /** Takes away what is being fetched; what is shown stays. */
  drop(id: string): void {
    const track = this.tracks.get(id);
    if (track) this.giveUp(track);
  }

  forget(id: string): void {
    this.tracks.delete(id);
  }

  private fetch(track: Track): void {
    const target = track.shown === track.wanted ? track.next : track.wanted;
    if (track.waiting && track.waiting.url !== target) this.giveUp(track);
    if (track.waiting || target === null || target === track.shown) {
      if (track.waiting) this.widget.scene.requestRender();
      return;
    }
    const { imageryLayers } = this.widget.scene;
    const { imagery, error } = track.drape.make(target);
    imagery.alpha = 0;
    imagery.splitDirection = track.drape.imagery.splitDirection;
    imageryLayers.add(imagery, Math.min(imageryLayers.indexOf(track.drape.imagery) + 1, imageryLayers.length));
    track.waiting = { url: target, imagery, error, drawn: 0, since: performance.now() };
    this.widget.scene.requestRender();
  }

  private giveUp(track: Track): void {
    if (!track.waiting) return;
    track.waiting.error();
    this.widget.scene.imageryLayers.remove(track.waiting.imagery, true);
    track.waiting = null;
  }

  private look(track: Track): void {
    const { waiting } = track;
    if (!waiting) return;
    waiting.drawn += 1;
    const whole = (waiting.drawn > SETTLE && this.widget.scene.globe.tilesLoaded) || performance.now() - waiting.since > PATIENCE;
    // Pictures are drawn only when asked for: keep asking until this one is there.
    if (!whole) this.widget.scene.requestRender();
    else if (waiting.url === track.wanted) this.swap(track, waiting);
  }

  private swap(track: Track, { url, imagery, error }: Waiting): void {
    const old = { imagery: track.drape.imagery, error: track.drape.error };
    track.drape.imagery = imagery;
    track.drape.error = error;
    track.shown = url;
    track.waiting = null;
    track.swapped();
    old.error();
    this.widget.scene.imageryLayers.remove(old.imagery, true);
    this.fetch(track);
  }
}
