/** Is the server there? Anyone may report a failure; this asks the server itself, waits, and says when it is back. */
import { Emitter } from "./emitter";

export interface HealthState {
  online: boolean;
  /** Seconds until the next try while offline. */
  wait: number;
}

export class Health {
  readonly changed = new Emitter<HealthState>();
  readonly recovered = new Emitter();
  state: HealthState = { online: true, wait: 0 };
  private checking: Promise<boolean> | null = null;
  private stopped = false;

  /**
   * @param probe resolves when the server answers, rejects when it does not.
   * @param sleep waits for seconds; replaced in tests.
   */
  constructor(
    private readonly probe: () => Promise<unknown>,
    private readonly sleep = (seconds: number) => new Promise<void>((done) => setTimeout(done, seconds * 1000)),
  ) {}

  /** Ask now (calls during a check share it). Starts the recovery loop when there is no answer. */
  suspect(): Promise<boolean> {
    if (!this.state.online) return Promise.resolve(false);
    this.checking ??= this.probe().then(() => true, () => false).then((alive) => {
      this.checking = null;
      if (!alive) void this.recover();
      return alive;
    });
    return this.checking;
  }

  stop(): void {
    this.stopped = true;
  }

  private async recover(): Promise<void> {
    if (!this.state.online) return;
    let delay = 2;
    for (;;) {
      for (let left = delay; left > 0; left--) {
        this.set({ online: false, wait: left });
        await this.sleep(1);
        if (this.stopped) return;
      }
      if (await this.probe().then(() => true, () => false)) break;
      delay = Math.min(15, delay * 1.5);
      delay = Math.round(delay);
    }
    this.set({ online: true, wait: 0 });
    this.recovered.emit();
  }

  private set(state: HealthState): void {
    this.state = state;
    this.changed.emit(state);
  }
}
