/** Tools that ask what lies in an area: a polygon, a box, a corridor. */
import { areaOf, corridor, toWkt, type Area } from "../core/measure";
import type { Kind, Result, Task } from "./types";

export const ASKING = {
  select: { least: 3, ends: false, closed: true, work: ({ app, spots }: Task) => ask(app, toWkt([spots]), areaOf(spots)) },
  box: { least: 2, ends: true, running: true, work: box },
  corridor: { least: 2, ends: false, draped: true, work: strip },
} as const satisfies Record<string, Kind>;

function box({ app, spots: [a, b], draw }: Task): Promise<Result> {
  const ring = [[a!.lon, a!.lat], [b!.lon, a!.lat], [b!.lon, b!.lat], [a!.lon, b!.lat]].map(([lon, lat]) => ({ lon: lon!, lat: lat! }));
  draw({ spots: [], rings: [ring] });
  return ask(app, toWkt([ring]), null);
}

function strip({ app, spots, settings, draw }: Task): Promise<Result> {
  const rings = corridor(spots, settings.width);
  draw({ rings });
  return ask(app, toWkt(rings), null);
}

/** What every visible layer with features holds in an area. */
async function ask(app: Task["app"], wkt: string, area: Area | null): Promise<Result> {
  const filter = `S_INTERSECTS(geometry, ${wkt})`;
  const layers = app.layers.filter((layer) => layer.links.items && layer.kind !== "table" && app.states.get(layer.id)?.visible);
  const answers = await Promise.all(layers.map(async (layer) => ({ layer, filter, statistics: await app.api.statistics(layer.id, { filter }) })));
  return { kind: "select", area, answers: answers.filter(({ statistics }) => statistics.numberMatched > 0) };
}
