import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inTransaction } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { encodeClick, type ReadRecord, watermarkRecord } from '../../contract/click-event.ts';
import { readRecord } from '../../contract/read-record.ts';
import { addAd } from '../../ledger/accounts/ads.ts';
import { discardDeadLetter, listDeadLetterIds, readDeadLetter } from '../../ledger/charge/dead-letters.ts';
import { settle } from '../../processor/charge/charge-clicks.ts';
import { quarantine } from '../../processor/charge/quarantine.ts';
import { redrive } from '../../processor/charge/redrive.ts';
import {
  chargeBatch,
  expectBalanced,
  outcomeText,
  rowCountsOf,
  untilWaitingForLock,
} from '../support/charge-batch.ts';
import { type Account, addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
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

/** A click of an ad that does not exist yet: the next one that is created. */
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

it('A dead letter that is discarded again keeps the time of its first discard', async () => {
  await chargeBatch(database.pool, [tooEarly()]);
  const id = await onlyLetter();
  await discardDeadLetter(database.pool, id);
  const { discardedAt } = await readDeadLetter(database.pool, id);
  expect(discardedAt).not.toBeNull();
  await discardDeadLetter(database.pool, id);
  expect(await readDeadLetter(database.pool, id)).toMatchObject({ discardedAt, raw: null });
});

describe('a redrive', () => {
  it('charges a click whose ad was created since, once, and deletes the dead letter', async () => {
    const click = tooEarly();
    expect(await chargeBatch(database.pool, [click, spool.watermark()])).toEqual([
      'rejected: unknown_ad',
      'watermark',
    ]);
    const id = await onlyLetter();
    expect(outcomeText(await redrive(database.pool, id))).toBe('rejected: unknown_ad');
    expect(await letters()).toEqual([id]);
    await makeAd();
    expect(outcomeText(await redrive(database.pool, id))).toBe('charged');
    expect(await remaining()).toBe(9_750_000n);
    expect(await rowCountsOf(database.pool, click.click.clickId)).toEqual([1, 0]);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 1, charged: 1, rejected: 0 });
    await expect(redrive(database.pool, id)).rejects.toMatchObject({ code: 'unknown_dead_letter' });
    expect(await chargeBatch(database.pool, [click])).toEqual(['duplicate']);
    expect(await remaining()).toBe(9_750_000n);
  });

  it('charges a click once, however many run at the same time', async () => {
    await chargeBatch(database.pool, [tooEarly()]);
    const id = await onlyLetter();
    await makeAd();
    const redriven = await Promise.allSettled(Array.from({ length: 5 }, () => redrive(database.pool, id)));
    expect(redriven.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await remaining()).toBe(9_750_000n);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 1, rejected: 0 });
  });

  it('charges a click once if a copy is settled at the same time', async () => {
    const clicks = Array.from({ length: 8 }, tooEarly);
    await chargeBatch(database.pool, clicks);
    const ids = await letters();
    await makeAd();
    await Promise.all([
      ...ids.map((id) => redrive(database.pool, id)),
      ...clicks.map((click) => chargeBatch(database.pool, [click])),
    ]);
    expect(await letters()).toEqual([]);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 8, rejected: 0 });
  });

  it('is retried after a deadlock with a copy', async () => {
    const click = tooEarly();
    await chargeBatch(database.pool, [click]);
    const id = await onlyLetter();
    await makeAd();
    // The copy holds the advertiser's lock and waits for the dead letter's; the redrive the other way round.
    const { redriven } = await inTransaction(database.pool, async (connection) => {
      await connection.query('select from advertiser for no key update');
      const redriven = redrive(database.pool, id);
      await untilWaitingForLock(database.pool);
      await connection.query("set local deadlock_timeout = '1min'");
      await connection.query('select from dead_letter for update');
      return { redriven };
    });
    expect(outcomeText(await redriven)).toBe('charged');
  });

  it('charges a click of any age whose day the ledger still has', async () => {
    const click = spool.click({ ad: account.ad, clickedAt: Date.now() - 2 * DAY_MS });
    expect(await chargeBatch(database.pool, [click], { clickAgeMaxDays: 1 })).toEqual(['rejected: too_old']);
    expect(outcomeText(await redrive(database.pool, await onlyLetter()))).toBe('charged');
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 1, rejected: 0 });
  });

  it('is refused for a discarded dead letter', async () => {
    await chargeBatch(database.pool, [tooEarly()]);
    const id = await onlyLetter();
    await makeAd();
    await discardDeadLetter(database.pool, id);
    await expect(redrive(database.pool, id)).rejects.toMatchObject({ code: 'already_discarded' });
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 0, rejected: 1 });
  });

  it('and a discard at the same time: one is done, and the other is refused', async () => {
    const click = tooEarly();
    await chargeBatch(database.pool, [click]);
    const id = await onlyLetter();
    await makeAd();
    const holder = await database.pool.connect();
    try {
      await holder.query('begin; select from dead_letter for update');
      const changes = [redrive(database.pool, id), discardDeadLetter(database.pool, id)];
      await untilWaitingForLock(database.pool, 2);
      await holder.query('commit');
      const results = await Promise.allSettled(changes);
      expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
      const isCharged = results[0]?.status === 'fulfilled';
      expect(await rowCountsOf(database.pool, click.click.clickId)).toEqual(isCharged ? [1, 0] : [0, 1]);
    } finally {
      holder.release(true);
    }
    await expectBalanced(database.pool);
  });

  it('leaves the counts of a record that was never counted', async () => {
    // Bytes that the version that received them could not read, and this one can.
    const foreign = unreadableRecord(Buffer.from('later a click'), null);
    expect(await chargeBatch(database.pool, [foreign])).toEqual(['rejected: malformed']);
    const id = await onlyLetter();
    const value = Buffer.from(encodeClick(clickEvent({ ad: account.ad })));
    await database.pool.query('update dead_letter set raw = $1', [value]);
    expect(outcomeText(await redrive(database.pool, id))).toBe('charged');
    expect(await expectBalanced(database.pool)).toMatchObject({ rejected: 0, unattributed: 1 });
  });

  it('subtracts a record that was counted without a key from the unattributed clicks', async () => {
    const click = clickRecord({ ad: { ...account.ad, id: account.ad.id + 1 }, from: null });
    await chargeBatch(database.pool, [click]);
    await makeAd();
    expect(outcomeText(await redrive(database.pool, await onlyLetter()))).toBe('charged');
    expect(await expectBalanced(database.pool)).toMatchObject({ unattributed: 1, rejected: 0 });
  });

  it('deletes the dead letter of a copy without a key, which settles no sequence', async () => {
    const ad = { ...account.ad, id: account.ad.id + 1 };
    const [click, other] = [clickRecord({ ad, from: null }), clickRecord({ ad, from: null })];
    await chargeBatch(database.pool, [click]);
    await chargeBatch(database.pool, [other]);
    // Two dead letters of one click, which the current code does not make.
    await database.pool.query('update dead_letter set raw = $1', [click.value]);
    await makeAd();
    const outcomes = [];
    for (const id of await letters()) outcomes.push(outcomeText(await redrive(database.pool, id)));
    expect(outcomes).toEqual(['charged', 'duplicate']);
    expect(await letters()).toEqual([]);
    expect(await expectBalanced(database.pool)).toMatchObject({ unattributed: 1, rejected: 0 });
  });

  it('never applies a watermark', async () => {
    const { key, value } = watermarkRecord(spool.id, 1_000_000);
    await chargeBatch(database.pool, [
      spool.click({ ad: account.ad }),
      unreadableRecord(Buffer.from('x'), null),
    ]);
    const id = await onlyLetter();
    await database.pool.query('update dead_letter set record_key = $1, raw = $2', [key, value]);
    await expect(redrive(database.pool, id)).rejects.toMatchObject({ code: 'is_watermark' });
    expect(await letters()).toEqual([id]);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 1 });
  });

  it('keeps the dead letter of a copy under another key, which settles its sequence', async () => {
    const click = tooEarly();
    const copy = readRecord({ key: `${spool.id}.${spool.next().sequence}`, value: click.value }, 'copy');
    await chargeBatch(database.pool, [click]);
    await chargeBatch(database.pool, [copy, spool.watermark()]);
    await makeAd();
    const outcomes = [];
    for (const id of await letters()) outcomes.push(outcomeText(await redrive(database.pool, id)));
    expect(outcomes).toEqual(['charged', 'duplicate']);
    const { rows } = await database.pool.query<{ rejected: string; charged: string }>(
      'select sum(rejected)::int as rejected, sum(charged)::int as charged from spool_counter',
    );
    expect(rows).toEqual([{ rejected: 1, charged: 1 }]);
    expect(await remaining()).toBe(9_750_000n);
  });
});

