import cluster, { type Worker as ClusterWorker } from 'node:cluster';
import { errorCode, errorMessage, TollwayError } from '../common/errors.ts';
import { isOutOfResources } from '../common/open-files.ts';
import { sleep } from '../common/process.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { WorkerReport, WorkerReports } from './worker-reports.ts';

/** Wait before an exited worker is replaced, in ms. */
const REPLACE_MS = 500;
/** Wait before the next attempt to start a worker when processes, descriptors or memory are lacking, in ms. */
const RETRY_MS = 1_000;

/** The worker processes of the primary. Replaces each that exits. */
export class WorkerProcesses {
  private readonly reports: WorkerReports;
  private readonly logger: Logger;
  private readonly fail: (error: unknown) => void;
  private isClosing = false;

  /** `fail` is called when the workers cannot run at all. */
  constructor(reports: WorkerReports, logger: Logger, fail: (error: unknown) => void) {
    this.reports = reports;
    this.logger = logger;
    this.fail = fail;
  }

  /** Starts one worker. */
  start(): void {
    try {
      const worker = cluster.fork();
      worker.on('message', (report: WorkerReport) => this.reports.receive(worker.id, report));
      // Node throws most errors, such as ENOMEM, and emits some. Without a process id no process was started, so there is no exit event.
      // Other errors, such as of a signal that could not be sent, do not end the worker.
      worker.on('error', (error) => worker.process.pid === undefined && this.retry(error));
      worker.once('exit', (code, signal) => void this.replace(worker, code, signal));
    } catch (error) {
      this.retry(error);
    }
  }

  private retry(error: unknown): void {
    // EAGAIN: the limit of processes is reached (https://man7.org/linux/man-pages/man2/fork.2.html#ERRORS).
    if (!isOutOfResources(error) && errorCode(error) !== 'EAGAIN') return this.fail(error);
    this.logger.error(
      { problem: errorMessage(error) },
      'A worker could not be started. The ad server tries again. Check memory and open files (ulimit -n)',
    );
    setTimeout(() => this.isClosing || this.start(), RETRY_MS);
  }

  private async replace(worker: ClusterWorker, code: number, signal: string): Promise<void> {
    // A report can arrive after the exit.
    worker.removeAllListeners('message');
    this.reports.remove(worker.id);
    if (this.isClosing) return;
    // Without a report from any worker, a new one would fail too. The worker has written the reason.
    if (!this.reports.hasReceived)
      return this.fail(
        new TollwayError('worker_failed', `A worker exited right after it started (${signal ?? code})`),
      );
    this.logger.error(
      { worker: worker.id, code, signal },
      'A worker has exited. The ad server replaces it, and its spool is adopted',
    );
    await sleep(REPLACE_MS);
    if (!this.isClosing) this.start();
  }

  /** Ends the workers and waits until each has exited. */
  async close(): Promise<void> {
    this.isClosing = true;
    const workers = Object.values(cluster.workers ?? {}).filter(
      // Without a process id it could not be started, and no exit event would come.
      (worker): worker is ClusterWorker => worker?.process.pid !== undefined,
    );
    await Promise.all(
      workers.map((worker) => {
        const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
        worker.process.kill('SIGTERM');
        return exited;
      }),
    );
  }
}
