import { afterEach, beforeEach } from 'vitest';
import { createMetrics, type ProcessMetrics } from '../../common/telemetry/metrics.ts';
import type { ReadClick, ReadRecord } from '../../contract/click-event.ts';
import { BatchDispatcher, type DispatcherOptions } from '../../processor/dispatch/batch-dispatcher.ts';
import { shuffle } from './charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from './database.ts';
import { silent } from './loggers.ts';
import { type NamedAd, TestSpool } from './records.ts';

/** A dispatcher with everything around it, made anew for each test of a file. */
export class DispatcherFixture {
  readonly database: TestDatabase & { drop: () => Promise<void> };
  readonly metrics: ProcessMetrics = createMetrics();
  readonly spool = new TestSpool();
  /** Errors passed to `onInvariant`. */
  readonly broken: unknown[] = [];
  /** One ad of each of four advertisers. */
  readonly ads: NamedAd[] = [];
  /** A test can replace it by `newDispatcher`. It is aborted at the end. */
  dispatcher: BatchDispatcher;

  private constructor(database: TestDatabase & { drop: () => Promise<void> }) {
    this.database = database;
    this.dispatcher = this.newDispatcher();
  }

  static async create(): Promise<DispatcherFixture> {
    const fixture = new DispatcherFixture(await createTestDatabase());
    for (let count = 0; count < 4; count += 1) fixture.ads.push((await addAccount(fixture.database.pool)).ad);
    return fixture;
  }

  newDispatcher(more: Partial<DispatcherOptions> = {}, logger = silent): BatchDispatcher {
    const defaults = { batchSize: 50, lanes: 2, clickAgeMaxDays: 14, retryAttempts: 1 };
    return new BatchDispatcher(
      this.database.pool,
      { ...defaults, ...more },
      { metrics: this.metrics, logger, onInvariant: (error) => this.broken.push(error) },
    );
  }

  /** The ad of one of the advertisers, counted from 0. */
  ad(index: number): NamedAd {
    const ad = this.ads[index % this.ads.length];
    if (!ad) throw new Error(`Expected an ad, got none of ${this.ads.length}`);
    return ad;
  }

  /** Clicks of all ads in turn. */
  someClicks(count: number): ReadClick[] {
    return Array.from({ length: count }, (_, index) => this.spool.click({ ad: this.ad(index) }));
  }

  /** Submits everything twice, each time shuffled. */
  async submitTwice(records: readonly ReadRecord[]): Promise<void> {
    await this.dispatcher.submit(shuffle(records));
    await this.dispatcher.submit(shuffle(records));
  }

  /** How often a batch failed with this cause. */
  async retries(cause: string): Promise<number> {
    const { values } = await this.metrics.batchRetries.get();
    return values.find(({ labels }) => labels.cause === cause)?.value ?? 0;
  }

  async letters() {
    const { rows } = await this.database.pool.query<{ reason: string; raw: Buffer; click_id: string }>(
      'select reason, raw, click_id from dead_letter order by id',
    );
    return rows;
  }

  /** Makes inserts into the ledger fail permanently: for one click, or for all. */
  async refuseRows(condition: string): Promise<void> {
    await this.database.pool.query(
      `create or replace function refuse() returns trigger language plpgsql as
       $$ begin if ${condition} then raise exception 'refused'; end if; return new; end $$`,
    );
    await this.database.pool.query(
      'create or replace trigger refuse before insert on ledger for each row execute function refuse()',
    );
  }

  async acceptRows(): Promise<void> {
    await this.database.pool.query('drop trigger refuse on ledger');
  }
}

/** Makes a fixture before each test of the file, and removes it afterwards. Call `current` in a test. */
export function dispatcherFixture(): { current: () => DispatcherFixture } {
  let fixture: DispatcherFixture | undefined;
  beforeEach(async () => {
    fixture = await DispatcherFixture.create();
  });
  afterEach(async () => {
    fixture?.dispatcher.abort();
    await fixture?.database.drop();
  });
  return {
    current: () => {
      if (!fixture) throw new Error('Expected to be called in a test, was called outside');
      return fixture;
    },
  };
}