it('the open dead letters are listed in pages, each once', async () => {
  const click = (sequence: number) =>
    clickRecord({ ad: { ...account.ad, id: 2_000_000_000 }, from: { spoolId: uuidV7(), sequence } });
  for (let count = 1; count <= 3; count += 1) await chargeBatch(database.pool, [click(count)]);
  const all = await letters();
  expect(all).toHaveLength(3);
  const first = await listDeadLetterIds(database.pool, 0n, 2);
  const second = await listDeadLetterIds(database.pool, first.at(-1) ?? 0n, 2);
  expect([...first, ...second]).toEqual(all);
});

describe('quarantine', () => {
  it('changes nothing for a click without a key that is charged already', async () => {
    const click = clickRecord({ ad: account.ad, from: null });
    await chargeBatch(database.pool, [click]);
    expect((await quarantine(database.pool, click, 'late')).outcomes.map(outcomeText)).toEqual(['duplicate']);
    expect(await letters()).toEqual([]);
    await expectBalanced(database.pool);
  });

  it('stores a click without a key once, whatever the positions of its copies', async () => {
    const click = clickRecord({ ad: account.ad, from: null });
    const copy: ReadRecord = { ...click, position: `elsewhere ${uuidV7()}` };
    await quarantine(database.pool, click, 'odd');
    await quarantine(database.pool, copy as typeof click, 'odd');
    expect(await letters()).toHaveLength(1);
    await expectBalanced(database.pool);
  });

  it('waits for bytes that settle the same sequence, and then adds no second dead letter', async () => {
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

it('a rejected click without a key is identified by its id: two positions, one dead letter', async () => {
  const click = clickRecord({ ad: { ...account.ad, id: account.ad.id + 1 }, from: null });
  expect(await chargeBatch(database.pool, [click])).toEqual(['rejected: unknown_ad']);
  expect(await chargeBatch(database.pool, [{ ...click, position: 'elsewhere' }])).toEqual(['duplicate']);
  expect(await letters()).toHaveLength(1);
});
