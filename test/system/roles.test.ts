import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createClient, createPool, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import {
  createSession,
  deleteOldSessions,
  endSession,
  findSession,
  renewSessions,
} from '../../ledger/access/console-sessions.ts';
import { createLoginLink, deleteOldLoginLinks, useLoginLink } from '../../ledger/access/login-links.ts';
import { listAds } from '../../ledger/accounts/ads.ts';
import { changeAs } from '../../ledger/actor.ts';
import { dropClosedDays, maintain } from '../../ledger/maintenance.ts';
import { partitionName } from '../../ledger/partitions.ts';
import { GRANTS } from '../../migrations/grants.ts';
import { migrate } from '../../migrations/migrate.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { clickLink } from '../support/clicks.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import {
  documentedTables,
  internalColumns,
  pageQueries,
  reportingSettings,
} from '../support/database-page.ts';
import { silent } from '../support/loggers.ts';
import { clickRecord } from '../support/records.ts';
import { RETENTION } from '../support/retention.ts';
import { runScript, tollway } from '../support/run-script.ts';
import { stackEnv } from '../support/stack.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const SCRIPT = join(import.meta.dirname, '..', '..', 'deploy', 'postgres', 'roles.sql');
const ROLES = ['tollway_owner', ...Object.keys(GRANTS)];
const PASSWORD = 'roles-test';
const DENIED = { code: '42501' };

let database: TestDatabase & { drop: () => Promise<void> };
const pools = new Map<string, Pool>();

function urlAs(role: string): string {
  const url = new URL(database.url);
  url.username = role;
  url.password = PASSWORD;
  return url.href;
}

const as = (role: string): Pool => {
  const pool = pools.get(role) ?? createPool(urlAs(role), 'test', 4, () => {});
  pools.set(role, pool);
  return pool;
};

beforeAll(async () => {
  database = await createTestDatabase({ empty: true });
  const script = readFileSync(SCRIPT, 'utf8');
  // A second run has to change nothing.
  for (let run = 0; run < 2; run += 1) await database.pool.query(script);
  for (const role of ROLES) await database.pool.query(`alter role ${role} password '${PASSWORD}'`);
  for (let run = 0; run < 2; run += 1) await migrate(urlAs('tollway_owner'), RETENTION, silent);
});

afterAll(async () => {
  await Promise.all([...pools.values()].map((pool) => pool.end()));
  await database.drop();
  // The roles belong to the server, not to the database. One that another database has granted something to stays.
  const client = createClient(inject('databaseServerUrl'), 'test');
  await client.connect();
  for (const role of ROLES) await client.query(`drop role ${role}`).catch(() => {});
  await client.end();
});

