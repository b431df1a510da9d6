import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inTransaction } from '../../common/postgres/postgres.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { encodeClick, type ReadRecord, readRecord, watermarkRecord } from '../../contract/click-event.ts';
import { addAd } from '../../ledger/ads.ts';
import { discardDeadLetter, listDeadLetterIds } from '../../ledger/dead-letters.ts';
import { DAY_MS } from '../../ledger/partitions.ts';
import { settle } from '../../processor/charge/charge-clicks.ts';
import { quarantine } from '../../processor/charge/quarantine.ts';
import { redrive } from '../../processor/charge/redrive.ts';
import { type Account, addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { deliver, expectBalanced, inWords, placesOf, untilWaitingForLock } from '../support/deliver.ts';
import { clickEvent, clickRecord, TestSpool, unreadableRecord } from '../support/records.ts';

let database: TestDatabase & { drop: () => Promise<void> };
let account: Account;
let spool: TestSpool;

beforeEach(async () => {
  database = await createTestDatabase();
  account = await addAccount(database.pool, { budget: '10.00', price: '0.25' });
  spool = new TestSpool();
});
afterEach(() => database.drop());

/** The click of an ad that is not there yet: the next one that is made. */
const tooEarly = () => spool.click({ ad: { ...account.ad, id: account.ad.id + 1 } });
const makeAd = () => addAd(database.pool, account.campaign.id, 250_000n, 'https://example.com/');
const letters = () => listDeadLetterIds(database.pool, 0n, 100);

async function onlyLetter(): Promise<bigint> {
  const ids = await letters();
  expect(ids).toHaveLength(1);
  return ids[0] ?? 0n;
}

async function remaining(): Promise<bigint | undefined> {
  const { rows } = await database.pool.query<{ left: bigint }>(
    'select remaining_micros as left from advertiser where id = $1',
    [account.advertiser.id],
  );
  return rows[0]?.left;
}

describe('a redrive', () => {
  it('charges a click whose ad has been made meanwhile: once, and the letter goes', async () => {
    const click = tooEarly();
    expect(await deliver(database.pool, [click, spool.watermark()])).toEqual([
      'rejected: unknown_ad',
      'watermark',
    ]);
    const id = await onlyLetter();
    expect(inWords(await redrive(database.pool, id))).toBe('rejected: unknown_ad');
    expect(await letters()).toEqual([id]);
    await makeAd();
    expect(inWords(await redrive(database.pool, id))).toBe('charged');
    expect(await remaining()).toBe(9_750_000n);
    expect(await placesOf(database.pool, click.click.clickId)).toEqual([1, 0]);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 1, charged: 1, rejected: 0 });
    await expect(redrive(database.pool, id)).rejects.toMatchObject({ code: 'unknown_dead_letter' });
    expect(await deliver(database.pool, [click])).toEqual(['duplicate']);
    expect(await remaining()).toBe(9_750_000n);
  });

  it('charges it once however many do it at the same time', async () => {
    await deliver(database.pool, [tooEarly()]);
    const id = await onlyLetter();
    await makeAd();
    const redriven = await Promise.allSettled(Array.from({ length: 5 }, () => redrive(database.pool, id)));
    expect(redriven.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await remaining()).toBe(9_750_000n);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 1, rejected: 0 });
  });

  it('charges it once beside a copy that comes again at the same time', async () => {
    const clicks = Array.from({ length: 8 }, tooEarly);
    await deliver(database.pool, clicks);
    const ids = await letters();
    await makeAd();
    await Promise.all([
      ...ids.map((id) => redrive(database.pool, id)),
      ...clicks.map((click) => deliver(database.pool, [click])),
    ]);
    expect(await letters()).toEqual([]);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 8, rejected: 0 });
  });

  it('tries again when it lost a deadlock against a copy', async () => {
    const click = tooEarly();
    await deliver(database.pool, [click]);
    const id = await onlyLetter();
    await makeAd();
    // The copy holds the advertiser and wants the letter; the redrive holds the letter and wants the advertiser.
    const { redriven } = await inTransaction(database.pool, async (connection) => {
      await connection.query('select from advertiser for no key update');
      const redriven = redrive(database.pool, id);
      await untilWaitingForLock(database.pool);
      await connection.query("set local deadlock_timeout = '1min'");
      await connection.query('select from dead_letter for update');
      return { redriven };
    });
    expect(inWords(await redriven)).toBe('charged');
  });

  it('takes a click of any age that the ledger has a day for', async () => {
    const click = spool.click({ ad: account.ad, clickedAt: Date.now() - 2 * DAY_MS });
    expect(await deliver(database.pool, [click], { clickAgeMaxDays: 1 })).toEqual(['rejected: too_old']);
    expect(inWords(await redrive(database.pool, await onlyLetter()))).toBe('charged');
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 1, rejected: 0 });
  });

  it('of a discarded letter is refused', async () => {
    await deliver(database.pool, [tooEarly()]);
    const id = await onlyLetter();
    await makeAd();
    await discardDeadLetter(database.pool, id);
    await expect(redrive(database.pool, id)).rejects.toMatchObject({ code: 'already_discarded' });
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 0, rejected: 1 });
  });

  it('of a record that was never counted takes nothing from the counts', async () => {
    // Bytes that no version of ours could read when they came, and that this one can.
    const foreign = unreadableRecord(Buffer.from('later a click'), null);
    expect(await deliver(database.pool, [foreign])).toEqual(['rejected: malformed']);
    const id = await onlyLetter();
    const value = Buffer.from(encodeClick(clickEvent({ ad: account.ad })));
    await database.pool.query('update dead_letter set raw = $1', [value]);
    expect(inWords(await redrive(database.pool, id))).toBe('charged');
    expect(await expectBalanced(database.pool)).toMatchObject({ rejected: 0, unattributed: 1 });
  });

  it('of a record that was counted without a key takes it from the clicks without a key', async () => {
    const click = clickRecord({ ad: { ...account.ad, id: account.ad.id + 1 }, from: null });
    await deliver(database.pool, [click]);
    await makeAd();
    expect(inWords(await redrive(database.pool, await onlyLetter()))).toBe('charged');
    expect(await expectBalanced(database.pool)).toMatchObject({ unattributed: 1, rejected: 0 });
  });

  it('removes the letter of a copy without a key, which settles no sequence', async () => {
    const ad = { ...account.ad, id: account.ad.id + 1 };
    const [click, other] = [clickRecord({ ad, from: null }), clickRecord({ ad, from: null })];
    await deliver(database.pool, [click]);
    await deliver(database.pool, [other]);
    // Two letters of one click, as no version of today makes them.
    await database.pool.query('update dead_letter set raw = $1', [click.value]);
    await makeAd();
    const outcomes = [];
    for (const id of await letters()) outcomes.push(inWords(await redrive(database.pool, id)));
    expect(outcomes).toEqual(['charged', 'duplicate']);
    expect(await letters()).toEqual([]);
    expect(await expectBalanced(database.pool)).toMatchObject({ unattributed: 1, rejected: 0 });
  });

  it('never applies a watermark', async () => {
    const { key, value } = watermarkRecord(spool.id, 1_000_000);
    await deliver(database.pool, [spool.click({ ad: account.ad }), unreadableRecord(Buffer.from('x'), null)]);
    const id = await onlyLetter();
    await database.pool.query('update dead_letter set record_key = $1, raw = $2', [key, value]);
    await expect(redrive(database.pool, id)).rejects.toMatchObject({ code: 'is_watermark' });
    expect(await letters()).toEqual([id]);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 1 });
  });

  it('keeps the letter of a copy under another key, which settles its sequence', async () => {
    const click = tooEarly();
    const copy = readRecord({ key: `${spool.id}.${spool.next().sequence}`, value: click.value }, 'copy');
    await deliver(database.pool, [click]);
    await deliver(database.pool, [copy, spool.watermark()]);
    await makeAd();
    const outcomes = [];
    for (const id of await letters()) outcomes.push(inWords(await redrive(database.pool, id)));
    expect(outcomes).toEqual(['charged', 'duplicate']);
    const { rows } = await database.pool.query<{ rejected: string; charged: string }>(
      'select sum(rejected)::int as rejected, sum(charged)::int as charged from spool_counter',
    );
    expect(rows).toEqual([{ rejected: 1, charged: 1 }]);
    expect(await remaining()).toBe(9_750_000n);
  });
});

