import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { createPool, type Pool } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { updateCampaign } from '../../ledger/accounts/campaigns.ts';
import { rollUp } from '../../ledger/reports/rollup.ts';
import { mergeSpoolCounters } from '../../ledger/spools/merge-counters.ts';
import { addWebhook } from '../../ledger/webhooks/webhooks.ts';
import { GRANTS } from '../../migrations/grants.ts';
import { dryRunCharge } from '../../processor/charge/dry-run.ts';
import { quarantine } from '../../processor/charge/quarantine.ts';
import { chargeBatchTwice, expectBalanced } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { clickRecord, TestSpool, unreadableRecord } from '../support/records.ts';

/** Everything that a charge writes, with the privileges of the processor and no others. */

const database = testDatabase();
/** Of this file: the roles of the server are shared with other tests. */
const ROLE = `charge_${uuidV7().replaceAll('-', '')}`;
/** Connections of the processor. */
let pool: Pool;

beforeAll(async () => {
  const grants = Object.entries(GRANTS.tollway_processor ?? {}).map(
    ([table, privileges]) => `grant ${privileges} on ${table} to ${ROLE}`,
  );
  const statements = [
    `create role ${ROLE}`,
    `grant select on all tables in schema public to ${ROLE}`,
    `grant execute on function summarize_day(date) to ${ROLE}`,
  ];
  await database.pool.query([...statements, ...grants].join('; '));
  const url = new URL(database.url);
  url.searchParams.set('options', `-c role=${ROLE}`);
  pool = createPool(url.href, 'test', 4, () => {});
  expect((await pool.query('select current_user as name')).rows).toEqual([{ name: ROLE }]);
  await addWebhook(database.pool, { url: 'https://example.com/' }, 'public');
});

afterAll(async () => {
  await pool.end();
  await database.pool.query(`drop owned by ${ROLE}; drop role ${ROLE}`);
});

afterEach(async () => {
  await expectBalanced(database.pool);
});

it('charges campaigns with a cap and a daily cap up to them, also by late clicks and ahead of a plan', async () => {
  const { ad, campaign } = await addAccount(database.pool, { cap: '0.75', dailyCap: '0.50' });
  await updateCampaign(database.pool, campaign.id, {
    ...{ pacing: 'even', hold: true, fallbackUrl: 'https://example.com/' },
  });
  const clicks = [5 * DAY_MS, 3, 2, 1].map((ms) => clickRecord({ ad, clickedAt: Date.now() - ms }));
  for (const [index, outcome] of ['charged', 'charged', 'charged', 'over_budget: cap'].entries())
    expect(await chargeBatchTwice(pool, clicks.slice(index, index + 1))).toEqual([outcome]);
});

it('spends a budget up to its end, with the events of its limits, and a nonce once', async () => {
  const { ad } = await addAccount(database.pool, { budget: '1.00' });
  const nonce = uuidV7();
  const clicks = [1, 2, 3, 4].map((ms) => clickRecord({ ad, clickedAt: Date.now() - ms }));
  const linked = [1, 2].map((ms) => clickRecord({ ad, nonce, clickedAt: Date.now() + ms }));
  expect(await chargeBatchTwice(pool, [...clicks, ...linked])).toEqual([
    ...clicks.map(() => 'charged'),
    ...['over_budget: budget', 'invalid: repeat'],
  ]);
  const { rows } = await database.pool.query<{ type: string }>('select distinct type from webhook_event');
  expect(rows.map(({ type }) => type)).toEqual(expect.arrayContaining(['budget.low', 'budget.exhausted']));
});

it('rejects what it cannot charge, adds late keys, and quarantines poison', async () => {
  const { ad } = await addAccount(database.pool);
  const spool = new TestSpool();
  const nowhere = { ...ad, id: 2_000_000_000 };
  for (const named of [ad, nowhere]) {
    const keyed = spool.click({ ad: named });
    const { clickId, clickedAt } = keyed.click;
    const keyless = clickRecord({ ad: named, clickId, clickedAt, from: null });
    expect(await chargeBatchTwice(pool, [keyless])).toEqual([
      named === ad ? 'charged' : 'rejected: unknown_ad',
    ]);
    expect(await chargeBatchTwice(pool, [keyed, spool.watermark()])).toEqual(['duplicate', 'watermark']);
  }
  const bytes = unreadableRecord(Buffer.from('x'), spool.next());
  expect(await chargeBatchTwice(pool, [bytes])).toEqual(['rejected: malformed']);
  await quarantine(pool, spool.click({ ad }), 'poison');
  await mergeSpoolCounters(pool);
  await rollUp(pool);
});

it('charges a click in a dry run', async () => {
  const { ad } = await addAccount(database.pool, { cap: '5.00', dailyCap: '5.00' });
  expect(await dryRunCharge(pool, clickRecord({ ad }), { clickAgeMaxDays: 14 })).toBe(true);
});
