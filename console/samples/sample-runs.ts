import { Worker } from 'node:worker_threads';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { uuidV7 } from '../../common/uuid.ts';
import {
  NO_COUNTS,
  type SampleCounts,
  type SampleRequest,
  type SampleWork,
  totalClicks,
} from './sample-run.ts';

/** Longest time that a run may go on after its end, for clicks and answers that are late, in ms. */
const LATE_MS = 10_000;

/** The latest run of a console. */
export type SampleRun = SampleRequest &
  SampleCounts & {
    readonly runId: string;
    readonly state: 'running' | 'finished' | 'stopped' | 'failed';
    /** Clicks that it sends in all. */
    readonly total: number;
    readonly startedAt: Date;
    /** When it ends, or has ended. */
    readonly endsAt: Date;
    /** One sentence on what the run has done. */
    readonly summary: string;
  };

/** Runs sample clicks, one run at a time, in a thread of its own: the events of the console must not wait for them. */
export class SampleRuns {
  #run: SampleRun | null = null;
  #planned: SampleRun | null = null;
  #worker: Worker | null = null;

  /** The run that goes on, or the latest one; `null` before the first one. */
  get latest(): SampleRun | null {
    return this.#run;
  }

  /** Throws `samples_running` while a run goes on or is planned. */
  assertNoneRuns(): void {
    const run = this.#planned ?? this.#run;
    if (run?.state !== 'running') return;
    const { sent, endsAt } = run;
    throw new TollwayError(
      'samples_running',
      `Expected no run of sample clicks, got one that has sent ${sent} and ends at ${endsAt.toISOString()}: stop it first, or wait`,
    );
  }

  /** Whether a run is planned, or the latest one. */
  isKnown(runId: string): boolean {
    return runId === this.#planned?.runId || runId === this.#run?.runId;
  }

  /** Plans a run, which `start` starts, and `cancel` or `stop` gives up: until then there is no other one. Throws `samples_running`. */
  plan(request: SampleRequest): SampleRun {
    this.assertNoneRuns();
    const startedAt = new Date();
    const endsAt = new Date(startedAt.getTime() + request.seconds * 1_000);
    const run = {
      ...{ ...request, ...NO_COUNTS, total: totalClicks(request), startedAt, endsAt },
      ...{ runId: uuidV7(), state: 'running' as const },
    };
    this.#planned = { ...run, summary: describe(run, null) };
    return this.#planned;
  }

  /** Starts a run that was planned, unless it was stopped since. */
  start(planned: SampleRun, workerData: SampleWork): void {
    if (planned !== this.#planned) return;
    this.#run = planned;
    this.#planned = null;
    const worker = new Worker(new URL('./sample-worker.ts', import.meta.url), {
      workerData,
      name: 'samples',
    });
    this.#worker = worker;
    const deadline = setTimeout(() => this.#end(worker, 'finished'), workerData.seconds * 1_000 + LATE_MS);
    worker.on('message', (counts: SampleCounts) => this.#update(worker, counts));
    worker.on('error', (error) => this.#end(worker, 'failed', errorMessage(error)));
    worker.on('exit', () => {
      clearTimeout(deadline);
      this.#end(worker, 'finished');
    });
  }

  /** Gives up a run that was planned. */
  cancel(planned: SampleRun): void {
    if (planned === this.#planned) this.#planned = null;
  }

  /** Stops the run that goes on or is planned, if there is one. Clicks that were sent stay. */
  stop(): SampleRun | null {
    this.#planned = null;
    if (this.#worker) this.#end(this.#worker, 'stopped');
    return this.#run;
  }

  #update(worker: Worker, counts: SampleCounts): void {
    if (worker !== this.#worker || this.#run === null) return;
    const run = { ...this.#run, ...counts };
    this.#run = { ...run, summary: describe(run, null) };
  }

  #end(worker: Worker, state: 'finished' | 'stopped' | 'failed', problem: string | null = null): void {
    if (worker !== this.#worker || this.#run === null) return;
    this.#worker = null;
    const run = { ...this.#run, state, endsAt: new Date() };
    this.#run = { ...run, summary: describe(run, problem) };
    void worker.terminate();
  }
}

function describe(run: Omit<SampleRun, 'summary'>, problem: string | null): string {
  const { state, total, sent, answered, unrecorded, failed, bots, failure } = run;
  if (problem !== null) return `The run failed after ${sent} clicks: ${problem}`;
  const verb = state === 'running' ? 'So far the console has sent' : 'The console sent';
  const ofBots = bots === 0 ? '' : `, ${bots} of them as a bot`;
  const ofUnrecorded = unrecorded === 0 ? '' : ` ${unrecorded} were redirected, but not recorded.`;
  const ofFailed = failed === 0 ? '' : ` ${failed} failed, the latest with: ${failure}.`;
  const stopped = state === 'stopped' ? ' The run was stopped.' : '';
  const ofUnsent =
    state === 'finished' && sent < total
      ? ` ${total - sent} were not sent, because the ad server answered too slowly.`
      : '';
  return `${verb} ${sent} clicks${ofBots}; ${answered} were recorded and redirected.${ofUnrecorded}${ofFailed}${ofUnsent}${stopped}`;
}