describe('the parts under roles of their own', () => {
  const folder = suiteFolder();

  it('take a click, charge it, and balance the books', { timeout: 60_000 }, async () => {
    const env = await stackEnv(folder, {
      LINK_KEYS: `k1:signs:${Buffer.alloc(32, 7).toString('base64url')}`,
    });
    const console_ = { ...env, DATABASE_URL: urlAs('tollway_console') };
    const run = async (...args: string[]) => {
      const { code, stdout, stderr } = await tollway(console_, ...args);
      expect(code, `${args.join(' ')}: ${stderr}`).toBe(0);
      return stdout;
    };
    const parts = [
      runScript('ad-server/main.ts', { ...env, DATABASE_URL: urlAs('tollway_ad_server') }),
      runScript('processor/main.ts', { ...env, DATABASE_URL: urlAs('tollway_processor') }),
    ];
    let printed = '';
    for (const { stdout, stderr } of parts) {
      for (const stream of [stdout, stderr]) {
        stream?.setEncoding('utf8').on('data', (text) => {
          printed += text;
        });
      }
    }
    try {
      await run('advertiser', 'add', 'Blue Shoes', '--budget', '10.00');
      await run('campaign', 'add', '1', 'Summer', '--cap', '5.00');
      await run('ad', 'add', '1', '--price', '0.25', '--url', 'https://example.com/?click={click_id}');
      await run('advertiser', 'adjust', '1', '1.00');
      await until('readiness', () =>
        fetch(`http://127.0.0.1:${env.AD_SERVER_OPS_PORT}/readyz`).then(
          ({ ok }) => ok,
          () => false,
        ),
      );
      const link = (await run('link', '1', '--evergreen')).trim();
      const { clickId } = await clickLink(link);
      expect(clickId).not.toBeNull();
      await until(
        'balanced and settled books',
        async () => (await tollway(console_, 'reconcile', '--settled', '--deep')).code === 0,
      );
      expect(await run('export')).toContain(clickId);
      await run('click', 'credit', clickId ?? '');
      expect(await run('click', 'show', clickId ?? '')).toContain('A credit gave the charge back later');
      await run('statement', '1', '--month', new Date().toISOString().slice(0, 7));
      expect(await run('evidence', 'erase', '--network', '127.0.0.0/24')).toContain('1 click');
      await run('evidence', 'erase', '--day', new Date().toISOString().slice(0, 10));
      const created = JSON.parse(
        await run('key', 'create', '--role', 'viewer', '--advertiser', '1', '--json'),
      );
      expect(await run('key', 'list')).toContain('viewer');
      await run('key', 'revoke', String(created.id));
      await run('maintain');
      // An actor is named by the program, an entry written by the trigger.
      const { rows: audited } = await as('tollway_reporting').query<{ actor: string; action: string }>(
        "select actor_type || ' ' || actor as actor, action from audit_entry order by id",
      );
      expect(new Set(audited.map(({ actor }) => actor))).toEqual(new Set([`cli ${userInfo().username}`]));
      expect(audited.map(({ action }) => action)).toEqual(
        expect.arrayContaining(['advertiser.create', 'budget_entry.create', 'campaign.create', 'ad.create']),
      );
      await run('reconcile', '--deep');
      expect(printed).not.toContain('permission denied');
      expect(printed).not.toContain('must be owner');
    } finally {
      for (const part of parts) part.kill('SIGTERM');
      await until('the end of all parts', () =>
        parts.every(({ exitCode, signalCode }) => exitCode !== null || signalCode !== null),
      );
    }
  });

  it('make and drop partitions that they do not own', async () => {
    const processor = as('tollway_processor');
    const options = { ...RETENTION, ledgerRetentionDays: RETENTION.clickAgeDays, brokerRetentionDays: 1 };
    const partitions = async () => {
      const { rows } = await processor.query<{ name: string }>(
        "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'ledger'::regclass order by 1",
      );
      return rows.map(({ name }) => name);
    };
    const before = await partitions();
    await maintain(processor, options, silent, Date.now() + DAY_MS);
    await dropClosedDays(processor, silent, 0);
    const after = await partitions();
    expect(after.at(-1)).not.toBe(before.at(-1));
    expect(after[0]).not.toBe(before[0]);
  });

  it('redrive and discard what was rejected, and correct the count of a spool', async () => {
    const [ad] = await listAds(as('tollway_console'));
    if (!ad) throw new Error('Expected the ad of the test before');
    const unknown = [1_001, 1_002].map((id) => clickRecord({ ad: { ...ad, id } }));
    expect(await chargeBatch(as('tollway_processor'), unknown)).toEqual([
      'rejected: unknown_ad',
      'rejected: unknown_ad',
    ]);
    const env = { ...(await stackEnv(folder)), DATABASE_URL: urlAs('tollway_console') };
    const letters = JSON.parse((await tollway(env, 'dead-letters', 'list', '--json')).stdout) as {
      id: number;
    }[];
    const [redriven, discarded] = letters.map(({ id }) => String(id));
    expect((await tollway(env, 'dead-letters', 'redrive', redriven ?? '')).stderr).not.toContain(
      'permission',
    );
    expect((await tollway(env, 'dead-letters', 'discard', discarded ?? '')).code).toBe(0);
    const spool = unknown[0]?.from?.spoolId ?? '';
    const correction = ['spool', 'correct', spool, '--accepted', '2', '--reason', 'a lost disk'];
    expect(await tollway(env, ...correction)).toMatchObject({ code: 0 });
    expect((await tollway(env, 'spool', 'corrections')).stdout).toContain('tollway_console');
  });

  it('log a browser in by a link, renew its session and end it', async () => {
    const pool = as('tollway_console');
    const { token, key } = await changeAs(pool, { type: 'cli', user: 'x' }, (connection) =>
      createLoginLink(connection),
    );
    expect(await inTransaction(pool, (connection) => useLoginLink(connection, token))).toBe(true);
    const made = await inTransaction(pool, (connection) => createSession(connection, key.id));
    const session = await findSession(pool, made.token);
    await renewSessions(pool, [session?.id ?? 0n]);
    await endSession(pool, made.token);
    expect(await deleteOldSessions(pool)).toBe(0);
    expect(await deleteOldLoginLinks(pool)).toBe(0);
  });
});

