import { beforeEach, describe, expect, it } from 'vitest';
import { inTransaction } from '../../../common/postgres/postgres.ts';
import {
  type AuditEntry,
  type AuditFilter,
  boundAudit,
  exportAudit,
  listAudit,
  recordAudit,
} from '../../../ledger/access/audit-log.ts';
import { addAd, updateAd } from '../../../ledger/accounts/ads.ts';
import {
  addAdvertiser,
  renameAdvertiser,
  setAdvertiserStatus,
} from '../../../ledger/accounts/advertisers.ts';
import { addBudgetEntry, creditClick } from '../../../ledger/accounts/budget-entries.ts';
import { addCampaign, updateCampaign } from '../../../ledger/accounts/campaigns.ts';
import { type Actor, changeAs } from '../../../ledger/actor.ts';
import { discardDeadLetter, listDeadLetters } from '../../../ledger/charge/dead-letters.ts';
import { correctSpool } from '../../../ledger/spools/corrections.ts';
import { redrive } from '../../../processor/charge/redrive.ts';
import { chargeBatch } from '../../support/charge-batch.ts';
import { addAccount, testDatabase } from '../../support/database.ts';
import { clickRecord } from '../../support/records.ts';

const database = testDatabase();
const ALICE: Actor = { type: 'cli', user: 'alice' };

let seen = 0n;
/** The entries since the last call, oldest first. */
async function newEntries(): Promise<AuditEntry[]> {
  const entries = (await listAudit(database.pool, { limit: 500 })).filter(({ id }) => id > seen).reverse();
  seen = entries.at(-1)?.id ?? seen;
  return entries;
}
beforeEach(newEntries);

/** Action, subject and values of the new entries. */
async function newChanges() {
  return (await newEntries()).map(({ action, subject, before, after }) => ({
    action,
    subject,
    before,
    after,
  }));
}

