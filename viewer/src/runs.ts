/** Scenarios: what the server offers, the runs started here and before, and their results brought onto the map. */
import { ApiError } from "./api/client";
import type { Feature, Job, Process } from "./api/types";
import type { CityApp } from "./app";
import { runName, type Layer } from "./core/layers";
import { isHydrograph } from "./core/series";

export interface Run {
  job: Job;
  process: Process;
  /** Result layers, once done. */
  layers: string[];
  /** Started in an earlier session, or by somebody else. */
  earlier: boolean;
  /** Why it did not start or finish. */
  why: string;
  /** Address of its report for people; undefined while that is not known. */
  report?: string | null;
}

const POLL = 1000;
/** Rows of hydrographs and lists that are read at most. */
const ROWS = 50_000;
const PAGE = 10_000;
/** What of a run's results is switched on at first: what people look for. The field over time comes before its maximum. */
const FIRST = /depth|frames|building|inundation|road/i;

export class Runs {
  processes: Process[] = [];
  loaded = false;
  /** The newest first. */
  list: Run[] = [];
  /** Told of every run of this session that has ended. */
  onEnded: (run: Run) => void = () => undefined;
  private stopped = false;

  constructor(private readonly app: CityApp) {}

  async load(): Promise<void> {
    try {
      const summaries = await this.app.api.processes();
      // A summary may leave out the inputs; the form needs them.
      this.processes = await Promise.all(summaries.map((summary) => (summary.inputs ? summary : this.app.api.process(summary.id))));
      this.loaded = true;
      await this.loadEarlier();
    } catch (error) {
      if (error instanceof ApiError && error.offline) void this.app.health.suspect();
      else this.loaded = true;
    }
    this.app.changed.emit();
  }

  /** Runs that the server remembers; those still under way are followed. */
  private async loadEarlier(): Promise<void> {
    const known = new Set(this.list.map(({ job }) => job.jobID));
    for (const job of await this.app.api.jobs()) {
      const process = this.processes.find(({ id }) => id === job.processID);
      if (!process || known.has(job.jobID)) continue;
      const run: Run = { job, process, layers: [], why: job.status === "failed" ? job.message ?? "" : "", earlier: true };
      this.list.push(run);
      if (going(run)) void this.follow(run).catch(() => undefined);
    }
  }

  /** The layers that hold a run's results now; none once a later run of the same name has replaced them. */
  results(run: Run): Layer[] {
    if (!run.job.jobID) return [];
    const mine = this.app.layers.filter((layer) => layer.run === run.job.jobID);
    const order = (id: string): number => (run.layers.includes(id) ? run.layers.indexOf(id) : run.layers.length);
    return mine.sort((a, b) => order(a.id) - order(b.id));
  }

  /** What a run's results are called, from the names of its layers; its process where that cannot be told. */
  nameOf(run: Run): string {
    return runName(this.results(run)) || run.process.id;
  }

  /** A name for results that no layer of the city bears yet. */
  freeName(process: Process): string {
    const taken = (name: string): boolean => this.app.layers.some(({ id }) => id.startsWith(`${name}-`) && !/^\d+-/.test(id.slice(name.length + 1)));
    for (let number = 1; ; number += 1) {
      const name = number === 1 ? process.id : `${process.id}-${number}`;
      if (!taken(name)) return name;
    }
  }

  /** Reads once what an ended run has written. */
  async learn(run: Run): Promise<void> {
    if (run.report !== undefined || going(run) || !run.job.jobID) return;
    run.report = null;
    if (run.job.status === "successful") {
      Object.assign(run, await this.app.api.results(run.job.jobID));
    } else {
      // A run that broke off has no results to ask for, but may have left a report.
      const path = this.app.api.url(`jobs/${encodeURIComponent(run.job.jobID)}/report`);
      run.report = await fetch(path).then(({ ok }) => (ok ? path : null), () => null);
    }
    this.app.changed.emit();
  }