const NEW_SESSION =
  "insert into console_session (token_hash, api_key_id, expires_at) values (sha256('x'), 1, now())";
const FORGED_ENTRY =
  "insert into audit_entry (actor_type, actor, action, subject) values ('cli', 'alice', 'ad.update', '1')";
const ADDED_ENTRY = "select write_audit_entry('ad.update', '1', null, null, null)";

/** The partition of the ledger for today. */
const TODAY = partitionName('ledger', Date.now());

describe('a role may not', () => {
  it.each([
    ['tollway_ad_server', 'read the ledger', 'select from ledger'],
    ['tollway_ad_server', 'read what others published', 'select payload from broker_chunk'],
    ['tollway_ad_server', 'change a price', 'update ad set price_micros = 1'],
    [
      'tollway_processor',
      'enter a budget',
      "insert into budget_entry (advertiser_id, kind, amount_micros, reference) values (1, 'top_up', 1, 'x')",
    ],
    ['tollway_processor', 'raise a budget', 'update advertiser set budget_micros = budget_micros + 1'],
    ['tollway_processor', 'delete from the ledger', 'delete from ledger'],
    ['tollway_processor', 'change the ledger', 'update ledger set charged_micros = 0'],
    [
      'tollway_processor',
      'correct the count of a spool',
      "insert into spool_correction (spool_id, accepted_before, accepted_after, reason) values (gen_random_uuid(), 1, 2, 'x')",
    ],
    ['tollway_processor', 'drop a dead letter', 'delete from dead_letter'],
    ['tollway_processor', 'erase evidence', 'delete from click_evidence'],
    ['tollway_processor', 'erase the evidence of a day', 'select erase_evidence(current_date)'],
    ['tollway_console', 'change evidence', 'update click_evidence set network = null'],
    ['tollway_console', 'delete from the ledger', 'delete from ledger'],
    ['tollway_console', 'delete a budget entry', 'delete from budget_entry'],
    ['tollway_console', 'change a budget entry', 'update budget_entry set amount_micros = 1'],
    ['tollway_console', 'delete a correction', 'delete from spool_correction'],
    ['tollway_console', 'change a correction', "update spool_correction set reason = 'x'"],
    ['tollway_console', 'change the ledger', 'update ledger set charged_micros = 0'],
    ['tollway_console', 'delete a redrive', 'delete from dead_letter_redrive'],
    ...['tollway_processor', 'tollway_console'].flatMap((role): [string, string, string][] => [
      [role, 'delete from the ledger of a day', `delete from ${TODAY}`],
      [role, 'change the ledger of a day', `update ${TODAY} set charged_micros = 0`],
      [role, 'delete the sums of a closed day', 'delete from closed_day'],
      [role, 'change the sums of a closed day', 'update closed_day set charged_micros = 0'],
      [role, 'let a link be charged again', 'delete from spent_nonce'],
      [role, 'give a spent link to another click', 'update spent_nonce set click_id = gen_random_uuid()'],
    ]),
    ['tollway_console', 'make a table', 'create table mine ()'],
    ['tollway_console', 'forge an audit entry', FORGED_ENTRY],
    ['tollway_console', 'change an audit entry', "update audit_entry set actor = 'x'"],
    ['tollway_console', 'delete an audit entry', 'delete from audit_entry'],
    ['tollway_console', 'empty the audit log', 'truncate audit_entry'],
    ['tollway_console', 'switch an audit trigger off', 'alter table ad disable trigger audit_update'],
    ['tollway_console', 'switch all triggers off', "set session_replication_role = 'replica'"],
    ['tollway_console', 'use the audit trigger on a table of its own', 'create temp table mine (id integer)'],
    ['tollway_processor', 'forge an audit entry', FORGED_ENTRY],
    ['tollway_processor', 'add an audit entry', ADDED_ENTRY],
    ['tollway_processor', 'delete an audit entry', 'delete from audit_entry'],
    ['tollway_ad_server', 'read the audit log', 'select from audit_entry'],
    ['tollway_processor', 'read the audit log', 'select from audit_entry'],
    ['tollway_ad_server', 'add an audit entry', ADDED_ENTRY],
    ['tollway_reporting', 'add an audit entry', ADDED_ENTRY],
    ['tollway_reporting', 'read raw records', 'select raw from dead_letter'],
    ['tollway_reporting', 'read the broker', 'select from broker_chunk'],
    ['tollway_reporting', 'read evidence', 'select network from click_evidence'],
    ['tollway_reporting', 'read user agents', 'select text from user_agent'],
    ['tollway_reporting', 'drop a partition', "select drop_partition('ledger', current_date)"],
    ['tollway_ad_server', 'read API keys', 'select id from api_key'],
    ['tollway_processor', 'read the hashes of API keys', 'select secret_hash from api_key'],
    ['tollway_processor', 'read stored answers', 'select body from api_answer'],
    ['tollway_processor', 'read the secrets of webhooks', 'select secret from webhook'],
    ['tollway_reporting', 'read API keys', 'select id from api_key'],
    ['tollway_reporting', 'read the state of the parts', 'select from part'],
    ['tollway_ad_server', 'read sessions', 'select id from console_session'],
    ['tollway_processor', 'read sessions', 'select id from console_session'],
    ['tollway_reporting', 'read sessions', 'select id from console_session'],
    ['tollway_processor', 'read login links', 'select api_key_id from login_link'],
    ['tollway_processor', 'make a session', NEW_SESSION],
    ['tollway_console', 'give a session to another key', 'update console_session set api_key_id = 1'],
    ['tollway_console', 'give a login link to another key', 'update login_link set api_key_id = 1'],
    ['tollway_console', 'delete an API key', 'delete from api_key'],
    ['tollway_console', 'change the role of an API key', "update api_key set role = 'admin'"],
    ['tollway_console', 'change the hash of an API key', "update api_key set secret_hash = ''"],
    ['tollway_ad_server', 'drop a partition', "select drop_partition('ledger', current_date)"],
  ])('%s: %s', async (role, _, statement) => {
    await expect(as(role).query(statement)).rejects.toMatchObject(DENIED);
  });

  it('tollway_console: change something by SQL without an audit entry', async () => {
    const console_ = as('tollway_console');
    const entries = async () =>
      (
        await console_.query<{ actor: string; action: string }>(
          "select actor_type || ' ' || actor as actor, action from audit_entry order by id",
        )
      ).rows;
    const before = await entries();
    await console_.query("update advertiser set name = 'Changed by SQL' where id = 1");
    expect((await entries()).slice(before.length)).toEqual([
      { actor: 'database tollway_console', action: 'advertiser.update' },
    ]);
  });

  it('tollway_reporting: write, whatever it is granted', async () => {
    await expect(as('tollway_reporting').query("update advertiser set name = ''")).rejects.toMatchObject({
      code: expect.stringMatching(/^(42501|25006)$/),
    });
    await expect(
      as('tollway_reporting').query('select click_id, outcome from ledger'),
    ).resolves.toBeDefined();
  });
});

describe('tollway_reporting, as docs/database.md says', () => {
  it('may read every public column and no internal one', async () => {
    for (const { table, columns } of documentedTables()) {
      for (const column of columns.map((listed) => listed.split(' ')[0] ?? '')) {
        const read = as('tollway_reporting').query(`select ${column} from ${table} limit 1`);
        if (internalColumns().includes(`${table}.${column}`))
          await expect(read, `${table}.${column}`).rejects.toMatchObject(DENIED);
        else await expect(read, `${table}.${column}`).resolves.toBeDefined();
      }
    }
  });

  it.each(pageQueries(Date.now()))('may run: $name', async ({ sql }) => {
    await expect(as('tollway_reporting').query(sql)).resolves.toBeDefined();
  });

  it.each(reportingSettings())('begins sessions with %s = %s', async (name, value) => {
    const { rows } = await as('tollway_reporting').query<{ value: string }>(
      'select current_setting($1) as value',
      [name],
    );
    expect(rows[0]?.value).toBe(value);
  });
});
