import { errorMessage } from '../../common/errors.ts';
import { sleep } from '../../common/process.ts';
import { LEASE_MS, leaseWebhooks, renewLeases } from '../../ledger/webhooks/leases.ts';
import { WakeUp } from './wake-up.ts';
import { WebhookWorker, type WorkerDeps } from './webhook-worker.ts';

/** Webhooks that one process works on at the same time: those whose latest attempt succeeded, and those whose latest attempt failed. */
const HEALTHY_MAX = 128;
const FAILING_MAX = 32;
/** Time between two looks for due deliveries without a notification, in ms. */
const POLL_MS = 1_000;
/** Shortest time between two looks, in ms: one look serves a burst of notifications. */
const LINGER_MS = 20;
/** Time between two renewals of the leases, in ms. */
const RENEW_MS = LEASE_MS / 3;
/** Time that attempts in progress have at shutdown, in ms. */
const DRAIN_MS_MAX = 5_000;

/**
 * Leases webhooks that have something to send, and lets a worker send for each. Any number of processes can do so: each webhook is leased by one of
 * them at a time. A webhook that waits as a whole is not looked at until its time has come, however many of its deliveries wait.
 */
export class WebhookDispatcher {
  private readonly deps: WorkerDeps;
  private readonly workers = new Set<WebhookWorker>();
  private readonly change = new WakeUp();
  private readonly stopping = new AbortController();
  private running: Promise<unknown> = Promise.resolve();

  constructor(deps: WorkerDeps) {
    this.deps = deps;
  }

  start(): void {
    this.running = Promise.all([this.leaseForEver(), this.renewForEver()]);
  }

  /** Looks for due deliveries now. */
  wake(): void {
    this.change.wake();
    for (const worker of this.workers) worker.wake();
  }

  /** Begins no more attempts, waits for those in progress, and releases the leases. An attempt that takes too long is ended and made again later. */
  async stop(): Promise<void> {
    this.stopping.abort();
    this.change.wake();
    for (const worker of this.workers) worker.stop();
    const drained = () => Promise.all([...this.workers].map(({ done }) => done));
    await Promise.race([drained(), sleep(DRAIN_MS_MAX)]);
    for (const worker of this.workers) worker.lose();
    await drained();
    await this.running;
  }

  private async leaseForEver(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      try {
        await this.lease(false, HEALTHY_MAX);
        await this.lease(true, FAILING_MAX);
        this.deps.databaseLog.recover();
      } catch (error) {
        this.deps.databaseLog.fail({ problem: errorMessage(error) });
        await sleep(POLL_MS, signal);
      }
      await sleep(LINGER_MS, signal);
      await this.change.wait(POLL_MS);
    }
  }

  private async lease(isFailing: boolean, max: number): Promise<void> {
    const held = [...this.workers].filter(({ lease }) => lease.failures > 0 === isFailing).length;
    if (held >= max || this.stopping.signal.aborted) return;
    const leasedAt = performance.now();
    for (const lease of await leaseWebhooks(this.deps.pool, { isFailing, limit: max - held })) {
      const worker = new WebhookWorker(lease, leasedAt, this.deps);
      this.workers.add(worker);
      if (this.stopping.signal.aborted) worker.stop();
      void worker.done.then(() => {
        this.workers.delete(worker);
        // An event that came while the worker ended was not seen by it.
        this.change.wake();
      });
    }
  }

  private async renewForEver(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      await sleep(RENEW_MS, signal);
      await this.renew().catch((error: unknown) =>
        this.deps.databaseLog.fail({ problem: errorMessage(error) }),
      );
    }
  }

  /** A worker whose lease is lost ends its attempts at once. Without an answer, it ends them before its lease ends. */
  private async renew(): Promise<void> {
    const workers = [...this.workers];
    if (workers.length === 0) return;
    const renewedAt = performance.now();
    const held = new Set(
      await renewLeases(
        this.deps.pool,
        workers.map(({ lease }) => lease.leaseId),
      ),
    );
    for (const worker of workers) {
      if (held.has(worker.lease.leaseId)) worker.extend(renewedAt);
      else worker.lose();
    }
  }
}
