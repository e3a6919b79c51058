/** Corners that the reader clicks on the map, drawn as they come: tools and forms both collect them. */
import type { CityApp } from "../app";
import type { Place } from "../cesium/pick";
import { Sketch, type Drawing } from "../cesium/sketch";

export class Corners {
  spots: Place[] = [];
  private sketch: Sketch | null = null;
  /** Whose clicks they are: what was begun before takes none any more. */
  private turn = 0;

  /** @param how how the corners are drawn at present. */
  constructor(private readonly app: CityApp, private readonly how: () => Partial<Drawing>) {}

  /** Takes clicks from now on; `added` is told of each and says whether it wants more. */
  collect(added: () => boolean): void {
    this.turn += 1;
    this.spots = [];
    this.draw();
    this.next(this.turn, added);
  }

  private next(turn: number, added: () => boolean): void {
    this.app.selection.takeNext((place) => {
      if (turn !== this.turn) return;
      this.spots.push(place);
      this.draw();
      if (added() && turn === this.turn) this.next(turn, added);
      this.app.changed.emit();
    });
  }

  stop(): void {
    this.turn += 1;
    this.spots = [];
    this.draw();
    this.app.selection.takeNext(null);
  }

  undo(): void {
    this.spots.pop();
    this.draw();
    this.app.changed.emit();
  }

  draw(more: Partial<Drawing> = {}): void {
    const { widget } = this.app;
    if (!widget || widget.isDestroyed()) return;
    this.sketch ??= new Sketch(widget);
    this.sketch.draw(this.spots.length > 0 ? { spots: this.spots, ...this.how(), ...more } : null);
  }

  /** A scene that was put up anew has none of the old drawings. */
  forget(): void {
    this.sketch = null;
  }
}
