import type { Connection } from '../common/postgres/postgres.ts';

/** Each process writes its own row of `part`. */
const PART = 'select, insert, update, delete';

/**
 * Privileges by role and table. `deploy/postgres/roles.sql` creates the roles. No role can delete rows of the ledger or change their amounts:
 * the only columns that can be updated are those of a late key. Only `tollway_console` can add budget entries. The owner of the tables runs
 * the migrations and needs no grants.
 */
export const GRANTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  /** Reads the ad catalog and publishes to the Postgres broker. */
  tollway_ad_server: {
    advertiser: 'select',
    campaign: 'select',
    campaign_day: 'select',
    campaign_today: 'select',
    ad: 'select',
    broker_chunk: 'insert',
    part: PART,
  },
  /** Charges clicks and maintains the ledger. Locks advertisers and campaigns, and blocks inserts of ads (`lock table ad`). */
  tollway_processor: {
    advertiser: 'select, update (spent_micros, low_budget_micros, budget_exhausted)',
    campaign: 'select, update (spent_micros, cap_reached, daily_cap_reached_on)',
    campaign_day: 'select, insert, update (spent_micros, charged_hour, spent_before_hour_micros)',
    campaign_today: 'select',
    ad: 'select, update',
    ledger: 'select, insert, update (spool_id, sequence)',
    spent_nonce: 'select, insert',
    click_evidence: 'select, insert',
    seen_duplicate: 'select, insert, delete',
    user_agent: 'select, insert, update (last_day), delete',
    dead_letter: 'select, insert, update (identity, record_key, spool_id, sequence)',
    spool_counter: 'select, insert, delete',
    spool_total: 'select, insert, update',
    ledger_window: 'select, insert, update',
    closed_day: 'select, insert',
    closed_day_spool: 'select, insert',
    broker_chunk: 'select, update (settled_at), delete',
    broker_checkpoint: 'select, insert, update',
    budget_entry: 'select',
    click_rollup: 'select, insert, update',
    click_rollup_day: 'select, insert, update',
    click_rollup_total: 'select, insert, update',
    click_rollup_state: 'select, update',
    click_rollup_late_day: 'select, insert, delete',
    webhook_event: 'select, insert',
    webhook_delivery: 'select, insert',
    webhook_state: 'select, update (dead_letters_waiting)',
    webhook: 'select (id, event_types, advertiser_id, status)',
    part: PART,
  },
  /** The command line: accounts, budgets, credits, dead letters, rewinds, maintenance, and every report. */
  tollway_console: {
    advertiser: 'select, insert, update',
    budget_entry: 'select, insert',
    campaign: 'select, insert, update',
    campaign_day: 'select, insert, update',
    campaign_today: 'select',
    ad: 'select, insert, update',
    ledger: 'select, insert, update (spool_id, sequence)',
    spent_nonce: 'select, insert',
    click_evidence: 'select, insert, delete',
    seen_duplicate: 'select, insert, delete',
    user_agent: 'select, insert, update (last_day), delete',
    dead_letter: 'select, insert, update, delete',
    dead_letter_redrive: 'select, insert',
    spool_counter: 'select, insert, delete',
    spool_total: 'select, insert, update',
    spool_correction: 'select, insert',
    ledger_window: 'select, insert, update',
    closed_day: 'select, insert',
    closed_day_spool: 'select, insert',
    broker_chunk: 'select, insert, update (settled_at), delete',
    broker_checkpoint: 'select, insert, update',
    click_rollup: 'select, insert, update',
    click_rollup_day: 'select, insert, update, delete',
    click_rollup_total: 'select, insert, update, delete',
    click_rollup_state: 'select, update',
    click_rollup_late_day: 'select, insert, delete',
    webhook_event: 'select, insert, delete',
    webhook_delivery: 'select, insert, update',
    webhook_attempt: 'select, insert',
    webhook_progress: 'select, insert, update',
    webhook_state: 'select, update',
    reconciliation: 'select, insert, update',
    webhook: 'select, insert, update',
    api_key: 'select, insert, update (revoked_at, last_used_at)',
    api_answer: 'select, insert, update, delete',
    console_session: 'select, insert, update (expires_at), delete',
    login_link: 'select, insert, delete',
    audit_entry: 'select',
    schema_migration: 'select',
    part: PART,
  },
  /** Reads tables for reports, without evidence, raw records and payloads of the broker. */
  tollway_reporting: {
    advertiser: 'select',
    budget_entry: 'select',
    campaign: 'select',
    campaign_day: 'select',
    campaign_today: 'select',
    ad: 'select',
    ledger: 'select',
    closed_day: 'select',
    closed_day_spool: 'select',
    dead_letter:
      'select (id, record_key, click_id, advertiser_id, campaign_id, ad_id, nonce, publisher, spool_id, sequence, reason, clicked_at, settled_at, discarded_at, counted)',
    spool_total: 'select',
    spool_counter: 'select',
    spool_correction: 'select',
    ledger_window: 'select',
    click_rollup: 'select',
    click_rollup_day: 'select',
    click_rollup_state: 'select',
    audit_entry: 'select',
  },
};

/** Roles that query the partition of a day directly, which is faster than querying the parent. */
const PARTITION_READERS = ['tollway_processor', 'tollway_console'];
/** Roles that add and drop partitions. */
const MAINTAINERS = PARTITION_READERS;
/** Tables that hold hashes of keys and sessions, secrets, answers or the audit log: a role may read only what `GRANTS` says, unlike other tables. */
const SECRET_TABLES = 'api_key, api_answer, audit_entry, console_session, login_link, webhook';
/** The role that erases the evidence of a day and adds entries to the audit log for what no trigger sees, such as that. */
const CONSOLE = 'tollway_console';

/**
 * Grants the existing roles exactly the privileges of `GRANTS` and revokes all others. Roles that do not exist are skipped. Run it in a
 * transaction of the tables' owner.
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
        // For partitions that are created later.
        `alter default privileges in schema public grant select on tables to ${role}`,
        `revoke all on ${SECRET_TABLES} from ${role}`,
      );
    }
    for (const [table, privileges] of Object.entries(tables)) {
      statements.push(`grant ${privileges} on ${table} to ${role}`);
    }
    if (MAINTAINERS.includes(role)) {
      statements.push(
        `grant execute on function add_partition(text, date), drop_partition(text, date), summarize_day(date) to ${role}`,
      );
    }
    if (role === CONSOLE)
      statements.push(
        `grant execute on function erase_evidence(date), write_audit_entry(text, text, integer, jsonb, jsonb) to ${role}`,
      );
  }
  if (statements.length > 0) await connection.query(statements.join(';\n'));
}
