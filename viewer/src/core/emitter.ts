/** One-event listeners. A listener that throws does not keep the others from hearing. */
export class Emitter<T = void> {
  private readonly listeners = new Set<(value: T) => void>();

  /** Returns the function that stops listening. */
  on(listener: (value: T) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  emit(value: T): void {
    for (const listener of [...this.listeners]) {
      try {
        listener(value);
      } catch (error) {
        console.error(error);
      }
    }
  }
}
