/**
 * The one door to the server. Every failure becomes an `ApiError` that says whether it is worth trying again;
 * the viewer turns that into a sentence for the reader.
 */
import { earlyFetch } from "../early";
import type {
  Bbox, Change, City, Collection, Feature, FeatureCollection, FeatureHistory, Grade, Job, Legend, PlaceFound, PositionFound, Process, Statistics, TileJson, VersionEntry,
} from "./types";

export class ApiError extends Error {
  /** @param status HTTP status; 0 when no answer came at all. */
  constructor(readonly status: number, readonly detail: string, readonly url: string) {
    super(detail);
    this.name = "ApiError";
  }
  /** True when the server could not be reached (as opposed to: it answered that something is wrong). */
  get offline(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

export type Fetch = (input: string, init?: RequestInit) => Promise<Response>;

export class Api {
  readonly base: string;
  /** @param base any URL below which the API lives, e.g. `http://host:8000/`; a relative one is resolved by the caller. */
  constructor(base: string, private readonly send: Fetch = earlyFetch) {
    this.base = base.endsWith("/") ? base : `${base}/`;
  }

  /** Absolute URL of an API path; paths from links are rooted at the API, wherever that is mounted. */
  url(path: string): string {
    if (/^[a-z]+:/i.test(path)) return path;
    return this.base + path.replace(/^\//, "");
  }

  private async request(path: string, init: RequestInit = {}): Promise<Response> {
    const url = this.url(path);
    let response: Response;
    try {
      response = await this.send(url, { ...init, headers: { Accept: "application/json", ...init.headers } });
    } catch (cause) {
      if (init.signal?.aborted) throw cause;
      throw new ApiError(0, String(cause), url);
    }
    if (!response.ok) throw new ApiError(response.status, await problemText(response), url);
    return response;
  }

  private async get<T>(path: string, signal?: AbortSignal): Promise<T> {
    const response = await this.request(path, signal ? { signal } : {});
    return (await response.json()) as T;
  }

  city = (): Promise<City> => this.get("city");
  collection = (id: string): Promise<Collection> => this.get(`collections/${encodeURIComponent(id)}`);
  tileJson = (href: string): Promise<TileJson> => this.get(href);

  /** @param asOf RFC 3339 time: the city as it showed itself then. */
  async collections(asOf?: string): Promise<Collection[]> {
    return (await this.get<{ collections: Collection[] }>(`collections${search({ "as-of": asOf })}`)).collections;
  }

  item = (layer: string, id: string, signal?: AbortSignal): Promise<Feature> =>
    this.get(`collections/${encodeURIComponent(layer)}/items/${encodeURIComponent(id)}`, signal);

  items(layer: string, query: { bbox?: Bbox; limit?: number; offset?: number; filter?: string; properties?: string }, signal?: AbortSignal):
    Promise<FeatureCollection> {
    const { bbox, ...rest } = query;
    return this.get(`collections/${encodeURIComponent(layer)}/items${search({ bbox: bbox?.map((n) => n.toFixed(9)).join(","), ...rest })}`, signal);
  }

  /** Counts, extremes, histograms and frequent values of the features that match. */
  statistics = (layer: string, query: { filter?: string; properties?: string } = {}, signal?: AbortSignal): Promise<Statistics> =>
    this.get(`collections/${encodeURIComponent(layer)}/statistics${search(query)}`, signal);

  /** A legend made from a column's values. */
  style = (layer: string, column: string, query: { method?: string; classes?: number; ramp?: string } = {}): Promise<Legend> =>
    this.get(`collections/${encodeURIComponent(layer)}/styles/${encodeURIComponent(column)}${search(query)}`);

  async versions(layer: string): Promise<VersionEntry[]> {
    return (await this.get<{ versions: VersionEntry[] }>(`collections/${encodeURIComponent(layer)}/versions`)).versions;
  }

  /** A feature through the versions of its layer, newest first. */
  history = (layer: string, id: string): Promise<FeatureHistory> =>
    this.get(`collections/${encodeURIComponent(layer)}/history/${encodeURIComponent(id)}`);

  /** Features by name, address or id, and coordinates in `crs`. */
  async search(q: string, crs?: string, signal?: AbortSignal): Promise<PlaceFound[]> {
    return (await this.get<{ places: PlaceFound[] }>(`search${search({ q, crs, limit: 12 })}`, signal)).places;
  }

  position = (x: number, y: number, query: { crs?: string; to?: string } = {}, signal?: AbortSignal): Promise<PositionFound> =>
    this.get(`position${search({ x, y, ...query })}`, signal);

  async processes(): Promise<Process[]> {
    return (await this.get<{ processes: Process[] }>("processes")).processes;
  }
  process = (id: string): Promise<Process> => this.get(`processes/${encodeURIComponent(id)}`);

  /** Starts a run; returns its job. @param name what its layers are called before their own names. */
  async execute(process: string, inputs: Record<string, unknown>, name?: string): Promise<Job> {
    const response = await this.request(`processes/${encodeURIComponent(process)}/execution`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Prefer: "respond-async" },
      body: JSON.stringify(name ? { inputs, "twin:name": name } : { inputs }),
    });
    return (await response.json()) as Job;
  }
  /** All jobs the server keeps, newest first. */
  async jobs(): Promise<Job[]> {
    return (await this.get<{ jobs: Job[] }>("jobs")).jobs;
  }
  job = (id: string): Promise<Job> => this.get(`jobs/${encodeURIComponent(id)}`);

  /** Names of the layers that a finished job wrote, in the order of its outputs. */
  resultLayers = async (id: string): Promise<string[]> => (await this.results(id)).layers;

  /** The layers of a finished job, and the address of its report for people where it wrote one. */
  async results(id: string): Promise<{ layers: string[]; report: string | null }> {
    type Output = { layer?: string } | null;
    const body = await this.get<Record<string, unknown> & { outputs?: Record<string, Output> }>(
      `jobs/${encodeURIComponent(id)}/results`);
    const outputs = body.outputs ?? (body as Record<string, Output>);
    const layers = Object.values(outputs).flatMap((output) =>
      output && typeof output === "object" && typeof output.layer === "string" ? [output.layer] : []);
    const report = body["twin:report"];
    return { layers, report: typeof report === "string" ? this.url(report) : null };
  }

  /** Figures of two runs, what of B differs from A. */
  async comparison(a: string, b: string): Promise<Change[]> {
    return (await this.get<{ rows: Change[] }>(`jobs/${encodeURIComponent(a)}/compare/${encodeURIComponent(b)}`)).rows;
  }
  /** Has the differences of two runs written as layers called `name-…`; returns the job. */
  async compareLayers(a: string, b: string, name: string): Promise<Job> {
    const response = await this.request(`jobs/${encodeURIComponent(a)}/compare/${encodeURIComponent(b)}${search({ name })}`, { method: "POST" });
    return (await response.json()) as Job;
  }

  /** Has a layer shown with the CIM grade that a person gives it ("": the rule's again); returns the job. */
  async regrade(layer: string, grade: Grade): Promise<Job> {
    const response = await this.request(`collections/${encodeURIComponent(layer)}/grade`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ grade }),
    });
    return (await response.json()) as Job;
  }

  async dismiss(id: string): Promise<void> {
    await this.request(`jobs/${encodeURIComponent(id)}`, { method: "DELETE" });
  }
}

/** `?a=1&b=2` of what is given; "" for nothing. */
function search(values: Record<string, string | number | undefined>): string {
  const given = Object.entries(values).filter((pair): pair is [string, string | number] => pair[1] !== undefined && pair[1] !== "");
  return given.length > 0 ? `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : "";
}

/** The readable part of a problem+json answer (RFC 9457), or the status line. */
async function problemText(response: Response): Promise<string> {
  try {
    const body = (await response.json()) as { detail?: unknown; title?: unknown };
    const text = body.detail ?? body.title;
    if (typeof text === "string" && text) return text;
  } catch {
    // Not JSON: the status line is all there is.
  }
  return `${response.status} ${response.statusText}`.trim();
}
