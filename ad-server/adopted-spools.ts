import { join } from 'node:path';
import { sleep } from '../common/process.ts';
import { adoptDeadSpools, type DeadSpool } from '../producer/dead-spools.ts';
import { Relay, type RelayDeps } from '../producer/relay.ts';
import { BlockedSpools } from './blocked-spools.ts';

/** Mean time between two searches for spools whose process has ended, in ms. */
const ADOPT_MS = 10_000;

/** Relays the spools in `root` whose process has ended, one after the other, the oldest first. */
export class AdoptedSpools {
  /** The relays at work. */
  readonly relays = new Set<Relay>();
  /** The spools that no relay can empty for now. */
  readonly blocked: BlockedSpools;
  private readonly root: string;
  private readonly ownId: string;
  private readonly deps: RelayDeps;
  /** The spools whose adoption was logged, so that a repeated one is not, and its incomplete bytes count once. */
  private readonly logged = new Set<string>();

  constructor(root: string, ownId: string, deps: RelayDeps) {
    this.root = root;
    this.ownId = ownId;
    this.deps = deps;
    this.blocked = new BlockedSpools(deps.logger);
  }

  /** Searches and relays every `adoptMs` until `signal` is aborted. Logs its failures and retries. */
  async run(signal: AbortSignal, adoptMs = ADOPT_MS): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.relayAll(signal);
        this.blocked.end(this.root);
      } catch (error) {
        this.blocked.block(this.root, error, 'The ad server cannot search for abandoned spools');
      }
      // Workers that were started together must not meet at the same locks each time.
      await sleep(adoptMs * (0.75 + Math.random() / 2), signal);
    }
  }

  private async relayAll(signal: AbortSignal): Promise<void> {
    const onUnreadable = (spoolId: string, error: unknown) =>
      this.blocked.block(
        join(this.root, spoolId),
        error,
        'A spool of a process that has ended cannot be read. Its clicks stay on disk and are not charged yet',
      );
    const onInUse = (spoolId: string) => this.blocked.unblock(join(this.root, spoolId));
    const isWanted = (spoolId: string) => spoolId !== this.ownId;
    for await (const deadSpool of adoptDeadSpools(this.root, { isWanted, onUnreadable, onInUse })) {
      if (signal.aborted) return deadSpool.release();
      this.logAdoption(deadSpool);
      await this.relay(deadSpool, signal);
    }
    this.blocked.endRemoved();
  }

  private logAdoption({ spoolId, bytes, tornBytes }: DeadSpool): void {
    if (this.logged.has(spoolId)) return;
    this.logged.add(spoolId);
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
    const { folder } = deadSpool;
    this.blocked.unblock(folder);
    try {
      const relay = new Relay({ ...deadSpool, openSegment: null, roll: () => {} }, this.deps);
      this.relays.add(relay);
      relay.end();
      try {
        if (!signal.aborted && (await relay.run())) this.forget(deadSpool);
      } finally {
        this.relays.delete(relay);
      }
    } catch (error) {
      this.blocked.block(
        folder,
        error,
        'An adopted spool cannot be relayed. Its clicks stay on disk and are not charged yet',
      );
    }
    deadSpool.release();
  }

  /** Forgets a spool that is completely relayed and removed. */
  private forget({ spoolId, folder }: DeadSpool): void {
    this.blocked.end(folder);
    this.logged.delete(spoolId);
  }
}
