/** The clock of fields over time: which moment every visible one shows, and how it runs on. One clock for all, so that two runs stay in step. */
import type { CityApp } from "./app";
import { Emitter } from "./core/emitter";
import { clockText, frameAt, frameUrl, moments, timelineOf, type Timeline } from "./core/timeline";

/** Moments a second at speed 1. */
const PACE = 2;
export const SPEEDS = [0.5, 1, 2, 4] as const;

export class Playback {
  /** Told of every step of the clock; the catalogue's `changed` is not. */
  readonly ticked = new Emitter();
  /** Seconds from the start. */
  time = 0;
  playing = false;
  speed = 1;
  private timer = 0;
  private readonly lines = new Map<string, { key: string; line: Timeline | null; template: string }>();
  private seen = "";

  constructor(private readonly app: CityApp) {
    app.changed.on(() => this.follow());
  }

  /** The visible layers that have several moments. */
  get tracks(): { id: string; line: Timeline; template: string }[] {
    return this.app.layers.flatMap(({ id }) => {
      const track = this.track(id);
      return track?.line && this.app.states.get(id)?.visible ? [{ id, line: track.line, template: track.template }] : [];
    });
  }

  get steps(): number[] {
    return moments(this.tracks.map(({ line }) => line));
  }

  /** What a layer's tiles know of time, read once for each of its versions. */
  private track(id: string): { line: Timeline | null; template: string } | undefined {
    const json = this.app.tileJson(id);
    if (!json) return undefined;
    const key = `${this.app.layer(id)?.key}|${json.tiles[0]}`;
    let track = this.lines.get(id);
    if (track?.key !== key) {
      track = { key, line: timelineOf(json), template: this.app.api.url(json.tiles[0] ?? "") };
      this.lines.set(id, track);
    }
    return track;
  }

  hasTime = (id: string): boolean => Boolean(this.track(id)?.line);

  /** Every visible track shows the moment of the clock; what has just become visible too. */
  private follow(): void {
    const { tracks } = this;
    const names = tracks.map(({ id }) => id).join("|");
    if (names !== this.seen) {
      this.seen = names;
      const end = this.steps.at(-1) ?? 0;
      if (this.time > end) this.time = end;
      if (tracks.length === 0) this.stop();
      this.ticked.emit();
    }
    this.show();
  }

  private show(): void {
    const next = this.playing ? this.after() : null;
    for (const { id, line, template } of this.tracks) {
      const at = (time: number) => frameUrl(template, line.values[frameAt(line.seconds, time)]!);
      this.app.ground.setFrame(id, at(this.time), next === null ? null : at(next));
    }
  }

  /** Whether the moment of the clock is what the map shows. */
  get shown(): boolean {
    return this.tracks.every(({ id, line, template }) => this.app.ground.shownFrame(id) === frameUrl(template, line.values[frameAt(line.seconds, this.time)]!));
  }

  private after(): number {
    const { steps } = this;
    return steps.find((second) => second > this.time + 1e-6) ?? steps[0] ?? 0;
  }

  go(time: number): void {
    const { steps } = this;
    this.time = Math.min(Math.max(time, 0), steps.at(-1) ?? 0);
    this.show();
    this.ticked.emit();
  }

  /** How the clock reads; "" where nothing moves. */
  get clock(): string {
    const { steps, tracks } = this;
    return tracks[0] && steps.length > 1 ? clockText(this.app.lang, tracks[0].line, this.time, steps.at(-1)! < 3600) : "";
  }

  /** By so many moments, forth or back. */
  step(by: number): void {
    const { steps } = this;
    const index = Math.min(steps.length - 1, Math.max(0, frameAt(steps, this.time) + by));
    this.go(steps[index] ?? 0);
  }

  play(): void {
    if (this.playing || this.steps.length < 2) return;
    this.playing = true;
    if (this.time >= (this.steps.at(-1) ?? 0)) this.time = this.steps[0] ?? 0;
    this.show();
    this.wait();
    this.ticked.emit();
  }

  stop(): void {
    window.clearTimeout(this.timer);
    if (!this.playing) return;
    this.playing = false;
    this.ticked.emit();
  }

  /** The next moment comes when its turn has come and the present one is really on the map: a slow machine plays slowly, it leaves nothing out. */
  private wait(): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      if (!this.playing) return;
      if (this.shown) {
        if (this.time >= (this.steps.at(-1) ?? 0)) return this.stop();
        this.go(this.after());
      }
      this.wait();
    }, 1000 / (PACE * this.speed));
  }
}
