import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createMetrics, type ProcessMetrics } from '../../common/telemetry/metrics.ts';
import { uuidFloor, uuidV7 } from '../../common/uuid.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { DAY_MS, dayStart, partitionName } from '../../ledger/partitions.ts';
import { BatchDispatcher, type DispatcherOptions } from '../../processor/dispatch/batch-dispatcher.ts';
import { expectBalanced, shuffle } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { capturedLog, silent } from '../support/loggers.ts';
import { type NamedAd, TestSpool, unreadableRecord } from '../support/records.ts';

let database: TestDatabase & { drop: () => Promise<void> };
let metrics: ProcessMetrics;
let dispatcher: BatchDispatcher;
let broken: unknown[];
let ads: NamedAd[];
let spool: TestSpool;

beforeEach(async () => {
  database = await createTestDatabase();
  metrics = createMetrics();
  broken = [];
  dispatcher = newDispatcher();
  ads = [];
  for (let count = 0; count < 4; count += 1) ads.push((await addAccount(database.pool)).ad);
  spool = new TestSpool();
});
afterEach(async () => {
  dispatcher.abort();
  await database.drop();
});

function newDispatcher(more: Partial<DispatcherOptions> = {}, logger = silent): BatchDispatcher {
  const defaults = { batchSize: 50, lanes: 2, clickAgeMaxDays: 14, retryAttempts: 1 };
  const options = { ...defaults, ...more };
  return new BatchDispatcher(database.pool, options, {
    metrics,
    logger,
    onInvariant: (error) => broken.push(error),
  });
}

const someClicks = (count: number) =>
  Array.from({ length: count }, (_, index) => spool.click({ ad: ads[index % ads.length] ?? failed() }));

function failed(): never {
  throw new Error('Expected an ad');
}

/** Delivers everything twice, shuffled. */
async function submitTwice(records: readonly ReadRecord[]): Promise<void> {
  await dispatcher.submit(shuffle(records));
  await dispatcher.submit(shuffle(records));
}

async function retries(cause: string): Promise<number> {
  const { values } = await metrics.batchRetries.get();
  return values.find(({ labels }) => labels.cause === cause)?.value ?? 0;
}

async function letters() {
  const { rows } = await database.pool.query<{ reason: string; raw: Buffer; click_id: string }>(
    'select reason, raw, click_id from dead_letter order by id',
  );
  return rows;
}

/** Makes inserts into the ledger fail permanently: for one click, or for all. */
async function refuseRows(condition: string): Promise<void> {
  await database.pool.query(
    `create or replace function refuse() returns trigger language plpgsql as
     $$ begin if ${condition} then raise exception 'refused'; end if; return new; end $$`,
  );
  await database.pool.query(
    'create or replace trigger refuse before insert on ledger for each row execute function refuse()',
  );
}

const acceptRows = () => database.pool.query('drop trigger refuse on ledger');

