/**
 * Lengths, areas, slopes and volumes on the WGS 84 ellipsoid, in plain numbers.
 * Each figure is worked out in metres east, north and up of a point of its own, so over 10 km a distance is off by less than a millimetre
 * from the flattening of the plane, an area by less than a millionth.
 */

export interface Spot {
  /** Degrees. */
  lon: number;
  lat: number;
  /** Metres above the ellipsoid. */
  height: number;
}
export type Enu = [east: number, north: number, up: number];

const A = 6_378_137;
const F = 1 / 298.257223563;
const E2 = F * (2 - F);
const rad = (angle: number): number => (angle * Math.PI) / 180;

export function toEcef({ lon, lat, height }: Spot): [number, number, number] {
  const [sin, cos] = [Math.sin(rad(lat)), Math.cos(rad(lat))];
  const n = A / Math.sqrt(1 - E2 * sin * sin);
  return [(n + height) * cos * Math.cos(rad(lon)), (n + height) * cos * Math.sin(rad(lon)), (n * (1 - E2) + height) * sin];
}

/** A spot in metres east, north and up of another. */
export function toEnu(origin: Spot, spot: Spot): Enu {
  const [x0, y0, z0] = toEcef(origin);
  const [x1, y1, z1] = toEcef(spot);
  const [dx, dy, dz] = [x1 - x0, y1 - y0, z1 - z0];
  const [sl, cl, sp, cp] = [Math.sin(rad(origin.lon)), Math.cos(rad(origin.lon)), Math.sin(rad(origin.lat)), Math.cos(rad(origin.lat))];
  return [-sl * dx + cl * dy, -sp * cl * dx - sp * sl * dy + cp * dz, cp * cl * dx + cp * sl * dy + sp * dz];
}

/** The inverse of `toEnu`, as far as the earth's frame: metres in x, y, z. */
export function fromEnu(origin: Spot, [east, north, up]: Enu): [number, number, number] {
  const [x, y, z] = toEcef(origin);
  const [sl, cl, sp, cp] = [Math.sin(rad(origin.lon)), Math.cos(rad(origin.lon)), Math.sin(rad(origin.lat)), Math.cos(rad(origin.lat))];
  return [x - sl * east - sp * cl * north + cp * cl * up, y + cl * east - sp * sl * north + cp * sl * up, z + cp * north + sp * up];
}

export interface Length {
  /** Straight through the air from point to point, metres. */
  slant: number;
  /** Along the ellipsoid at the mean height of each leg, metres. */
  level: number;
  /** Last point's height less the first one's, metres. */
  rise: number;
  /** Rise over level distance in percent; null where nothing is level. */
  slope: number | null;
}

export function lengthOf(spots: readonly Spot[]): Length {
  let [slant, level] = [0, 0];
  for (let i = 1; i < spots.length; i += 1) {
    const [a, b] = [spots[i - 1]!, spots[i]!];
    const straight = Math.hypot(...toEnu(a, b));
    slant += straight;
    // Without the height difference the chord is level; over 10 km it is 1 mm shorter than the arc.
    const middle = (a.height + b.height) / 2;
    level += Math.hypot(...toEnu({ ...a, height: middle }, { ...b, height: middle }));
  }
  const rise = spots.length > 1 ? spots[spots.length - 1]!.height - spots[0]!.height : 0;
  return { slant, level, rise, slope: level > 0 ? (rise / level) * 100 : null };
}

export interface Area {
  /** Of the ring seen from above, square metres. */
  level: number;
  /** Of the ring's best plane, square metres: the larger, the steeper it is. */
  surface: number;
  perimeter: number;
}

/** A ring is closed by itself; it is given without its first point again. */
export function areaOf(ring: readonly Spot[]): Area {
  const origin = ring[0];
  if (!origin || ring.length < 3) return { level: 0, surface: 0, perimeter: origin ? lengthOf([...ring, origin]).level : 0 };
  const points = ring.map((spot) => toEnu(origin, spot));
  // Newell's vector: half of it is the area of the projections on the three planes.
  let [x, y, z] = [0, 0, 0];
  points.forEach(([ax, ay, az], i) => {
    const [bx, by, bz] = points[(i + 1) % points.length]!;
    x += (ay - by) * (az + bz);
    y += (az - bz) * (ax + bx);
    z += (ax - bx) * (ay + by);
  });
  return { level: Math.abs(z) / 2, surface: Math.hypot(x, y, z) / 2, perimeter: lengthOf([...ring, origin]).level };
}

/** Whether a point lies in a ring of degrees (even–odd rule). */
export function inside(ring: readonly { lon: number; lat: number }[], lon: number, lat: number): boolean {
  let odd = false;
  ring.forEach((a, i) => {
    const b = ring[(i + 1) % ring.length]!;
    if (a.lat > lat !== b.lat > lat && lon < ((b.lon - a.lon) * (lat - a.lat)) / (b.lat - a.lat) + a.lon) odd = !odd;
  });
  return odd;
}

