import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { postgresBacklog } from '../../../brokers/postgres/backlog.ts';
import type { ReadClick, ReadRecord } from '../../../contract/click-event.ts';
import { addAd } from '../../../ledger/accounts/ads.ts';
import { listDeadLetterIds } from '../../../ledger/charge/dead-letters.ts';
import { reconcile } from '../../../ledger/reconciliation/reconcile.ts';
import { mergeSpoolCounters } from '../../../ledger/spools/merge-counters.ts';
import { chargeClicks } from '../../../processor/charge/charge-clicks.ts';
import { quarantine } from '../../../processor/charge/quarantine.ts';
import { redrive } from '../../../processor/charge/redrive.ts';
import { chargeBatch, expectBalanced } from '../../support/charge-batch.ts';
import { type Account, addAccount, createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { examples } from '../../support/examples.ts';
import { clickRecord, TestSpool, unreadableRecord } from '../../support/records.ts';

let database: TestDatabase & { drop: () => Promise<void> };
let account: Account;
let spool: TestSpool;

beforeEach(async () => {
  database = await createTestDatabase();
  account = await addAccount(database.pool);
  spool = new TestSpool();
});
afterEach(() => database.drop());

const OPTIONS = { clickAgeMaxDays: 14 };
/** The same click without its key, as from a file or a forwarder that drops keys. */
const withoutKey = (record: ReadClick): ReadClick => ({ ...record, key: null, from: null });
const unknownAd = () => ({ ...account.ad, id: account.ad.id + 1 });

describe('a click that was settled from a copy without its key', () => {
  it('gets its key when the copy with the key arrives, and is charged once', async () => {
    const click = spool.click({ ad: account.ad });
    expect(await chargeBatch(database.pool, [withoutKey(click)])).toEqual(['charged']);
    expect(await chargeBatch(database.pool, [click, spool.watermark()])).toEqual(['duplicate', 'watermark']);
    expect(await chargeBatch(database.pool, [click, withoutKey(click)])).toEqual(['duplicate', 'duplicate']);
    expect(await expectBalanced(database.pool)).toMatchObject({
      accepted: 1,
      charged: 1,
      missing: 0,
      unattributed: 0,
    });
  });

  it('gets its key if both copies are in one batch, the one without the key first', async () => {
    const click = spool.click({ ad: account.ad });
    const { outcomes } = await chargeClicks(
      database.pool,
      [withoutKey(click), click, withoutKey(click), spool.watermark()],
      OPTIONS,
    );
    expect(outcomes.map(({ outcome }) => outcome)).toEqual([
      'duplicate',
      'charged',
      'duplicate',
      'watermark',
    ]);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 1, missing: 0, unattributed: 0 });
  });

  it('does not get a key under which another click was settled', async () => {
    const click = spool.click({ ad: account.ad });
    const other = withoutKey(clickRecord({ ad: account.ad }));
    await chargeBatch(database.pool, [click, other, spool.watermark()]);
    const forged = { ...other, key: click.key, from: click.from };
    expect(await chargeBatch(database.pool, [forged])).toEqual(['duplicate']);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 1, charged: 1, unattributed: 1 });
  });

  it('gets its key if it was rejected; its dead letter can still be redriven', async () => {
    const click = spool.click({ ad: unknownAd() });
    expect(await chargeBatch(database.pool, [withoutKey(click)])).toEqual(['rejected: unknown_ad']);
    expect(await chargeBatch(database.pool, [click, spool.watermark()])).toEqual(['duplicate', 'watermark']);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 1, rejected: 1, unattributed: 0 });
    await addAd(database.pool, account.campaign.id, 250_000n, 'https://example.com/');
    const [id = 0n] = await listDeadLetterIds(database.pool, 0n, 10);
    expect(await redrive(database.pool, id)).toMatchObject({ outcome: 'charged' });
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 1, rejected: 0, missing: 0 });
  });

  it('gets its key if the copy with the key was unreadable at first and is redriven', async () => {
    const click = spool.click({ ad: account.ad });
    await chargeBatch(database.pool, [unreadableRecord(Buffer.from('a later version'), click.from)]);
    await chargeBatch(database.pool, [withoutKey(click), spool.watermark()]);
    // Stands for a newer processor, which can read the bytes.
    await database.pool.query('update dead_letter set raw = $1', [click.value]);
    const [id = 0n] = await listDeadLetterIds(database.pool, 0n, 10);
    expect(await redrive(database.pool, id)).toMatchObject({ outcome: 'duplicate' });
    expect(await listDeadLetterIds(database.pool, 0n, 10)).toEqual([]);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 1, rejected: 0, unattributed: 0 });
  });

  it('gets its key if the copy with the key is rejected as poison', async () => {
    const click = spool.click({ ad: account.ad });
    await chargeBatch(database.pool, [withoutKey(click)]);
    await quarantine(database.pool, click, 'odd');
    await chargeBatch(database.pool, [spool.watermark()]);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 1, rejected: 0, missing: 0 });
  });

  it('gets its key once if several processors settle the copy concurrently', async () => {
    const clicks = Array.from({ length: 20 }, () => spool.click({ ad: account.ad }));
    await chargeBatch(database.pool, clicks.map(withoutKey));
    await Promise.all(Array.from({ length: 4 }, () => chargeBatch(database.pool, clicks)));
    await chargeBatch(database.pool, [spool.watermark()]);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 20, missing: 0, unattributed: 0 });
  });

  it('does not get its key if an unreadable record has settled the sequence', async () => {
    const click = spool.click({ ad: account.ad });
    await chargeBatch(database.pool, [withoutKey(click)]);
    await chargeBatch(database.pool, [unreadableRecord(Buffer.from('a forgery'), click.from)]);
    await chargeBatch(database.pool, [click, spool.watermark()]);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 1, rejected: 1, unattributed: 1 });
  });
});

it('The books balance for any copies in any order and batches', { timeout: 60_000 }, async () => {
  const copy = fc.record({
    click: fc.nat(5),
    kind: fc.constantFrom('keyed', 'without key', 'forgery', 'watermark', 'merge'),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(copy, { minLength: 1, maxLength: 6 }), { maxLength: 8 }),
      async (batches) => {
        const spool = new TestSpool();
        const clicks = Array.from({ length: 6 }, (_, index) =>
          spool.click({ ad: index % 3 === 2 ? unknownAd() : account.ad }),
        );
        const all: typeof batches = [
          ...batches,
          clicks.map((_, click) => ({ click, kind: 'keyed' as const })),
        ];
        for (const batch of all) {
          if (batch.some(({ kind }) => kind === 'merge')) await mergeSpoolCounters(database.pool);
          const records = batch.flatMap(({ click, kind }): ReadRecord[] => {
            const record = clicks[click];
            if (!record || kind === 'merge') return [];
            if (kind === 'watermark') return [spool.watermark()];
            if (kind === 'forgery') return [unreadableRecord(Buffer.from('a forgery'), record.from)];
            return [kind === 'keyed' ? record : withoutKey(record)];
          });
          await chargeClicks(database.pool, records, OPTIONS);
        }
        const reconciliation = await reconcile(database.pool, { brokers: [postgresBacklog], deep: true });
        expect(reconciliation.problems.filter((problem) => problem.includes(spool.id))).toEqual([]);
        const found = reconciliation.spools.find((one) => one.spoolId === spool.id);
        expect(found).toMatchObject({ accepted: 6, missing: 0, balanced: true });
      },
    ),
    { numRuns: examples(25) },
  );
});