describe('the settler of batches', () => {
  it('retries while a table is missing, then charges every click, and writes no dead letter', async () => {
    await database.pool.query('alter table ledger rename to ledger_away');
    const delivered = submitTwice(someClicks(20));
    await expect.poll(() => retries('transient')).toBeGreaterThanOrEqual(4);
    await database.pool.query('alter table ledger_away rename to ledger');
    await delivered;
    expect(await letters()).toEqual([]);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 20 });
  });

  it('charges every click once although its connections are terminated during transactions', async () => {
    // Slow rows, so that each termination interrupts a transaction.
    await refuseRows('pg_sleep(0.002) is null');
    const delivered = submitTwice(someClicks(400));
    for (let killed = 0; killed < 6; ) {
      const { rows } = await database.pool.query<{ killed: number }>(
        `select count(pg_terminate_backend(pid))::int as killed from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid() and query ilike 'copy ledger%'`,
      );
      killed += rows[0]?.killed ?? 0;
    }
    await delivered;
    expect(await retries('transient')).toBeGreaterThan(0);
    expect(await letters()).toEqual([]);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 400 });
  });

  it('retries a click whose day has no partition yet, however many others are charged', async () => {
    const day = dayStart(Date.now()) + 2 * DAY_MS;
    const partition = partitionName('ledger', day);
    await database.pool.query(`alter table ledger detach partition ${partition}`);
    const waiting = spool.click({ ad: ads[0] ?? failed(), clickedAt: day + 1 });
    const delivered = dispatcher.submit([waiting]);
    // Clicks of another lane, which can be charged.
    const other = ads[1] ?? failed();
    for (let passed = 0; passed < 6 || (await retries('transient')) < 6; passed += 1) {
      await dispatcher.submit([spool.click({ ad: other })]);
    }
    expect(await letters()).toEqual([]);
    const [from, to] = [day, day + DAY_MS].map((timeMs) => uuidFloor(timeMs));
    await database.pool.query(
      `alter table ledger attach partition ${partition} for values from ('${from}') to ('${to}')`,
    );
    await delivered;
    expect(await expectBalanced(database.pool)).toMatchObject({ rejected: 0 });
  });

  it('isolates poison records, keeps their raw bytes, and charges the rest of the batch', async () => {
    const clicks = someClicks(100);
    const poison = [clicks[13], clicks[14], clicks[77]].flatMap((record) => record ?? []);
    await refuseRows(`new.click_id in (${poison.map(({ click }) => `'${click.clickId}'`)})`);
    await submitTwice(clicks);
    expect(await letters()).toHaveLength(3);
    expect(await letters()).toEqual(
      expect.arrayContaining(
        poison.map((record) => ({ reason: 'poison', raw: record.value, click_id: record.click.clickId })),
      ),
    );
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 97, rejected: 3, accepted: 100 });
  });

  it('quarantines a record only once other clicks or a dry run succeed', async () => {
    const [poison = failed()] = someClicks(1);
    await refuseRows('true');
    const waiting = dispatcher.submit([poison]);
    await expect.poll(() => retries('permanent')).toBeGreaterThanOrEqual(4);
    expect(await letters()).toEqual([]);
    await refuseRows(`new.click_id = '${poison.click.clickId}'`);
    await waiting;
    expect(await letters()).toMatchObject([{ reason: 'poison', raw: poison.value }]);
  });

  it('quarantines nothing while every click fails, and charges all of them after the repair', async () => {
    await refuseRows('true');
    const delivered = submitTwice(someClicks(12));
    await expect.poll(() => retries('permanent'), { timeout: 20_000 }).toBeGreaterThanOrEqual(28);
    expect(await letters()).toEqual([]);
    await acceptRows();
    await delivered;
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 12, rejected: 0 });
  });

  it('does not conclude from settled watermarks, malformed records or duplicates that clicks can be charged', async () => {
    const known = someClicks(4);
    await dispatcher.submit(known);
    await refuseRows('true');
    const clicks = someClicks(8);
    const garbage = unreadableRecord(Buffer.from('x'), spool.next());
    const delivered = dispatcher.submit([...clicks, spool.watermark(), garbage, ...known]);
    // Each lane attempts its whole batch, splits it, and retries the rest; or it has quarantined records, which is wrong.
    await expect
      .poll(async () => (await retries('permanent')) >= 24 || (await letters()).length > 1, {
        timeout: 20_000,
      })
      .toBe(true);
    expect((await letters()).map(({ reason }) => reason)).toEqual(['malformed']);
    await acceptRows();
    await delivered;
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 12, rejected: 1 });
  });

  it('reports a broken invariant, rolls the batch back, and quarantines nothing', async () => {
    await database.pool.query(
      `create function overspend() returns trigger language plpgsql as
       'begin new.spent_micros := new.budget_micros + 1; return new; end'`,
    );
    await database.pool.query(
      'create trigger overspend before update of spent_micros on advertiser for each row execute function overspend()',
    );
    await expect(dispatcher.submit(someClicks(3))).rejects.toMatchObject({ code: '23514' });
    expect(broken).not.toEqual([]);
    expect(await letters()).toEqual([]);
    expect((await database.pool.query('select from ledger')).rowCount).toBe(0);
  });

  it.each([0, 3])(
    'retries a record that fails by itself %i times when the dry run succeeds',
    async (retryAttempts) => {
      dispatcher = newDispatcher({ retryAttempts, lanes: 2 });
      const poison = someClicks(1);
      await refuseRows(`new.click_id = '${poison[0]?.click.clickId}'`);
      await submitTwice(poison);
      expect(await letters()).toHaveLength(1);
      expect(await retries('permanent')).toBe(1 + retryAttempts);
    },
  );

  it.each([null, uuidV7()])(
    'finds out by a dry run that a lone record is poison (nonce %s), and the dry run stores nothing',
    async (nonce) => {
      // There is no other advertiser for the dry run.
      ads.splice(1);
      const poison = spool.click({ ad: ads[0] ?? failed(), nonce });
      await refuseRows(`new.click_id = '${poison.click.clickId}'`);
      await submitTwice([poison]);
      expect((await letters()).map(({ reason, click_id }) => [reason, click_id])).toEqual([
        ['poison', poison.click.clickId],
      ]);
      expect(
        (await database.pool.query('select from ledger union all select from spent_nonce')).rowCount,
      ).toBe(0);
      expect(await expectBalanced(database.pool)).toMatchObject({ charged: 0, rejected: 1, unattributed: 0 });
    },
  );

  it('keeps retrying when one kind of click fails: the other kinds are charged, none is quarantined', async () => {
    dispatcher = newDispatcher({ lanes: 1 });
    await database.pool.query(
      `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$`,
    );
    await database.pool.query(
      'create trigger refuse before insert on spent_nonce for each row execute function refuse()',
    );
    const clicks = someClicks(6).map((click, index) =>
      index % 2 === 0 ? click : spool.click({ ad: ads[0] ?? failed(), nonce: uuidV7() }),
    );
    const delivered = submitTwice(clicks);
    const charged = async () => (await database.pool.query('select from ledger')).rowCount;
    await expect.poll(charged, { timeout: 20_000 }).toBe(3);
    await expect.poll(() => retries('permanent'), { timeout: 20_000 }).toBeGreaterThanOrEqual(12);
    expect(await letters()).toEqual([]);
    await database.pool.query('drop trigger refuse on spent_nonce');
    await delivered;
    expect(await charged()).toBe(6);
    expect(await letters()).toEqual([]);
  });

  it('charges the clicks behind a poison record in the only lane, and then quarantines the record', async () => {
    dispatcher = newDispatcher({ lanes: 1, batchSize: 10 });
    const [poison, ...others] = someClicks(31);
    await refuseRows(`new.click_id = '${poison?.click.clickId}'`);
    const waiting = dispatcher.submit(poison ? [poison] : []);
    await expect.poll(() => retries('permanent')).toBeGreaterThanOrEqual(1);
    await dispatcher.submit(others);
    await waiting;
    expect(await letters()).toMatchObject([{ reason: 'poison', click_id: poison?.click.clickId }]);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 30, rejected: 1 });
  });
});

it('a dispatcher logs once that the database settles no clicks, and once that it settles them again', async () => {
  const { logger, lines } = capturedLog();
  dispatcher = newDispatcher({ lanes: 1 }, logger);
  await database.pool.query(
    `create function away() returns trigger language plpgsql as $$ begin raise exception 'away' using errcode = '57P01'; end $$;
     create trigger away before insert on ledger for each row execute function away()`,
  );
  const delivered = dispatcher.submit(someClicks(3));
  const retries = async () => {
    const { values } = await metrics.batchRetries.get();
    return values.find(({ labels }) => labels.cause === 'transient')?.value ?? 0;
  };
  await expect.poll(retries, { timeout: 10_000 }).toBeGreaterThan(1);
  expect(lines).toEqual(['warn The database does not settle clicks; they wait']);
  await database.pool.query('drop trigger away on ledger');
  await delivered;
  expect(lines.slice(1)).toEqual(['warn The database settles clicks again']);
});