describe('an audit entry', () => {
  it('has the actor, the advertiser and its currency, and the values of something new that are set', async () => {
    const key: Actor = { type: 'key', id: 7, name: 'Billing', role: 'finance' };
    const { id } = await changeAs(database.pool, key, async (connection) => {
      const advertiser = await addAdvertiser(connection, 'Blue Shoes', 'EUR');
      await addBudgetEntry(connection, advertiser.id, 'top_up', 9_007_199_254_740_993n, 'invoice 1');
      return advertiser;
    });
    const [created, topUp, ...others] = await newEntries();
    expect(others).toEqual([]);
    expect(created).toMatchObject({
      ...{ actorType: 'key', actor: '7', actorName: 'Billing', actorRole: 'finance' },
      ...{
        action: 'advertiser.create',
        subject: String(id),
        advertiserId: id,
        currency: 'EUR',
        before: null,
      },
    });
    expect(created?.after).toMatchObject({
      name: 'Blue Shoes',
      currency: 'EUR',
      timeZone: 'UTC',
      status: 'active',
    });
    expect(topUp).toMatchObject({ action: 'budget_entry.create', advertiserId: id, before: null });
    // More than a number of JSON holds.
    expect(topUp?.after).toEqual({ kind: 'top_up', amount: '9007199254.740993', reference: 'invoice 1' });
  });

  it('has the values that an update changed, before and after, and is not written without a change', async () => {
    const { campaign, ad, advertiser } = await addAccount(database.pool, { dailyCap: '5.00' });
    await newEntries();
    await changeAs(database.pool, ALICE, async (connection) => {
      await updateCampaign(connection, campaign.id, {
        capMicros: 7_500_000n,
        pacing: 'even',
        dailyCapMicros: 6_000_000n,
      });
      await updateCampaign(connection, campaign.id, {
        capMicros: null,
        endsAt: new Date('2027-01-31T12:00:00.5Z'),
      });
      await updateCampaign(connection, campaign.id, { pacing: 'even' });
      await updateAd(connection, ad.id, { passParameters: ['utm_*'] });
      await updateAd(connection, ad.id, {});
      await updateAd(connection, ad.id, { name: 'Banner' });
      await renameAdvertiser(connection, advertiser.id, 'Red Shoes');
      await setAdvertiserStatus(connection, advertiser.id, 'active');
    });
    const subject = String(campaign.id);
    expect(await newChanges()).toEqual([
      {
        ...{ action: 'campaign.update', subject },
        before: { cap: null, pacing: 'none', dailyCap: '5.00' },
        after: { cap: '7.50', pacing: 'even', dailyCap: '6.00' },
      },
      {
        ...{ action: 'campaign.update', subject },
        before: { cap: '7.50', endsAt: null },
        after: { cap: null, endsAt: '2027-01-31T12:00:00.5+00:00' },
      },
      {
        ...{ action: 'ad.update', subject: String(ad.id) },
        ...{ before: { passParameters: [] }, after: { passParameters: ['utm_*'] } },
      },
      {
        ...{ action: 'ad.update', subject: String(ad.id) },
        ...{ before: { name: null }, after: { name: 'Banner' } },
      },
      {
        ...{ action: 'advertiser.update', subject: String(advertiser.id) },
        ...{ before: { name: 'Test advertiser' }, after: { name: 'Red Shoes' } },
      },
    ]);
  });

  it('names the database role if no program named an actor, also on a connection that had one before', async () => {
    await inTransaction(database.pool, (connection) => addAdvertiser(connection, 'By SQL', 'USD'));
    const [entry] = await newEntries();
    expect(entry).toMatchObject({
      actorType: 'database',
      actor: 'postgres',
      actorName: null,
      actorRole: null,
    });
  });

  it('is gone with the change that was rolled back', async () => {
    const failing = changeAs(database.pool, ALICE, async (connection) => {
      await addAdvertiser(connection, 'Lost', 'USD');
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(await newEntries()).toEqual([]);
  });

  it('is not written for advertisers of load tests', async () => {
    await changeAs(database.pool, ALICE, async (connection) => {
      const { id } = await addAdvertiser(connection, 'Test', 'USD', 'UTC', true);
      await addBudgetEntry(connection, id, 'top_up', 1_000_000n);
      const { id: campaignId } = await addCampaign(connection, id, 'Test');
      await addAd(connection, campaignId, 100n, 'https://example.com/');
      await setAdvertiserStatus(connection, id, 'archived');
    });
    expect(await newEntries()).toEqual([]);
    // Nothing is hidden by calling an advertiser one of a load test.
    const { id } = await addAdvertiser(database.pool, 'Real', 'USD');
    await database.pool.query('update advertiser set is_test = true where id = $1', [id]);
    expect(await newChanges()).toMatchObject([{ action: 'advertiser.create' }, { after: { isTest: true } }]);
  });

  it('is written for credits, redrives, discards and corrections of spools', async () => {
    const { ad } = await addAccount(database.pool);
    const charged = clickRecord({ ad });
    const unknown = [1_001, 1_002].map((id) => clickRecord({ ad: { ...ad, id: ad.id + id } }));
    await chargeBatch(database.pool, [charged, ...unknown]);
    const [redriven, discarded] = (await listDeadLetters(database.pool, { limit: 2 })).map(({ id }) => id);
    await newEntries();
    await changeAs(database.pool, ALICE, async (connection) => {
      await creditClick(connection, charged.click.clickId);
      await creditClick(connection, charged.click.clickId);
      // Rejected again: the letter stays, and nothing changed.
      await redrive(connection, redriven ?? 0n);
      await discardDeadLetter(connection, discarded ?? 0n);
      await discardDeadLetter(connection, discarded ?? 0n);
      await correctSpool(connection, charged.from?.spoolId ?? '', 9, 'lost disk');
    });
    await database.pool.query('update ad set status = status');
    const { clickId } = charged.click;
    expect(await newChanges()).toMatchObject([
      {
        action: 'budget_entry.create',
        after: { kind: 'credit', amount: '0.25', reference: `credit ${clickId}`, clickId },
      },
      { action: 'dead_letter.discard', subject: String(discarded), before: { discardedAt: null } },
      {
        action: 'spool.correct',
        subject: charged.from?.spoolId,
        after: { acceptedAfter: 9, reason: 'lost disk' },
      },
    ]);
  });
});

describe('the triggers of the audit log', () => {
  /** Columns of audited tables that are no settings: they count, or the program computes them. */
  const NOT_RECORDED: Readonly<Record<string, readonly string[]>> = {
    advertiser: [
      ...['id', 'created_at', 'budget_micros', 'spent_micros', 'remaining_micros', 'max_price_micros'],
      ...['budget_level_micros', 'low_budget_micros', 'budget_exhausted'],
    ],
    campaign: [
      ...['id', 'created_at', 'advertiser_id', 'spent_micros', 'daily_cap_since'],
      ...['cap_reached', 'daily_cap_reached_on', 'phase'],
    ],
    ad: ['id', 'created_at', 'advertiser_id', 'name_lower', 'exhausted_until', 'held'],
    budget_entry: ['id', 'created_at', 'advertiser_id'],
    // A replaced secret is recorded without its value.
    api_key: ['id', 'created_at', 'secret_hash', 'last_used_at'],
    webhook: ['id', 'created_at', 'secret', 'previous_secret', 'previous_secret_until'],
  };

  type Trigger = { table: string; columns: string[]; recorded: string[] };
  async function triggers(): Promise<Trigger[]> {
    const { rows } = await database.pool.query<{ table: string; columns: string[]; arguments: string }>(
      `select tgrelid::regclass::text as table, encode(tgargs, 'escape') as arguments,
         array(select attname::text from pg_attribute where attrelid = tgrelid and attnum = any(tgattr)) as columns
       from pg_trigger where tgfoid = 'audit_change'::regproc`,
    );
    return rows.map(({ table, columns, arguments: list }) => ({
      ...{ table, columns },
      recorded: list.split('\\000').slice(2, -1),
    }));
  }

  it.each(Object.keys(NOT_RECORDED))('record every column of %s that is a setting', async (table) => {
    const { rows } = await database.pool.query<{ name: string }>(
      `select attname as name from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped`,
      [table],
    );
    const recorded = (await triggers()).filter((one) => one.table === table).flatMap((one) => one.recorded);
    const columns = new Set([...recorded, ...(NOT_RECORDED[table] ?? [])]);
    // A new column belongs in migrations/0007_audit.sql, or above.
    expect([...columns].sort()).toEqual(rows.map(({ name }) => name).sort());
    expect(recorded.filter((column) => NOT_RECORDED[table]?.includes(column))).toEqual([]);
  });

  it('run when a recorded column is updated, and not when a charge updates others', async () => {
    for (const { table, columns, recorded } of await triggers()) {
      if (columns.length > 0 && recorded.length > 0) expect(columns.sort()).toEqual(recorded.sort());
      if (columns.length === 0)
        expect([
          'budget_entry',
          'advertiser',
          'campaign',
          'ad',
          'api_key',
          'webhook',
          'spool_correction',
          'dead_letter_redrive',
        ]).toContain(table);
    }
    await database.pool.query(
      `create table trigger_run (one integer); create function note_run() returns trigger language plpgsql as
         $$ begin insert into trigger_run values (1); return null; end $$`,
    );
    for (const { table, columns } of await triggers())
      if (columns.length > 0)
        await database.pool.query(
          `create trigger note_${columns[0]} after update of ${columns.join(', ')} on ${table} for each row execute function note_run()`,
        );
    const { ad, campaign } = await addAccount(database.pool, {
      budget: '1.00',
      price: '0.30',
      cap: '0.80',
      dailyCap: '0.70',
    });
    await database.pool.query('truncate trigger_run');
    await newEntries();
    const outcomes = await chargeBatch(
      database.pool,
      [1, 2, 3, 4].map(() => clickRecord({ ad })),
    );
    expect(outcomes).toContain('charged');
    expect(outcomes.at(-1)).toContain('over_budget');
    expect((await database.pool.query('select from trigger_run')).rowCount).toBe(0);
    expect(await newEntries()).toEqual([]);
    // It would have noted a run.
    await updateCampaign(database.pool, campaign.id, { capMicros: 900_000n });
    expect((await database.pool.query('select from trigger_run')).rowCount).toBe(1);
  });

  it('never record the secrets of webhooks and API keys', async () => {
    const { pool } = database;
    await pool.query(
      `insert into webhook (url, secret) values ('https://example.com/hook', 'whsec_first');
       update webhook set previous_secret = secret, previous_secret_until = now() + interval '1 day', secret = 'whsec_second';
       update webhook set previous_secret = null, previous_secret_until = null;
       update webhook set secret = 'whsec_third';
       update webhook set status = 'archived', event_types = '{budget.low}';
       insert into api_key (name, role, secret_hash) values ('Billing', 'finance', decode(repeat('ab', 32), 'hex'));
       update api_key set last_used_at = now();
       update api_key set secret_hash = decode(repeat('cd', 32), 'hex');
       update api_key set revoked_at = now()`,
    );
    const entries = await newEntries();
    expect(entries.map(({ action, before, after }) => ({ action, before, after }))).toEqual([
      {
        action: 'webhook.create',
        before: null,
        after: { url: 'https://example.com/hook', eventTypes: [], status: 'active' },
      },
      { action: 'webhook.rotate_secret', before: null, after: null },
      { action: 'webhook.rotate_secret', before: null, after: null },
      {
        action: 'webhook.update',
        before: { status: 'active', eventTypes: [] },
        after: { status: 'archived', eventTypes: ['budget.low'] },
      },
      { action: 'api_key.create', before: null, after: { name: 'Billing', role: 'finance' } },
      { action: 'api_key.replace_secret', before: null, after: null },
      { action: 'api_key.revoke', before: { revokedAt: null }, after: { revokedAt: expect.any(String) } },
    ]);
    const { rows } = await pool.query<{ text: string }>('select audit_entry::text as text from audit_entry');
    expect(rows.filter(({ text }) => /whsec|abab|cdcd/.test(text))).toEqual([]);
  });
});

describe('the audit log', () => {
  it.each([
    ['listed', (period: AuditFilter) => listAudit(database.pool, { ...period, limit: 1 })],
    ['exported', (period: AuditFilter) => boundAudit(database.pool, period)],
  ])('is not %s for a period that ends before it begins', async (_, read) => {
    await expect(read({ since: new Date(2_000), until: new Date(1_000) })).rejects.toMatchObject({
      ...{ code: 'bad_window', message: expect.stringContaining('got 1970-01-01T00:00:01.000Z before 1970') },
    });
  });

  it('is listed by its filters, newest first, in pages', async () => {
    const start = new Date();
    const [first, second] = await changeAs(
      database.pool,
      { type: 'cli', user: 'bob' },
      async (connection) => [
        await addAdvertiser(connection, 'One', 'USD'),
        await addAdvertiser(connection, 'Two', 'EUR'),
      ],
    );
    await changeAs(database.pool, ALICE, async (connection) => {
      await renameAdvertiser(connection, first?.id ?? 0, 'One again');
      await recordAudit(connection, { action: 'advertiserx.test', subject: '1' });
    });
    const ids = [first?.id ?? 0, second?.id ?? 0];
    const actions = async (filter: AuditFilter) =>
      (await listAudit(database.pool, { since: start, ...filter, limit: 100 })).map(
        ({ action, advertiserId }) => `${action} ${advertiserId === null ? '-' : ids.indexOf(advertiserId)}`,
      );
    const all = ['advertiserx.test -', 'advertiser.update 0', 'advertiser.create 1', 'advertiser.create 0'];
    expect(await actions({})).toEqual(all);
    expect(await actions({ advertiserIds: ids })).toEqual(all.slice(1));
    expect(await actions({ advertiserIds: [ids[1] ?? 0] })).toEqual(['advertiser.create 1']);
    expect(await actions({ advertiserIds: [] })).toEqual([]);
    expect(await actions({ actor: 'bob' })).toEqual(all.slice(2));
    expect(await actions({ action: 'advertiser' })).toEqual(all.slice(1));
    expect(await actions({ action: 'advertiser.update' })).toEqual(['advertiser.update 0']);
    expect(await actions({ action: 'advert' })).toEqual([]);
    expect(await actions({ subject: String(ids[0]) })).toEqual([
      'advertiser.update 0',
      'advertiser.create 0',
    ]);
    // Several entries can be of one millisecond, the precision of `Date`.
    const until = new Date(
      Math.max(...(await listAudit(database.pool, { limit: 4 })).map(({ at }) => at.getTime())),
    );
    const before = (await listAudit(database.pool, { since: start, limit: 4 })).filter(
      ({ at }) => at < until,
    );
    expect(await actions({ until })).toEqual(all.slice(all.length - before.length));
    expect(await actions({ until: new Date(until.getTime() + 1) })).toEqual(all);
    const pages = [await listAudit(database.pool, { limit: 2 })];
    pages.push(await listAudit(database.pool, { after: pages[0]?.at(-1)?.id ?? 0n, limit: 2 }));
    expect(pages.flat().map(({ action }) => action)).toEqual(all.map((text) => text.split(' ')[0]));
  });

  it('is exported once by exports that follow each other, also an entry that was committed late', async () => {
    const exported: string[] = [];
    const exportNext = async (since: Date) => {
      const period = await boundAudit(database.pool, { since, action: 'late' });
      await exportAudit(database.pool, period, async (entries) => {
        exported.push(...entries.map(({ subject }) => subject));
      });
      return period.until;
    };
    let since = new Date();
    // A transaction without the settlement lock, as of a person with psql.
    await inTransaction(database.pool, async (connection) => {
      await recordAudit(connection, { action: 'late.test', subject: 'late' });
      await database.pool.query('select pg_sleep(1.1)');
      await inTransaction(database.pool, (other) =>
        recordAudit(other, { action: 'late.test', subject: 'early' }),
      );
      since = await exportNext(since);
      expect(exported).toEqual([]);
    });
    since = await exportNext(since);
    expect(exported).toEqual(['late', 'early']);
    await exportNext(since);
    expect(exported).toEqual(['late', 'early']);
  });

  it('is exported in pages of a thousand', async () => {
    await database.pool.query(
      "select write_audit_entry('page.test', number::text, null, null, null) from generate_series(1, 2500) number",
    );
    const pages: number[] = [];
    const subjects = new Set<string>();
    await exportAudit(database.pool, { action: 'page.test', until: new Date(8.64e15) }, async (entries) => {
      pages.push(entries.length);
      for (const { subject } of entries) subjects.add(subject);
    });
    expect(pages).toEqual([1_000, 1_000, 500]);
    expect(subjects.size).toBe(2_500);
  });
});
