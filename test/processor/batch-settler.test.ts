import { describe, expect, it } from 'vitest';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidFloor, uuidV7 } from '../../common/uuid.ts';
import { dayStart, partitionName } from '../../ledger/partitions.ts';
import { expectBalanced } from '../support/charge-batch.ts';
import { dispatcherFixture } from '../support/dispatcher-fixture.ts';
import { capturedLog } from '../support/loggers.ts';
import { unreadableRecord } from '../support/records.ts';

const fixtures = dispatcherFixture();

describe('the settler of batches', () => {
  it('retries while a table is missing, then charges every click, and writes no dead letter', async () => {
    const fixture = fixtures.current();
    await fixture.database.pool.query('alter table ledger rename to ledger_away');
    const delivered = fixture.submitTwice(fixture.someClicks(20));
    await expect.poll(() => fixture.retries('transient')).toBeGreaterThanOrEqual(4);
    await fixture.database.pool.query('alter table ledger_away rename to ledger');
    await delivered;
    expect(await fixture.letters()).toEqual([]);
    expect(await expectBalanced(fixture.database.pool)).toMatchObject({ charged: 20 });
  });

  it('charges every click once although its connections are terminated during transactions', async () => {
    const fixture = fixtures.current();
    // Slow rows, so that each termination interrupts a transaction.
    await fixture.refuseRows('pg_sleep(0.002) is null');
    const delivered = fixture.submitTwice(fixture.someClicks(400));
    for (let killed = 0; killed < 6; ) {
      const { rows } = await fixture.database.pool.query<{ killed: number }>(
        `select count(pg_terminate_backend(pid))::int as killed from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid() and query ilike 'copy ledger%'`,
      );
      killed += rows[0]?.killed ?? 0;
    }
    await delivered;
    expect(await fixture.retries('transient')).toBeGreaterThan(0);
    expect(await fixture.letters()).toEqual([]);
    expect(await expectBalanced(fixture.database.pool)).toMatchObject({ charged: 400 });
  });

  it('retries a click whose day has no partition yet, however many others are charged', async () => {
    const fixture = fixtures.current();
    const day = dayStart(Date.now()) + 2 * DAY_MS;
    const partition = partitionName('ledger', day);
    await fixture.database.pool.query(`alter table ledger detach partition ${partition}`);
    const waiting = fixture.spool.click({ ad: fixture.ad(0), clickedAt: day + 1 });
    const delivered = fixture.dispatcher.submit([waiting]);
    // Clicks of another lane, which can be charged.
    const other = fixture.ad(1);
    for (let passed = 0; passed < 6 || (await fixture.retries('transient')) < 6; passed += 1) {
      await fixture.dispatcher.submit([fixture.spool.click({ ad: other })]);
    }
    expect(await fixture.letters()).toEqual([]);
    const [from, to] = [day, day + DAY_MS].map((timeMs) => uuidFloor(timeMs));
    await fixture.database.pool.query(
      `alter table ledger attach partition ${partition} for values from ('${from}') to ('${to}')`,
    );
    await delivered;
    expect(await expectBalanced(fixture.database.pool)).toMatchObject({ rejected: 0 });
  });

  it('isolates poison records, keeps their raw bytes, and charges the rest of the batch', async () => {
    const fixture = fixtures.current();
    const clicks = fixture.someClicks(100);
    const poison = [clicks[13], clicks[14], clicks[77]].flatMap((record) => record ?? []);
    await fixture.refuseRows(`new.click_id in (${poison.map(({ click }) => `'${click.clickId}'`)})`);
    await fixture.submitTwice(clicks);
    expect(await fixture.letters()).toHaveLength(3);
    expect(await fixture.letters()).toEqual(
      expect.arrayContaining(
        poison.map((record) => ({ reason: 'poison', raw: record.value, click_id: record.click.clickId })),
      ),
    );
    expect(await expectBalanced(fixture.database.pool)).toMatchObject({
      charged: 97,
      rejected: 3,
      accepted: 100,
    });
  });

  it('quarantines a record only once a dry run succeeds', async () => {
    const fixture = fixtures.current();
    const poison = fixture.spool.click({ ad: fixture.ad(0) });
    await fixture.refuseRows('true');
    const waiting = fixture.dispatcher.submit([poison]);
    await expect.poll(() => fixture.retries('permanent')).toBeGreaterThanOrEqual(4);
    expect(await fixture.letters()).toEqual([]);
    await fixture.refuseRows(`new.click_id = '${poison.click.clickId}'`);
    await waiting;
    expect(await fixture.letters()).toMatchObject([{ reason: 'poison', raw: poison.value }]);
  });

  it('quarantines nothing while every click fails, and charges all of them after the repair', async () => {
    const fixture = fixtures.current();
    await fixture.refuseRows('true');
    const delivered = fixture.submitTwice(fixture.someClicks(12));
    await expect.poll(() => fixture.retries('permanent'), { timeout: 20_000 }).toBeGreaterThanOrEqual(28);
    expect(await fixture.letters()).toEqual([]);
    await fixture.acceptRows();
    await delivered;
    expect(await expectBalanced(fixture.database.pool)).toMatchObject({ charged: 12, rejected: 0 });
  });

  it('does not conclude from settled watermarks, malformed records or duplicates that clicks can be charged', async () => {
    const fixture = fixtures.current();
    const known = fixture.someClicks(4);
    await fixture.dispatcher.submit(known);
    await fixture.refuseRows('true');
    const clicks = fixture.someClicks(8);
    const garbage = unreadableRecord(Buffer.from('x'), fixture.spool.next());
    const delivered = fixture.dispatcher.submit([...clicks, fixture.spool.watermark(), garbage, ...known]);
    // Each lane attempts its whole batch, splits it, and fixture.retries the rest; or it has quarantined records, which is wrong.
    await expect
      .poll(async () => (await fixture.retries('permanent')) >= 24 || (await fixture.letters()).length > 1, {
        timeout: 20_000,
      })
      .toBe(true);
    expect((await fixture.letters()).map(({ reason }) => reason)).toEqual(['malformed']);
    await fixture.acceptRows();
    await delivered;
    expect(await expectBalanced(fixture.database.pool)).toMatchObject({ charged: 12, rejected: 1 });
  });

  it('reports a broken invariant, rolls the batch back, and quarantines nothing', async () => {
    const fixture = fixtures.current();
    await fixture.database.pool.query(
      `create function overspend() returns trigger language plpgsql as
       'begin new.spent_micros := new.budget_micros + 1; return new; end'`,
    );
    await fixture.database.pool.query(
      'create trigger overspend before update of spent_micros on advertiser for each row execute function overspend()',
    );
    await expect(fixture.dispatcher.submit(fixture.someClicks(3))).rejects.toMatchObject({ code: '23514' });
    expect(fixture.broken).not.toEqual([]);
    expect(await fixture.letters()).toEqual([]);
    expect((await fixture.database.pool.query('select from ledger')).rowCount).toBe(0);
  });

  it.each([0, 3])(
    'retries a record that fails by itself %i times when the dry run succeeds',
    async (retryAttempts) => {
      const fixture = fixtures.current();
      fixture.dispatcher = fixture.newDispatcher({ retryAttempts, lanes: 2 });
      const poison = fixture.someClicks(1);
      await fixture.refuseRows(`new.click_id = '${poison[0]?.click.clickId}'`);
      await fixture.submitTwice(poison);
      expect(await fixture.letters()).toHaveLength(1);
      expect(await fixture.retries('permanent')).toBe(1 + retryAttempts);
    },
  );

  it.each([null, uuidV7()])(
    'finds out by a dry run that a lone record is poison (nonce %s), and the dry run stores nothing',
    async (nonce) => {
      const fixture = fixtures.current();
      // There is no other advertiser for the dry run.
      fixture.ads.splice(1);
      const poison = fixture.spool.click({ ad: fixture.ad(0), nonce });
      await fixture.refuseRows(`new.click_id = '${poison.click.clickId}'`);
      await fixture.submitTwice([poison]);
      expect((await fixture.letters()).map(({ reason, click_id }) => [reason, click_id])).toEqual([
        ['poison', poison.click.clickId],
      ]);
      expect(
        (await fixture.database.pool.query('select from ledger union all select from spent_nonce')).rowCount,
      ).toBe(0);
      expect(await expectBalanced(fixture.database.pool)).toMatchObject({
        charged: 0,
        rejected: 1,
        unattributed: 0,
      });
    },
  );

  it('keeps retrying when one kind of click fails: the other kinds are charged, none is quarantined', async () => {
    const fixture = fixtures.current();
    fixture.dispatcher = fixture.newDispatcher({ lanes: 1 });
    await fixture.database.pool.query(
      `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$`,
    );
    await fixture.database.pool.query(
      'create trigger refuse before insert on spent_nonce for each row execute function refuse()',
    );
    const clicks = fixture
      .someClicks(6)
      .map((click, index) =>
        index % 2 === 0 ? click : fixture.spool.click({ ad: fixture.ad(0), nonce: uuidV7() }),
      );
    const delivered = fixture.submitTwice(clicks);
    const charged = async () => (await fixture.database.pool.query('select from ledger')).rowCount;
    await expect.poll(charged, { timeout: 20_000 }).toBe(3);
    await expect.poll(() => fixture.retries('permanent'), { timeout: 20_000 }).toBeGreaterThanOrEqual(12);
    expect(await fixture.letters()).toEqual([]);
    await fixture.database.pool.query('drop trigger refuse on spent_nonce');
    await delivered;
    expect(await charged()).toBe(6);
    expect(await fixture.letters()).toEqual([]);
  });

  it('charges a click whose fault is repaired between its last attempt and the dry run', async () => {
    const fixture = fixtures.current();
    fixture.dispatcher = fixture.newDispatcher({ lanes: 1, retryAttempts: 0 });
    // Attempt, dry run and attempt fail; the dry run after them is the first to succeed.
    await fixture.database.pool.query('create sequence refusals');
    await fixture.refuseRows("nextval('refusals') <= 3");
    await fixture.dispatcher.submit([fixture.spool.click({ ad: fixture.ad(0) })]);
    expect(await fixture.letters()).toEqual([]);
    expect(await expectBalanced(fixture.database.pool)).toMatchObject({ charged: 1, rejected: 0 });
  });

  it('charges the clicks behind a poison record in the only lane, and then quarantines the record', async () => {
    const fixture = fixtures.current();
    fixture.dispatcher = fixture.newDispatcher({ lanes: 1, batchSize: 10 });
    const [poison, ...others] = fixture.someClicks(31);
    await fixture.refuseRows(`new.click_id = '${poison?.click.clickId}'`);
    const waiting = fixture.dispatcher.submit(poison ? [poison] : []);
    await expect.poll(() => fixture.retries('permanent')).toBeGreaterThanOrEqual(1);
    await fixture.dispatcher.submit(others);
    await waiting;
    expect(await fixture.letters()).toMatchObject([{ reason: 'poison', click_id: poison?.click.clickId }]);
    expect(await expectBalanced(fixture.database.pool)).toMatchObject({ charged: 30, rejected: 1 });
  });
});

it('a dispatcher logs once that the database settles no clicks, and once that it settles them again', async () => {
  const fixture = fixtures.current();
  const { logger, lines } = capturedLog();
  fixture.dispatcher = fixture.newDispatcher({ lanes: 1 }, logger);
  await fixture.database.pool.query(
    `create function away() returns trigger language plpgsql as $$ begin raise exception 'away' using errcode = '57P01'; end $$;
     create trigger away before insert on ledger for each row execute function away()`,
  );
  const delivered = fixture.dispatcher.submit(fixture.someClicks(3));
  await expect.poll(() => fixture.retries('transient')).toBeGreaterThan(1);
  expect(lines).toEqual(['warn The database does not settle clicks; they wait']);
  await fixture.database.pool.query('drop trigger away on ledger');
  await delivered;
  expect(lines.slice(1)).toEqual(['warn The database settles clicks again']);
});
