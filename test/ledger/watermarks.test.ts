import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { postgresBacklog } from '../../brokers/postgres/backlog.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { type BrokerRecord, WATERMARK_MAX, watermarkRecord } from '../../contract/click-event.ts';
import { readRecord } from '../../contract/read-record.ts';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { correctSpool, listSpoolCorrections } from '../../ledger/spools/corrections.ts';
import { mergeSpoolCounters } from '../../ledger/spools/merge-counters.ts';
import { chargeClicks } from '../../processor/charge/charge-clicks.ts';
import { chargeBatch, expectBalanced } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type NamedAd, TestSpool } from '../support/records.ts';

let database: TestDatabase & { drop: () => Promise<void> };
let ad: NamedAd;
let spool: TestSpool;

beforeEach(async () => {
  database = await createTestDatabase();
  ({ ad } = await addAccount(database.pool));
  spool = new TestSpool();
});
afterEach(() => database.drop());

const read = (record: BrokerRecord) => readRecord(record, `test ${uuidV7()}`);
const watermarkOf = (accepted: number) => read(watermarkRecord(spool.id, accepted));
const reconciliationOf = async () =>
  (await reconcile(database.pool, { brokers: [postgresBacklog] })).spools.find(
    (reconciliation) => reconciliation.spoolId === spool.id,
  );

describe('a watermark', () => {
  it.each([
    ['no key', () => null],
    ['a foreign key', () => 'user 42'],
    ['the key of another spool', () => `${uuidV7()}.watermark`],
    ['the key of a click of another spool', () => `${uuidV7()}.1`],
    ['a key with its own as a prefix', () => `${spool.id}.watermark.1`],
  ])('under %s is rejected and stored as a dead letter', async (_, key) => {
    const { value } = watermarkRecord(spool.id, 1_000_000);
    const forged = read({ key: key(), value });
    expect(forged).toMatchObject({ is: 'unreadable', reason: 'malformed' });
    expect(await chargeBatch(database.pool, [spool.click({ ad }), forged, watermarkOf(1)])).toEqual([
      'charged',
      'rejected: malformed',
      'watermark',
    ]);
    expect(await reconciliationOf()).toMatchObject({ accepted: 1, missing: 0 });
  });

  it.each([WATERMARK_MAX + 1, 2 ** 53 - 1])('of %d clicks is unreadable', async (accepted) => {
    expect(watermarkOf(accepted)).toMatchObject({ is: 'unreadable', reason: 'malformed' });
    expect(watermarkOf(WATERMARK_MAX)).toMatchObject({ is: 'watermark', accepted: WATERMARK_MAX });
  });

  it.each(['one batch', 'two batches', 'a merge between them', 'a merge of both'])(
    'that is lower than an earlier one changes nothing: %s',
    async (how) => {
      const [high, low] = [watermarkOf(10), watermarkOf(5)];
      // Without `chargeBatch`, which shuffles.
      if (how === 'one batch') await chargeClicks(database.pool, [high, low], { clickAgeMaxDays: 14 });
      else {
        await chargeBatch(database.pool, [high]);
        if (how === 'a merge between them') await mergeSpoolCounters(database.pool);
        await chargeBatch(database.pool, [low]);
        if (how === 'a merge of both') await mergeSpoolCounters(database.pool);
      }
      expect(await reconciliationOf()).toMatchObject({ accepted: 10, missing: 10 });
      await mergeSpoolCounters(database.pool);
      expect(await reconciliationOf()).toMatchObject({ accepted: 10, missing: 10 });
    },
  );
});

describe('a correction', () => {
  it.each([false, true])(
    'replaces a wrong watermark and is recorded (counters merged before: %s)',
    async (merged) => {
      await chargeBatch(database.pool, [spool.click({ ad }), spool.click({ ad }), watermarkOf(1_000_000)]);
      if (merged) await mergeSpoolCounters(database.pool);
      expect(await reconciliationOf()).toMatchObject({ accepted: 1_000_000, missing: 999_998 });
      const correction = await correctSpool(database.pool, spool.id, 2, 'a forged watermark');
      expect(correction).toMatchObject({
        spoolId: spool.id,
        acceptedBefore: 1_000_000n,
        acceptedAfter: 2n,
        reason: 'a forged watermark',
      });
      expect(await listSpoolCorrections(database.pool)).toEqual([correction]);
      expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 2, charged: 2, missing: 0 });
      // Later watermarks of the spool count again.
      await chargeBatch(database.pool, [spool.click({ ad }), watermarkOf(3)]);
      expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 3, charged: 3 });
    },
  );

  it('does not change other spools', async () => {
    const other = new TestSpool();
    await chargeBatch(database.pool, [other.click({ ad }), other.watermark(), watermarkOf(7)]);
    await mergeSpoolCounters(database.pool);
    for (const id of [spool.id, other.id]) {
      const before = id === other.id ? 1n : 7n;
      expect(await correctSpool(database.pool, id, 2, 'why')).toMatchObject({ acceptedBefore: before });
      const { spools } = await reconcile(database.pool, { brokers: [] });
      const { accepted } = spools.find(({ spoolId }) => spoolId === other.id) ?? {};
      expect(accepted).toBe(id === other.id ? 2 : 1);
    }
  });

  it('can also raise the count: clicks of a lost disk are then missing', async () => {
    await chargeBatch(database.pool, [spool.click({ ad }), watermarkOf(1)]);
    await correctSpool(database.pool, spool.id, 4, 'the disk was lost');
    expect(await reconciliationOf()).toMatchObject({ accepted: 4, missing: 3, balanced: true });
  });

  it('keeps the counts while batches, merges and other corrections run', async () => {
    const work = Array.from({ length: 6 }, () => spool.click({ ad })).flatMap((click) => [
      chargeBatch(database.pool, [click]),
      mergeSpoolCounters(database.pool),
      correctSpool(database.pool, spool.id, 6, 'again').catch(() => {}),
    ]);
    await Promise.all(work);
    await correctSpool(database.pool, spool.id, 6, 'at last');
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 6, charged: 6 });
    const corrections = await listSpoolCorrections(database.pool);
    for (const [index, { acceptedBefore }] of corrections.entries()) {
      if (index > 0) expect(acceptedBefore).toBe(corrections[index - 1]?.acceptedAfter);
    }
  });

  it('is refused for an unknown spool, an invalid count and an invalid reason', async () => {
    const correct = (id: string, accepted: number, reason = 'why') =>
      correctSpool(database.pool, id, accepted, reason);
    await expect(correct(uuidV7(), 1)).rejects.toMatchObject({ code: 'unknown_spool' });
    await expect(correct(spool.id, -1)).rejects.toMatchObject({ code: 'bad_count' });
    await expect(correct(spool.id, WATERMARK_MAX + 1)).rejects.toMatchObject({ code: 'bad_count' });
    await expect(correct(spool.id, 1, 'x'.repeat(501))).rejects.toMatchObject({ code: 'bad_reason' });
    await expect(correct(spool.id, 1, '')).rejects.toMatchObject({ code: 'bad_reason' });
    expect(await listSpoolCorrections(database.pool)).toEqual([]);
  });
});
