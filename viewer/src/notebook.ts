/** What the reader keeps in this browser for this city: notes on places, and views to come back to. */
import type { CityApp } from "./app";
import type { Place } from "./cesium/pick";
import { Sketch } from "./cesium/sketch";
import type { Shared } from "./core/share";

export interface Note {
  id: string;
  place: Place;
  text: string;
}
export interface Bookmark {
  id: string;
  name: string;
  state: Shared;
}
interface Kept {
  notes: Note[];
  bookmarks: Bookmark[];
}

export class Notebook {
  private kept: Kept;
  private sketch: Sketch | null = null;
  private readonly key: string;

  constructor(private readonly app: CityApp, base: string, private readonly storage: Storage | undefined) {
    this.key = `twin.notebook:${base}`;
    this.kept = read(storage?.getItem(this.key) ?? null);
  }

  get notes(): readonly Note[] {
    return this.kept.notes;
  }
  get bookmarks(): readonly Bookmark[] {
    return this.kept.bookmarks;
  }

  addNote(place: Place): void {
    this.keep({ notes: [...this.notes, { id: crypto.randomUUID(), place, text: this.app.t("note.new", { n: this.notes.length + 1 }) }] });
  }
  rename(id: string, text: string): void {
    this.keep({
      notes: this.notes.map((note) => (note.id === id ? { ...note, text } : note)),
      bookmarks: this.bookmarks.map((mark) => (mark.id === id ? { ...mark, name: text } : mark)),
    });
  }
  remove(id: string): void {
    this.keep({ notes: this.notes.filter((note) => note.id !== id), bookmarks: this.bookmarks.filter((mark) => mark.id !== id) });
  }
  addBookmark(): void {
    const name = this.app.t("bookmark.new", { n: this.bookmarks.length + 1 });
    this.keep({ bookmarks: [...this.bookmarks, { id: crypto.randomUUID(), name, state: this.app.sharing.state() }] });
  }

  /** Notes as GeoJSON, for other programs. */
  geojson(): string {
    const features = this.notes.map(({ id, place, text }) =>
      ({ type: "Feature", id, geometry: { type: "Point", coordinates: [place.lon, place.lat, place.height] }, properties: { text } }));
    return JSON.stringify({ type: "FeatureCollection", features }, null, 1);
  }

  /** Draws the notes; after the scene was put up anew with `afresh`. */
  draw(afresh = false): void {
    const { widget } = this.app;
    if (!widget || widget.isDestroyed()) return;
    if (afresh) this.sketch = null;
    this.sketch ??= new Sketch(widget);
    this.sketch.draw({ spots: [], labels: this.notes.map(({ place, text }) => ({ at: place, text })) });
  }

  private keep(change: Partial<Kept>): void {
    this.kept = { ...this.kept, ...change };
    try {
      this.storage?.setItem(this.key, JSON.stringify(this.kept));
    } catch (error) {
      this.app.notices.set("notebook", "error.notebook", { why: this.app.why(error) }, "bad");
    }
    this.draw();
    this.app.changed.emit();
  }
}

function read(text: string | null): Kept {
  try {
    const value = JSON.parse(text ?? "{}") as Partial<Kept>;
    return { notes: Array.isArray(value.notes) ? value.notes : [], bookmarks: Array.isArray(value.bookmarks) ? value.bookmarks : [] };
  } catch {
    return { notes: [], bookmarks: [] };
  }
}
