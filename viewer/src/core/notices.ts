/** Sentences that the reader should see now. One per subject: a later one takes the earlier one's place. */
import type { MessageKey } from "./messages";

export type Tone = "bad" | "good" | "info";
export interface Notice {
  subject: string;
  key: MessageKey;
  values: Record<string, string | number>;
  tone: Tone;
}

export class Notices {
  private readonly bySubject = new Map<string, Notice>();

  constructor(private readonly changed: () => void, private readonly later: (act: () => void) => void = (act) => void setTimeout(act, 4000)) {}

  get all(): Notice[] {
    return [...this.bySubject.values()];
  }

  set(subject: string, key: MessageKey, values: Record<string, string | number>, tone: Tone): void {
    this.bySubject.set(subject, { subject, key, values, tone });
    this.changed();
  }

  /** Turns a standing notice into a last word that goes by itself; nothing when there was none. */
  replace(subject: string, key: MessageKey, values: Record<string, string | number>, tone: Tone): void {
    if (!this.bySubject.has(subject)) return;
    this.set(subject, key, values, tone);
    const last = this.bySubject.get(subject);
    this.later(() => {
      if (this.bySubject.get(subject) === last) this.clear(subject);
    });
  }

  clear(subject: string): void {
    if (this.bySubject.delete(subject)) this.changed();
  }
}