  finished(): Run[] {
    return this.list.filter((run) => !going(run) && this.results(run).length > 0);
  }

  /** Features of one of a run's layers, page by page. */
  async rows(layer: Layer): Promise<{ features: Feature[]; whole: boolean }> {
    const features: Feature[] = [];
    while (features.length < ROWS) {
      const page = await this.app.api.items(layer.id, { limit: PAGE, offset: features.length });
      features.push(...page.features);
      if (page.features.length < PAGE) return { features, whole: true };
    }
    return { features, whole: false };
  }

  readonly buildingsOf = (run: Run): Layer | undefined => this.results(run).find((layer) => has(layer, "flood_depth") && layer.kind === "blocks");
  readonly roadsOf = (run: Run): Layer | undefined => this.results(run).find((layer) => layer.schema.some(({ name }) => /^closed_.+_from$/.test(name)));
  readonly hydrographsOf = (run: Run): Layer | undefined => this.results(run).find((layer) => layer.links.items && isHydrograph(layer.schema));

  /** Starts a run; resolves when it has ended, one way or the other. */
  async start(process: Process, inputs: Record<string, unknown>, name?: string): Promise<Run> {
    const run: Run = { job: { jobID: "", status: "accepted", progress: 0 }, process, layers: [], why: "", earlier: false };
    this.list = [run, ...this.list];
    this.app.changed.emit();
    try {
      run.job = await this.app.api.execute(process.id, inputs, name);
      await this.follow(run);
    } catch (error) {
      run.job = { ...run.job, status: "failed" };
      run.why = this.app.why(error);
    }
    this.app.changed.emit();
    this.onEnded(run);
    return run;
  }

  async cancel(run: Run): Promise<void> {
    await this.app.api.dismiss(run.job.jobID).catch(() => undefined);
  }

  /** A job of any kind, once it has ended. */
  async settled(job: Job): Promise<Job> {
    let now = job;
    while (!this.stopped && (now.status === "accepted" || now.status === "running")) {
      await new Promise((done) => setTimeout(done, POLL));
      now = await this.app.api.job(job.jobID);
    }
    return now;
  }

  private async follow(run: Run): Promise<void> {
    while (!this.stopped && going(run)) {
      await new Promise((done) => setTimeout(done, POLL));
      try {
        run.job = await this.app.api.job(run.job.jobID);
      } catch (error) {
        // The job is durable on the server: losing sight of it is no reason to give it up.
        if (!(error instanceof ApiError) || !error.offline) throw error;
        void this.app.health.suspect();
      }
      this.app.changed.emit();
    }
    if (run.job.status === "failed") run.why = run.job.message ?? "";
    await this.learn(run);
    // What a run that did not finish has published is shown as well, marked as partial.
    await this.show(run);
  }

  /** Brings the results onto the map: those of a new run take the place of older ones. */
  private async show(run: Run): Promise<void> {
    await this.app.refresh();
    if (!run.earlier) this.bring(run);
  }

  /** Switches on what people look for in a run's results, and other runs' off. */
  bring(run: Run): void {
    const results = this.results(run);
    for (const { id, run: job } of this.app.layers) if (job && job !== run.job.jobID) this.app.setState(id, { visible: false });
    const moving = results.find(({ id }) => this.app.playback.hasTime(id));
    const wanted = results.filter((layer) => FIRST.test(layer.id) && (layer.kind !== "raster" || (moving ? layer === moving : !/-(least|most)$/.test(layer.id))));
    for (const layer of wanted.length > 0 ? wanted : results) this.app.setState(layer.id, { visible: true });
  }

  stop(): void {
    this.stopped = true;
  }
}

export const going = ({ job }: Run): boolean => job.status === "accepted" || job.status === "running";

const has = (layer: Layer, column: string): boolean => layer.schema.some(({ name }) => name === column);
