import fc from 'fast-check';
import { expect, it } from 'vitest';
import { DAY_MS } from '../../../common/unix-time.ts';
import { uuidFloor, uuidV7 } from '../../../common/uuid.ts';
import type { ReadClick } from '../../../contract/click-event.ts';
import { dropClosedDays, maintain } from '../../../ledger/maintenance.ts';
import {
  dayStart,
  isoDay,
  listPartitionDays,
  PARTITIONED,
  partitionBounds,
  partitionName,
} from '../../../ledger/partitions.ts';
import { chargeBatch, expectBalanced } from '../../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase, testDatabase } from '../../support/database.ts';
import { silent } from '../../support/loggers.ts';
import { TestSpool } from '../../support/records.ts';
import { RETENTION } from '../../support/retention.ts';

const shared = testDatabase();
const CLICK_AGE_DAYS = 14;
/** Days from today to the floor of the template database. */
const NONCE_DAYS = CLICK_AGE_DAYS + RETENTION.linkLifeDays;
const NONCES = 14;

it('The partition of a time is the same in SQL, at the ends of days, months and years', async () => {
  const edge = fc.integer({ min: 0, max: 40_000 }).map((day) => day * DAY_MS);
  const near = fc.tuple(edge, fc.constantFrom(-1, 0, 1)).map(([ms, step]) => Math.max(0, ms + step));
  const times = fc.sample(near, 300);
  for (const table of PARTITIONED) {
    const { rows } = await shared.pool.query(
      `select partition_of($1, day) as name, uuid_floor((partition_bounds($1, day))[1]) as start,
         uuid_floor((partition_bounds($1, day))[2]) as end from unnest($2::date[]) day`,
      [table, times.map(isoDay)],
    );
    const expected = times.map((timeMs) => {
      const { startMs, endMs } = partitionBounds(table, timeMs);
      expect(timeMs >= startMs && timeMs < endMs).toBe(true);
      return { name: partitionName(table, timeMs), start: uuidFloor(startMs), end: uuidFloor(endMs) };
    });
    expect(rows).toEqual(expected);
  }
});

/** What two processors get at the same time, and how many days of nonces maintenance keeps afterwards. */
type Round = { readonly first: number[]; readonly second: number[]; readonly keepDays: number | null };

const picks = fc.array(fc.nat(), { minLength: 1, maxLength: 12 });
const rounds = fc.array(
  fc.record<Round>({
    first: picks,
    second: picks,
    keepDays: fc.option(fc.integer({ min: CLICK_AGE_DAYS, max: NONCE_DAYS }), { freq: 3 }),
  }),
  { minLength: 4, maxLength: 8 },
);

/**
 * Clicks on links that were made between the floor and now: several valid ones of each link, and an invalid one. They are of two
 * advertisers, as if a signer had used a nonce twice: the locks of advertisers do not order them.
 */
async function makeClicks(database: TestDatabase): Promise<ReadClick[]> {
  const [{ ad }, { ad: other }] = [await addAccount(database.pool), await addAccount(database.pool)];
  const spool = new TestSpool();
  return Array.from({ length: NONCES }, (_, at) => {
    // Evenly over the days, so in two or three months.
    const nonce = uuidV7(dayStart(Date.now()) - Math.floor((NONCE_DAYS * at) / (NONCES - 1)) * DAY_MS);
    return [
      ...[spool.click({ ad, nonce }), spool.click({ ad: other, nonce })],
      ...[spool.click({ ad, nonce }), spool.click({ ad, nonce, invalid: 'bot' })],
    ];
  }).flat();
}

/** The model: what the ledger has to know after each delivery. */
class Model {
  /** By click id, the outcome of its first delivery. */
  readonly settled = new Map<string, string>();
  /** By nonce, the click that was charged. */
  readonly spenders = new Map<string, string>();
  private floorMs = dayStart(Date.now()) - NONCE_DAYS * DAY_MS;

  raiseFloor(floorMs: number): number {
    this.floorMs = Math.max(this.floorMs, floorMs);
    return this.floorMs;
  }

  /** Checks the outcomes of clicks that two processors settled at the same time, in an order that is not known. */
  check(delivered: readonly (readonly [ReadClick, string])[]): void {
    const news = delivered.filter(([, outcome]) => outcome !== 'duplicate');
    for (const [{ click }, outcome] of news) {
      expect(this.settled.has(click.clickId)).toBe(false);
      this.settled.set(click.clickId, outcome);
      if (click.invalid !== null) expect(outcome).toBe('invalid: bot');
      else if (Number.parseInt((click.nonce ?? '').slice(0, 13).replace('-', ''), 16) < this.floorMs)
        expect(outcome).toBe('rejected: nonce_out_of_range');
      else expect(outcome).toMatch(/^(charged|invalid: repeat)$/);
      if (outcome !== 'charged') continue;
      expect(this.spenders.has(click.nonce ?? '')).toBe(false);
      this.spenders.set(click.nonce ?? '', click.clickId);
    }
    for (const [{ click }] of delivered) expect(this.settled.has(click.clickId)).toBe(true);
    // A repeat needs a charged click.
    for (const [{ click }, outcome] of news) {
      if (outcome === 'invalid: repeat') expect(this.spenders.get(click.nonce ?? '')).toBeDefined();
    }
  }
}

async function chargeSome(database: TestDatabase, clicks: readonly ReadClick[], picked: readonly number[]) {
  const batch = [...new Set(picked)].flatMap((pick) => clicks[pick % clicks.length] ?? []);
  const copies = [...new Set(batch)];
  const outcomes = await chargeBatch(database.pool, copies);
  return copies.map((record, at) => [record, outcomes[at] ?? ''] as const);
}

/** Raises the floor of nonces, drops the months below it, and checks which are left. */
async function forget(database: TestDatabase, keepDays: number, model: Model): Promise<void> {
  const options = {
    ...{ clickAgeDays: CLICK_AGE_DAYS, linkLifeDays: keepDays - CLICK_AGE_DAYS, evidenceDays: 0 },
    ...{ ledgerRetentionDays: 400, brokerRetentionDays: 7, acceptsStep: true },
  };
  await maintain(database.pool, options, silent);
  await dropClosedDays(database.pool, silent, 0);
  const floorMs = model.raiseFloor(dayStart(Date.now()) - keepDays * DAY_MS);
  const connection = await database.pool.connect();
  const kept = await listPartitionDays(connection, 'spent_nonce').finally(() => connection.release());
  expect(kept[0]).toBe(partitionBounds('spent_nonce', floorMs).startMs);
}

it('A nonce is charged once, whatever two processors, redeliveries and dropped months do', {
  timeout: 240_000,
}, async () => {
  const property = fc.asyncProperty(rounds, async (steps) => {
    const database = await createTestDatabase();
    try {
      const clicks = await makeClicks(database);
      const model = new Model();
      for (const { first, second, keepDays } of steps) {
        const both = await Promise.all([
          chargeSome(database, clicks, first),
          chargeSome(database, clicks, second),
        ]);
        model.check(both.flat());
        if (keepDays !== null) await forget(database, keepDays, model);
      }
      // Everything is delivered once more, and then again: only what was never delivered is settled.
      const all = clicks.map((_, at) => at);
      model.check(await chargeSome(database, clicks, all));
      expect(new Set((await chargeSome(database, clicks, all)).map(([, outcome]) => outcome))).toEqual(
        new Set(['duplicate']),
      );
      await expectBalanced(database.pool);
    } finally {
      await database.drop();
    }
  });
  await fc.assert(property, { numRuns: 6, endOnFailure: true });
});
