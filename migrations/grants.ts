import type { Connection } from '../common/postgres/postgres.ts';

/**
 * What each role may do, by table; `deploy/postgres/roles.sql` makes the roles. No role may delete a row of the ledger
 * or change what it says of money: only a key that came late is written into it. Only the console's role enters budgets. The owner of the
 * tables runs the migrations and needs no grant.
 */
export const GRANTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  /** Reads the ad catalog, publishes to the Postgres broker. */
  tollway_ad_server: {
    advertiser: 'select',
    campaign: 'select',
    ad: 'select',
    broker_chunk: 'insert',
  },
  /** Charges and maintains. It locks advertisers and campaigns, and keeps ads from being made (`lock table ad`). */
  tollway_processor: {
    advertiser: 'select, update (spent_micros)',
    campaign: 'select, update (spent_micros)',
    ad: 'select, update',
    ledger: 'select, insert, update (spool_id, sequence)',
    spent_nonce: 'select, insert',
    dead_letter: 'select, insert, update (identity, record_key, spool_id, sequence)',
    spool_counter: 'select, insert, delete',
    spool_total: 'select, insert, update',
    ledger_window: 'select, insert, update',
    closed_day: 'select, insert',
    closed_day_spool: 'select, insert',
    broker_chunk: 'select, update (settled_at), delete',
    broker_checkpoint: 'select, insert, update',
    budget_entry: 'select',
  },
  /** The command line: accounts, budgets, credits, dead letters, rewinds, maintenance, and every report. */
  tollway_console: {
    advertiser: 'select, insert, update',
    budget_entry: 'select, insert',
    campaign: 'select, insert, update',
    ad: 'select, insert, update',
    ledger: 'select, insert, update (spool_id, sequence)',
    spent_nonce: 'select, insert',
    dead_letter: 'select, insert, update, delete',
    spool_counter: 'select, insert, delete',
    spool_total: 'select, insert, update',
    spool_correction: 'select, insert',
    ledger_window: 'select, insert, update',
    closed_day: 'select, insert',
    closed_day_spool: 'select, insert',
    broker_chunk: 'select, insert, update (settled_at), delete',
    broker_checkpoint: 'select, insert, update',
    schema_migration: 'select',
  },
  /** Reads what BI asks for: no raw record, no payload of the broker. */
  tollway_reporting: {
    advertiser: 'select',
    budget_entry: 'select',
    campaign: 'select',
    ad: 'select',
    ledger: 'select',
    closed_day: 'select',
    closed_day_spool: 'select',
    dead_letter:
      'select (id, record_key, click_id, advertiser_id, campaign_id, ad_id, nonce, spool_id, sequence, reason, clicked_at, settled_at, discarded_at, counted)',
    spool_total: 'select',
    spool_counter: 'select',
    spool_correction: 'select',
    ledger_window: 'select',
  },
};

/** Roles that read the partition of a day by its own name, which is faster than through the parent. */
const PARTITION_READERS = ['tollway_processor', 'tollway_console'];
/** Roles that make and drop partitions. */
const MAINTAINERS = PARTITION_READERS;

/**
 * Gives the roles that exist exactly the grants above, and takes others from them. Runs in a transaction of the tables' owner. A database
 * without these roles is left as it is.
 */
export async function grantTables(connection: Connection): Promise<void> {
  const { rows } = await connection.query<{ name: string }>(
    'select rolname as name from pg_roles where rolname = any($1)',
    [Object.keys(GRANTS)],
  );
  const existing = new Set(rows.map(({ name }) => name));
  const statements: string[] = [];
  for (const [role, tables] of Object.entries(GRANTS)) {
    if (!existing.has(role)) continue;
    statements.push(`revoke all on all tables in schema public from ${role}`);
    if (PARTITION_READERS.includes(role)) {
      statements.push(
        `grant select on all tables in schema public to ${role}`,
        // The partitions that are made from now on.
        `alter default privileges in schema public grant select on tables to ${role}`,
      );
    }
    for (const [table, privileges] of Object.entries(tables)) {
      statements.push(`grant ${privileges} on ${table} to ${role}`);
    }
    if (MAINTAINERS.includes(role)) {
      statements.push(
        `grant execute on function add_partition(text, date), drop_partition(text, date) to ${role}`,
      );
    }
  }
  if (statements.length > 0) await connection.query(statements.join(';\n'));
}
