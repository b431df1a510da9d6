import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { postgresBooks } from '../../brokers/postgres/backlog.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { type BrokerRecord, markRecord, readRecord, WATERMARK_MAX } from '../../contract/click-event.ts';
import { mergeTallies } from '../../ledger/maintenance.ts';
import { reconcile } from '../../ledger/reconcile.ts';
import { correctSpool, listSpoolCorrections } from '../../ledger/spool-corrections.ts';
import { chargeClicks } from '../../processor/charge/charge-clicks.ts';
import {
  addAccount,
  createTestDatabase,
  type NamedAd,
  type TestDatabase,
  TestOrigin,
} from '../setup/database.ts';
import { deliver, expectBalanced } from './deliver.ts';

let database: TestDatabase & { drop: () => Promise<void> };
let ad: NamedAd;
let origin: TestOrigin;

beforeEach(async () => {
  database = await createTestDatabase();
  ({ ad } = await addAccount(database.pool));
  origin = new TestOrigin();
});
afterEach(() => database.drop());

const read = (record: BrokerRecord) => readRecord(record, `test ${uuidV7()}`);
const markOf = (accepted: number) => read(markRecord(origin.id, accepted));
const booksOf = async () =>
  (await reconcile(database.pool, { brokers: [postgresBooks] })).origins.find(
    (books) => books.origin === origin.id,
  );

describe('a watermark', () => {
  it.each([
    ['no key', () => null],
    ['a key of somebody else', () => 'user 42'],
    ['the key of another spool', () => `${uuidV7()}.mark`],
    ['the key of a click of another spool', () => `${uuidV7()}.1`],
    ['a key that only begins with its own', () => `${origin.id}.mark.1`],
  ])('under %s is a record that is kept and not believed', async (_, key) => {
    const { value } = markRecord(origin.id, 1_000_000);
    const forged = read({ key: key(), value });
    expect(forged).toMatchObject({ is: 'unreadable', reason: 'malformed' });
    expect(await deliver(database.pool, [origin.click({ ad }), forged, markOf(1)])).toEqual([
      'charged',
      'rejected: malformed',
      'mark',
    ]);
    expect(await booksOf()).toMatchObject({ accepted: 1, missing: 0 });
  });

  it.each([WATERMARK_MAX + 1, 2 ** 53 - 1])('of %d clicks is not believed', async (accepted) => {
    expect(markOf(accepted)).toMatchObject({ is: 'unreadable', reason: 'malformed' });
    expect(markOf(WATERMARK_MAX)).toMatchObject({ is: 'mark', accepted: WATERMARK_MAX });
  });

  it.each(['one batch', 'two batches', 'a merge between them', 'a merge of both'])(
    'that is lower than an earlier one changes nothing: %s',
    async (how) => {
      const [high, low] = [markOf(10), markOf(5)];
      // Not by `deliver`, which shuffles.
      if (how === 'one batch') await chargeClicks(database.pool, [high, low], { clickAgeMaxDays: 14 });
      else {
        await deliver(database.pool, [high]);
        if (how === 'a merge between them') await mergeTallies(database.pool);
        await deliver(database.pool, [low]);
        if (how === 'a merge of both') await mergeTallies(database.pool);
      }
      expect(await booksOf()).toMatchObject({ accepted: 10, missing: 10 });
      await mergeTallies(database.pool);
      expect(await booksOf()).toMatchObject({ accepted: 10, missing: 10 });
    },
  );
});

describe('a correction', () => {
  it.each([false, true])(
    'takes back what a wrong watermark declared, and leaves a trace (merged: %s)',
    async (merged) => {
      await deliver(database.pool, [origin.click({ ad }), origin.click({ ad }), markOf(1_000_000)]);
      if (merged) await mergeTallies(database.pool);
      expect(await booksOf()).toMatchObject({ accepted: 1_000_000, missing: 999_998 });
      const correction = await correctSpool(database.pool, origin.id, 2, 'a forged watermark');
      expect(correction).toMatchObject({
        spoolId: origin.id,
        acceptedBefore: 1_000_000n,
        acceptedAfter: 2n,
        reason: 'a forged watermark',
      });
      expect(await listSpoolCorrections(database.pool, 10)).toEqual([correction]);
      expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 2, charged: 2, missing: 0 });
      // The spool lives on: its own watermarks are believed again.
      await deliver(database.pool, [origin.click({ ad }), markOf(3)]);
      expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 3, charged: 3 });
    },
  );

  it('leaves the counts of other spools as they are', async () => {
    const other = new TestOrigin();
    await deliver(database.pool, [other.click({ ad }), other.mark(), markOf(7)]);
    await mergeTallies(database.pool);
    for (const spool of [origin.id, other.id]) {
      const before = spool === other.id ? 1n : 7n;
      expect(await correctSpool(database.pool, spool, 2, 'why')).toMatchObject({ acceptedBefore: before });
      const { origins } = await reconcile(database.pool, { brokers: [] });
      const { accepted } = origins.find((books) => books.origin === other.id) ?? {};
      expect(accepted).toBe(spool === other.id ? 2 : 1);
    }
  });

  it('can also raise the count: clicks of a lost disk are then missing, and said to be', async () => {
    await deliver(database.pool, [origin.click({ ad }), markOf(1)]);
    await correctSpool(database.pool, origin.id, 4, 'the disk was lost');
    expect(await booksOf()).toMatchObject({ accepted: 4, missing: 3, balanced: true });
  });

  it('keeps the counts beside batches, merges and other corrections', async () => {
    const work = Array.from({ length: 6 }, () => origin.click({ ad })).flatMap((click) => [
      deliver(database.pool, [click]),
      mergeTallies(database.pool),
      correctSpool(database.pool, origin.id, 6, 'again').catch(() => {}),
    ]);
    await Promise.all(work);
    await correctSpool(database.pool, origin.id, 6, 'at last');
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 6, charged: 6 });
    const corrections = await listSpoolCorrections(database.pool, 100);
    for (const [index, { acceptedBefore }] of corrections.entries()) {
      if (index > 0) expect(acceptedBefore).toBe(corrections[index - 1]?.acceptedAfter);
    }
  });

  it('of a spool that the books do not know, of a count or for a reason that cannot be, is refused', async () => {
    const correct = (id: string, accepted: number, reason = 'why') =>
      correctSpool(database.pool, id, accepted, reason);
    await expect(correct(uuidV7(), 1)).rejects.toMatchObject({ code: 'unknown_spool' });
    await expect(correct(origin.id, -1)).rejects.toMatchObject({ code: 'bad_count' });
    await expect(correct(origin.id, WATERMARK_MAX + 1)).rejects.toMatchObject({ code: 'bad_count' });
    await expect(correct(origin.id, 1, 'x'.repeat(501))).rejects.toMatchObject({ code: 'bad_reason' });
    await expect(correct(origin.id, 1, '')).rejects.toMatchObject({ code: 'bad_reason' });
    expect(await listSpoolCorrections(database.pool, 10)).toEqual([]);
  });
});
