import { join } from 'node:path';
import { errorMessage } from '../common/errors.ts';
import { sleep } from '../common/process.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';
import { adoptDeadSpools, type DeadSpool } from '../producer/dead-spools.ts';
import { Relay, type RelayDeps } from '../producer/relay.ts';
import { BlockedSpools } from './blocked-spools.ts';

/** Time between two searches for spools whose process has ended, in ms. */
const ADOPT_MS = 10_000;

/** Relays the spools in `root` whose process has ended, one after the other. */
export class AdoptedSpools {
  /** The relays at work. */
  readonly relays = new Set<Relay>();
  /** The spools that no relay can empty for now. */
  readonly blocked = new BlockedSpools();
  private readonly root: string;
  private readonly ownId: string;
  private readonly deps: RelayDeps;
  /** Current failures by spool id: since when, and their logs. The search for spools has the key `root`. */
  private readonly failures = new Map<string, { readonly since: number; readonly log: ThrottledLog }>();

  constructor(root: string, ownId: string, deps: RelayDeps) {
    this.root = root;
    this.ownId = ownId;
    this.deps = deps;
  }

  /** Searches and relays every `adoptMs` until `signal` is aborted. Logs its failures and retries. */
  async run(signal: AbortSignal, adoptMs = ADOPT_MS): Promise<void> {
    for (; !signal.aborted; await sleep(adoptMs, signal)) {
      try {
        await this.relayAll(signal);
      } catch (error) {
        this.reportBlockedSpool(this.root, error, 'The ad server cannot search for abandoned spools');
      }
    }
  }

  private async relayAll(signal: AbortSignal): Promise<void> {
    const onUnreadable = (spoolId: string, error: unknown) =>
      this.reportBlockedSpool(
        spoolId,
        error,
        'A spool of a process that has ended cannot be read. Its clicks stay on disk and are not charged yet',
      );
    const isAnother = (spoolId: string) => spoolId !== this.ownId;
    for await (const deadSpool of adoptDeadSpools(this.root, onUnreadable, isAnother)) {
      this.logAdoption(deadSpool);
      await this.relay(deadSpool, signal);
    }
    this.blocked.endSearch();
  }

  private logAdoption({ spoolId, bytes, tornBytes }: DeadSpool): void {
    if (this.failures.has(spoolId)) return;
    const { logger, metrics } = this.deps;
    logger.info({ spoolId, bytes }, 'Adopted a spool of a process that has ended');
    if (tornBytes === 0) return;
    metrics.spoolTornBytes.inc(tornBytes);
    logger.warn(
      { spoolId, tornBytes },
      'An adopted spool ends with an incomplete click. Clicks may be lost if the host lost power. The segment is in quarantine',
    );
  }

  /** Relays one adopted spool and releases it, even when it cannot be relayed. */
  private async relay(deadSpool: DeadSpool, signal: AbortSignal): Promise<void> {
    // From now on it counts as a spool at work.
    this.blocked.delete(deadSpool.folder);
    try {
      const relay = new Relay({ ...deadSpool, openSegment: null, roll: () => {} }, this.deps);
      this.relays.add(relay);
      relay.end();
      try {
        if (!signal.aborted && (await relay.run())) this.reportRelayedSpool(deadSpool.spoolId);
      } finally {
        this.relays.delete(relay);
      }
    } catch (error) {
      this.reportBlockedSpool(
        deadSpool.spoolId,
        error,
        'An adopted spool cannot be relayed. Its clicks stay on disk and are not charged yet',
      );
    }
    deadSpool.release();
  }

  private reportBlockedSpool(spoolId: string, error: unknown, message: string): void {
    const recovered = 'The spools of ended processes are relayed again';
    const failure = this.failures.get(spoolId) ?? {
      since: performance.now(),
      log: new ThrottledLog(this.deps.logger, { failed: message, recovered, level: 'error' }),
    };
    this.failures.set(spoolId, failure);
    const problem = errorMessage(error);
    failure.log.fail({ spoolId, problem }, message);
    const folder = spoolId === this.root ? this.root : join(this.root, spoolId);
    this.blocked.add(folder, problem, failure.since);
  }

  private reportRelayedSpool(spoolId: string): void {
    this.failures.get(spoolId)?.log.recover({ spoolId });
    this.failures.delete(spoolId);
  }
}
