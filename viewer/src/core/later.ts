/** Work that the first picture can do without: held back until that stands, then begun in the order in which it was asked for. */
export class Later {
  private waiting: (() => void)[] | null = [];

  /** True once nothing is held back any more. */
  get released(): boolean {
    return this.waiting === null;
  }

  do(work: () => void): void {
    if (this.waiting) this.waiting.push(work);
    else work();
  }

  release(): void {
    const works = this.waiting ?? [];
    this.waiting = null;
    for (const work of works) work();
  }
}