it('The letters that wait are listed in pages, each letter once', async () => {
  const click = (sequence: number) =>
    clickRecord({ ad: { ...account.ad, id: 2_000_000_000 }, from: { spoolId: uuidV7(), sequence } });
  for (let count = 1; count <= 3; count += 1) await deliver(database.pool, [click(count)]);
  const all = await letters();
  expect(all).toHaveLength(3);
  const first = await listDeadLetterIds(database.pool, 0n, 2);
  const second = await listDeadLetterIds(database.pool, first.at(-1) ?? 0n, 2);
  expect([...first, ...second]).toEqual(all);
});

describe('quarantine', () => {
  it('leaves a click without a key alone that is charged already', async () => {
    const click = clickRecord({ ad: account.ad, from: null });
    await deliver(database.pool, [click]);
    expect((await quarantine(database.pool, click, 'late')).outcomes.map(inWords)).toEqual(['duplicate']);
    expect(await letters()).toEqual([]);
    await expectBalanced(database.pool);
  });

  it('keeps a click without a key once, wherever its copies lie', async () => {
    const click = clickRecord({ ad: account.ad, from: null });
    const copy: ReadRecord = { ...click, position: `elsewhere ${uuidV7()}` };
    await quarantine(database.pool, click, 'odd');
    await quarantine(database.pool, copy as typeof click, 'odd');
    expect(await letters()).toHaveLength(1);
    await expectBalanced(database.pool);
  });

  it('waits for bytes that are settling the same sequence, and then adds no second letter', async () => {
    const from = spool.next();
    const click = clickRecord({ ad: account.ad, from });
    const { quarantined } = await inTransaction(database.pool, async (other) => {
      await settle(other, [unreadableRecord(Buffer.from('a forgery'), from)], { clickAgeMaxDays: 14 });
      const quarantined = quarantine(database.pool, click, 'odd');
      await Promise.race([quarantined, untilWaitingForLock(database.pool)]);
      return { quarantined };
    });
    await quarantined;
    expect(await letters()).toHaveLength(1);
    await expectBalanced(database.pool);
  });
});

it('A rejected click without a key is known by its id: two places, one letter', async () => {
  const click = clickRecord({ ad: { ...account.ad, id: account.ad.id + 1 }, from: null });
  expect(await deliver(database.pool, [click])).toEqual(['rejected: unknown_ad']);
  expect(await deliver(database.pool, [{ ...click, position: 'elsewhere' }])).toEqual(['duplicate']);
  expect(await letters()).toHaveLength(1);
});
