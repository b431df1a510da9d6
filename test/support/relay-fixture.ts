import { dirname } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { type Relays, startRelays } from '../../ad-server/relays.ts';
import type { Publisher } from '../../brokers/publisher.ts';
import { parseConfig } from '../../common/config/config.ts';
import { createMetrics, type ProcessMetrics } from '../../common/telemetry/metrics.ts';
import type { BrokerRecord } from '../../contract/click-event.ts';
import { Relay, type RelayedSpool, type RelayOptions } from '../../producer/relay.ts';
import type { Spool } from '../../producer/spool.ts';
import { silent } from './loggers.ts';

/** A broker in memory that can be unavailable. */
export class FakeBroker implements Publisher {
  /** Every batch that was confirmed, in order; values as text. */
  readonly batches: { key: string | null; value: string }[][] = [];
  /** Records that were sent to all partitions. */
  readonly watermarks: { spoolId: string; accepted: number }[] = [];
  /** Everything in the order in which it was confirmed: sequences and watermarks. */
  readonly log: string[] = [];
  attempts = 0;
  /** Maximum number of records in unanswered calls. */
  pendingMost = 0;
  private pending = 0;
  /** Called before a batch or watermark is accepted; throws to refuse it, or waits. */
  before: () => void | Promise<void> = () => {};
  /** Called after it was accepted; throws if the confirmation is lost. */
  after: () => void | Promise<void> = () => {};

  /** Whether a record is refused for now, as by a shard at its limit. */
  refuses: (record: BrokerRecord) => boolean = () => false;

  publish = async (given: readonly BrokerRecord[]): Promise<readonly BrokerRecord[]> => {
    this.attempts += 1;
    const refused = given.filter((record) => this.refuses(record));
    const records = given.filter((record) => !refused.includes(record));
    this.pending += records.length;
    this.pendingMost = Math.max(this.pendingMost, this.pending);
    try {
      await this.before();
      this.batches.push(records.map(({ key, value }) => ({ key, value: String(value) })));
      this.log.push(...records.map(({ key }) => key?.split('.')[1] ?? 'no key'));
      await this.after();
      return refused;
    } finally {
      this.pending -= records.length;
    }
  };

  publishEverywhere = async (record: BrokerRecord): Promise<void> => {
    this.attempts += 1;
    await this.before();
    const { watermark } = JSON.parse(String(record.value)) as {
      watermark: { spoolId: string; accepted: number };
    };
    this.watermarks.push(watermark);
    this.log.push(`watermark ${watermark.accepted}`);
    await this.after();
  };

  close = async (): Promise<void> => {};

  get clicks(): string[] {
    return this.batches.flat().map(({ value }) => value);
  }

  get keys(): (string | null)[] {
    return this.batches.flat().map(({ key }) => key);
  }
}

export type RelayFixture = {
  readonly relay: Relay;
  readonly metrics: ProcessMetrics;
  /** Resolves to whether the relay has reached the end of its spool. */
  readonly done: Promise<boolean>;
};

/** Starts a relay without delays; it is aborted when the test has ended. */
export function startRelay(
  spool: RelayedSpool & { bytes: number },
  publisher: Publisher,
  options: Partial<RelayOptions> = {},
  logger = silent,
): RelayFixture {
  const metrics = createMetrics();
  const relay = new Relay(spool, {
    publisher,
    options: { batchMax: 100, lingerMs: 0, watermarkIntervalMs: 20, ...options },
    metrics,
    logger,
    onFreed: (bytes) => {
      spool.bytes -= bytes;
    },
  });
  if ('onChange' in spool) spool.onChange = () => relay.notify();
  const done = relay.run();
  onTestFinished(async () => {
    relay.abort();
    await done.catch(() => false);
  });
  return { relay, metrics, done };
}

type RelaysOptions = Partial<Parameters<typeof startRelays>[1]> & {
  readonly spool: Spool;
  readonly publisher: Publisher;
  readonly env?: NodeJS.ProcessEnv;
};

/** Starts the relays of an ad server without delays, which search for spools every 20 ms. The failure of one fails the test. */
export function startTestRelays({ env = {}, spool, ...more }: RelaysOptions): Relays {
  return startRelays(parseConfig({ RELAY_LINGER_MS: '0', ...env }), {
    root: dirname(spool.folder),
    spool,
    metrics: createMetrics(),
    logger: silent,
    fail: (error) => expect.unreachable(String(error)),
    adoptMs: 20,
    ...more,
  });
}