/** Middles of the cells of an even grid over a ring, about `count` of them, and the area of one in square metres. */
export function cellsOf(ring: readonly Spot[], count = 2500): { spots: { lon: number; lat: number }[]; area: number } {
  const total = areaOf(ring).level;
  if (total <= 0) return { spots: [], area: 0 };
  const [lons, lats] = [ring.map(({ lon }) => lon), ring.map(({ lat }) => lat)];
  const [west, east, south, north] = [Math.min(...lons), Math.max(...lons), Math.min(...lats), Math.max(...lats)];
  const aspect = ((east - west) * Math.cos(rad((south + north) / 2))) / Math.max(1e-12, north - south);
  const rows = Math.max(1, Math.round(Math.sqrt(count / aspect)));
  const columns = Math.max(1, Math.round(rows * aspect));
  const spots: { lon: number; lat: number }[] = [];
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const lon = west + ((column + 0.5) * (east - west)) / columns;
      const lat = south + ((row + 0.5) * (north - south)) / rows;
      if (inside(ring, lon, lat)) spots.push({ lon, lat });
    }
  }
  return { spots, area: spots.length > 0 ? total / spots.length : 0 };
}

/** Earth above and air below a level, cubic metres, from ground heights of equal cells. Unknown heights (NaN) are left out and counted. */
export function volumes(heights: readonly number[], area: number, level: number): { cut: number; fill: number; unknown: number } {
  let [cut, fill, unknown] = [0, 0, 0];
  for (const height of heights) {
    if (!Number.isFinite(height)) unknown += 1;
    else if (height > level) cut += (height - level) * area;
    else fill += (level - height) * area;
  }
  return { cut, fill, unknown };
}

/** Points at even steps along a line, its corners among them, each with its level distance from the start. */
export function along(line: readonly Spot[], steps = 200): { lon: number; lat: number; height: number; distance: number }[] {
  const legs = line.slice(1).map((spot, i) => lengthOf([line[i]!, spot]).level);
  const total = legs.reduce((sum, leg) => sum + leg, 0);
  if (total <= 0) return [];
  const found = [{ ...line[0]!, distance: 0 }];
  let before = 0;
  legs.forEach((leg, i) => {
    const [a, b] = [line[i]!, line[i + 1]!];
    const parts = Math.max(1, Math.round((steps * leg) / total));
    for (let k = 1; k <= parts; k += 1) {
      const t = k / parts;
      found.push({ lon: a.lon + (b.lon - a.lon) * t, lat: a.lat + (b.lat - a.lat) * t, height: a.height + (b.height - a.height) * t, distance: before + leg * t });
    }
    before += leg;
  });
  return found;
}

/** A strip of `width` metres to both sides of a line, as one ring per leg. */
export function corridor(line: readonly Spot[], width: number): { lon: number; lat: number }[][] {
  return line.slice(1).map((b, i) => {
    const a = line[i]!;
    const [east, north] = toEnu(a, b);
    const length = Math.hypot(east, north);
    const metreLon = 1 / (111_319.5 * Math.cos(rad(a.lat)));
    const metreLat = 1 / 110_900;
    const [px, py] = length > 0 ? [(-north / length) * width, (east / length) * width] : [width, 0];
    const [qx, qy] = length > 0 ? [(east / length) * width, (north / length) * width] : [0, width];
    const at = (spot: Spot, x: number, y: number) => ({ lon: spot.lon + x * metreLon, lat: spot.lat + y * metreLat });
    // Longer by the width at both ends, so that the legs join without a gap at a bend.
    return [at(a, px - qx, py - qy), at(b, px + qx, py + qy), at(b, qx - px, qy - py), at(a, -px - qx, -py - qy)];
  });
}

/** WKT of rings in degrees; several make a multipolygon. */
export function toWkt(rings: readonly (readonly { lon: number; lat: number }[])[]): string {
  const text = rings.map((ring) => `((${[...ring, ring[0]!].map(({ lon, lat }) => `${lon.toFixed(8)} ${lat.toFixed(8)}`).join(", ")}))`);
  return text.length === 1 ? `POLYGON${text[0]}` : `MULTIPOLYGON(${text.join(", ")})`;
}

/** Metres that a round scale bar of at most `most` metres stands for: 1, 2 or 5 times a power of ten. */
export function roundScale(most: number): number {
  if (!(most > 0)) return 0;
  const power = 10 ** Math.floor(Math.log10(most));
  return [5, 2, 1].map((digit) => digit * power).find((value) => value <= most) ?? power;
}
