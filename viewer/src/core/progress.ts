/** Loading as one number that never runs backwards: a burst starts with the first pending tile and ends with the last. */

export interface Progress {
  pending: number;
  /** 0 … 1 within the present burst; 1 when idle. */
  fraction: number;
}

export class Burst {
  private total = 0;
  private shown = 0;
  private last = 0;

  /** @param pending tiles asked for and not yet on the screen. */
  update(pending: number): Progress {
    if (pending <= 0) {
      this.total = this.shown = this.last = 0;
      return { pending: 0, fraction: 1 };
    }
    // What appears after the burst began adds to the whole; without this the bar would jump back.
    this.total += Math.max(0, pending - this.last);
    this.last = pending;
    this.shown = Math.max(this.shown, 1 - pending / this.total);
    return { pending, fraction: Math.min(0.99, this.shown) };
  }
}
