import type { Pool } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { countDeadLetters } from '../charge/dead-letters.ts';
import { dayStart, isoDay, partitionDay } from '../partitions.ts';
import { readWebhookBacklog, type WebhookBacklog } from '../webhooks/backlog.ts';
import { type Part, readParts } from './parts.ts';

/** The state of the ledger's maintenance. */
export type MaintenanceState = {
  /** End of the last complete run; `null`: none has ended yet. */
  readonly lastAt: Date | null;
  /** Days after today that have a partition: clicks of later days cannot be charged yet. */
  readonly partitionsAheadDays: number;
  /** The first day that has a partition, such as `2026-01-31`: the ledger keeps sums alone of the days before. */
  readonly oldestDay: string;
};

/** What an operator watches, but the backlog in the brokers and the spools, which follow from the parts. */
export type OperationsState = {
  /** The time of the database. */
  readonly asOf: Date;
  readonly parts: readonly Part[];
  readonly maintenance: MaintenanceState;
  /** All clicks that were settled before it are in the reports. */
  readonly reportsAsOf: Date;
  readonly webhooks: readonly WebhookBacklog[];
  /** Active webhooks whose latest attempt failed. */
  readonly webhooksFailing: number;
  readonly deadLetters: number;
};

/** Reads the state of operations. Its numbers can differ by what happens between the queries. */
export async function readOperations(pool: Pool): Promise<OperationsState> {
  const [{ asOf, parts }, ledger, webhooks, deadLetters] = await Promise.all([
    readParts(pool),
    readLedgerState(pool),
    readWebhookBacklog(pool),
    countDeadLetters(pool),
  ]);
  const { maintainedAt, clickAhead, oldest, reportsAsOf, webhooksFailing } = ledger;
  // The day of `clickAhead` has no partition.
  const partitionsAheadDays = (clickAhead.getTime() - dayStart(asOf.getTime())) / DAY_MS - 1;
  const maintenance = {
    lastAt: maintainedAt,
    partitionsAheadDays,
    oldestDay: isoDay(partitionDay(oldest)),
  };
  return { asOf, parts, maintenance, reportsAsOf, webhooks, webhooksFailing, deadLetters };
}

type LedgerState = {
  readonly maintainedAt: Date | null;
  readonly clickAhead: Date;
  /** The name of the first partition. */
  readonly oldest: string;
  readonly reportsAsOf: Date;
  readonly webhooksFailing: number;
};

async function readLedgerState(pool: Pool): Promise<LedgerState> {
  const { rows } = await pool.query<LedgerState>(
    `select maintained_at as "maintainedAt", click_ahead as "clickAhead", rolled_to as "reportsAsOf",
       (select min(relname::text) from pg_inherits join pg_class on oid = inhrelid where inhparent = 'ledger'::regclass) as oldest,
       (select count(*)::integer from webhook join webhook_progress progress on webhook_id = webhook.id
        where status = 'active' and progress.failures > 0) as "webhooksFailing"
     from ledger_window, click_rollup_state`,
  );
  const [row] = rows;
  if (!row) throw new Error('Expected one row in ledger_window, got none. Run npm run migrate');
  return row;
}
