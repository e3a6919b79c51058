/** Scenarios: what the server offers, the runs started here, and their results brought onto the map. */
import { ApiError } from "./api/client";
import type { Job, Process } from "./api/types";
import type { CityApp } from "./app";

export interface Run {
  job: Job;
  process: Process;
  /** Result layers, once done. */
  layers: string[];
  /** Why it did not start or finish. */
  why: string;
}

const POLL = 1000;

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
    } catch (error) {
      if (error instanceof ApiError && error.offline) void this.app.health.suspect();
      else this.loaded = true;
    }
    this.app.changed.emit();
  }

  /** Starts a run; resolves when it has ended, one way or the other. */
  async start(process: Process, inputs: Record<string, unknown>): Promise<Run> {
    const run: Run = { job: { jobID: "", status: "accepted", progress: 0 }, process, layers: [], why: "" };
    this.list = [run, ...this.list].slice(0, 20);
    this.app.changed.emit();
    try {
      run.job = await this.app.api.execute(process.id, inputs);
      await this.follow(run);
    } catch (error) {
      run.job = { ...run.job, status: "failed" };
      run.why = error instanceof Error ? error.message : String(error);
    }
    this.app.changed.emit();
    this.onEnded(run);
    return run;
  }

  async cancel(run: Run): Promise<void> {
    await this.app.api.dismiss(run.job.jobID).catch(() => undefined);
  }

  private async follow(run: Run): Promise<void> {
    while (!this.stopped && (run.job.status === "accepted" || run.job.status === "running")) {
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
    if (run.job.status === "successful") await this.show(run);
  }

  /** Brings the results onto the map, switched on. */
  private async show(run: Run): Promise<void> {
    run.layers = await this.app.api.resultLayers(run.job.jobID);
    await this.app.refresh();
    for (const id of run.layers) this.app.setState(id, { visible: true });
  }

  stop(): void {
    this.stopped = true;
  }
}
