import { beforeEach, describe, expect, it } from 'vitest';
import type { ReadClick } from '../../../contract/click-event.ts';
import { readRecord } from '../../../contract/read-record.ts';
import { readClickStory } from '../../../ledger/clicks/click-story.ts';
import { deleteOldSeenDuplicates } from '../../../ledger/spools/seen-duplicates.ts';
import { chargeBatch } from '../../support/charge-batch.ts';
import { type Account, addAccount, testDatabase } from '../../support/database.ts';
import { clickRecord, TestSpool } from '../../support/records.ts';

const database = testDatabase();
let account: Account;
let spool: TestSpool;
beforeEach(async () => {
  await database.pool.query('delete from seen_duplicate');
  account = await addAccount(database.pool);
  spool = new TestSpool();
});

const clicks = (count: number) => Array.from({ length: count }, () => spool.click({ ad: account.ad }));
const storyOf = ({ click }: ReadClick) => readClickStory(database.pool, { is: 'id', id: click.clickId }, 14);
const duplicatesOf = async (record: ReadClick) => (await storyOf(record)).duplicates;
const rowCount = async () => (await database.pool.query('select from seen_duplicate')).rowCount;

describe('duplicates of a click', () => {
  it('are counted, each with its time in the history, and none without a copy', async () => {
    const [repeated, single] = [spool.click({ ad: account.ad }), spool.click({ ad: account.ad })];
    await chargeBatch(database.pool, [repeated, single]);
    expect(await rowCount()).toBe(0);
    for (let copy = 0; copy < 2; copy += 1) await chargeBatch(database.pool, [repeated]);
    expect(await duplicatesOf(single)).toBe(0);
    const { duplicates, history, settledAt } = await storyOf(repeated);
    expect(duplicates).toBe(2);
    expect(history.map(({ event }) => event.split(':')[0])).toEqual([
      'accepted',
      'settled',
      'duplicate',
      'duplicate',
    ]);
    for (const { at } of history.slice(-2)) expect(at.getTime()).toBeGreaterThan(settledAt?.getTime() ?? 0);
  });

  it('in one batch are counted too, at most 16 of a click', async () => {
    const [twice, often] = [spool.click({ ad: account.ad }), spool.click({ ad: account.ad })];
    await chargeBatch(database.pool, [twice, often, twice, ...Array<ReadClick>(40).fill(often)]);
    expect(await duplicatesOf(twice)).toBe(1);
    expect(await duplicatesOf(often)).toBe(16);
    expect(await rowCount()).toBe(16);
  });

  it('of a rejected click are counted', async () => {
    const unknown = spool.click({ ad: { ...account.ad, id: 4_711 } });
    for (let copy = 0; copy < 2; copy += 1) await chargeBatch(database.pool, [unknown]);
    expect(await storyOf(unknown)).toMatchObject({ outcome: 'rejected', duplicates: 1 });
  });

  it('without a record key are not known', async () => {
    const keyless = clickRecord({ ad: account.ad, from: null });
    for (let copy = 0; copy < 2; copy += 1) await chargeBatch(database.pool, [keyless]);
    expect(await duplicatesOf(keyless)).toBeNull();
    expect(await rowCount()).toBe(0);
  });

  it('of a whole replay take one row for each batch and spool', async () => {
    const all = clicks(3_000);
    for (const batch of [all, all.slice(0, 1_500), all.slice(1_500)]) await chargeBatch(database.pool, batch);
    expect(await rowCount()).toBe(2);
    for (const record of [all[0], all[1_499], all[1_500], all[2_999]])
      expect(record && (await duplicatesOf(record))).toBe(1);
  });

  it('are found in a spool whose sequences lie far apart', async () => {
    const at = (sequence: number) => clickRecord({ ad: account.ad, from: { spoolId: spool.id, sequence } });
    const far = [at(1), at(65_536), at(65_537), at(1_000_000_000)];
    const other = at(2);
    await chargeBatch(database.pool, [...far, other]);
    await chargeBatch(database.pool, far);
    for (const record of far) expect(await duplicatesOf(record)).toBe(1);
    expect(await duplicatesOf(other)).toBe(0);
  });

  it('are deleted with the evidence of their time, and not recorded if none is kept', async () => {
    const [record] = clicks(1);
    if (!record) throw new Error('Expected a click');
    for (let copy = 0; copy < 3; copy += 1) await chargeBatch(database.pool, [record]);
    const keep = (floor: string | null) =>
      database.pool.query('update ledger_window set evidence_floor = $1', [floor]);
    const { rows } = await database.pool.query('select evidence_floor as floor from ledger_window');
    try {
      await database.pool.query(
        `update seen_duplicate set seen_at = '2001-01-01' where ctid = (select min(ctid) from seen_duplicate)`,
      );
      await keep('2001-01-02');
      await deleteOldSeenDuplicates(database.pool);
      expect(await duplicatesOf(record)).toBe(1);
      await keep(null);
      await chargeBatch(database.pool, [record]);
      expect(await duplicatesOf(record)).toBe(1);
      await deleteOldSeenDuplicates(database.pool);
      expect(await duplicatesOf(record)).toBe(0);
    } finally {
      await keep(rows[0]?.floor);
    }
  });
});

describe('the time of publishing', () => {
  const published = (publishedAt?: number) => {
    const record = spool.click({ ad: account.ad });
    const read = readRecord(record, 'test', publishedAt);
    if (read.is !== 'click') throw new Error('Expected a click');
    return read;
  };

  it('is told by the story of a click, in the history too', async () => {
    const at = Date.now() + 1;
    const record = published(at);
    await chargeBatch(database.pool, [record]);
    const { publishedAt, history, evidence } = await storyOf(record);
    expect(publishedAt).toEqual(new Date(at));
    expect(history.find(({ event }) => event === 'published')?.at).toEqual(new Date(at));
    expect(evidence).not.toHaveProperty('publishedAt');
  });

  it.each([undefined, Number.NaN, -1, 0, 1e18, Number.POSITIVE_INFINITY])(
    'is not known if the broker tells %s, and the click is charged',
    async (publishedAt) => {
      const record = published(publishedAt);
      expect(await chargeBatch(database.pool, [record])).toEqual(['charged']);
      expect(await storyOf(record)).toMatchObject({ outcome: 'charged', publishedAt: null });
    },
  );

  it('has whole milliseconds', async () => {
    const record = published(1_545_084_650_987.000_2);
    expect(record.publishedAt).toBe(1_545_084_650_987);
  });
});
