import { TollwayError } from '../../common/errors.ts';
import { type Connection, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidFloor } from '../../common/uuid.ts';
import { assertFilterExists, type ClickFilter } from '../click-filter.ts';
import { isoDay, listPartitionDays, partitionName } from '../partitions.ts';
import { assertPeriod } from '../period.ts';
import { readSettlementWatermark } from '../settlement-watermark.ts';

/** One exported row: a settled click, or a credit for one. Amounts in micros. */
export type ExportRow = {
  readonly clickId: string | null;
  readonly nonce: string | null;
  readonly advertiserId: number | null;
  readonly campaignId: number | null;
  readonly adId: number | null;
  readonly publisher: string | null;
  /** The outcome of the click, or `credit`. A credit has a negative `chargedMicros`; its click has a row of its own. */
  readonly outcome: string;
  readonly reason: string | null;
  readonly chargedMicros: bigint;
  readonly currency: string | null;
  readonly clickedAt: Date | null;
  /** When the click was settled, or the credit was entered. */
  readonly settledAt: Date;
  readonly spoolId: string | null;
  readonly sequence: bigint | null;
  readonly kind: 'impression' | 'evergreen' | null;
};

export type ExportFilter = ClickFilter & {
  /** Inclusive lower bound of the time of settlement. Without it, the export has everything that the ledger still has. */
  readonly since?: Date;
  /** Exclusive upper bound of the time of settlement. The settlement watermark if it is absent or above the watermark. */
  readonly until?: Date;
};
/** A filter with known bounds; the upper one is at most the settlement watermark. */
export type ExportPeriod = ClickFilter & { readonly since: Date; readonly until: Date };
/** A period, and the time from which on the ledger had every row of it when the export began; `null`: all of it. */
export type BoundExport = ExportPeriod & { readonly completeFrom: Date | null };

/** Rows held in memory at once. */
const PAGE_ROWS = 2_000;
/** SQLSTATE: the partition of a day is gone. */
const UNDEFINED_TABLE = '42P01';

type ClickIdRange = readonly [from: string, to: string];

/** Receives the rows of an export, page by page. The next page is read when the promise resolves. */
export type OnRows = (rows: readonly ExportRow[]) => Promise<void>;

/**
 * Exports everything that was settled in [since, until), as `exportBound` does, up to the settlement watermark. Returns the upper bound
 * that was used: no row can be settled before it any more, so the next export can begin there. Throws what `boundExport` and `exportBound`
 * throw.
 */
export async function exportLedger(pool: Pool, filter: ExportFilter, onRows: OnRows): Promise<Date> {
  const period = await boundExport(pool, filter);
  await exportBound(pool, period, onRows);
  return period.until;
}

/**
 * Returns the period that `exportBound` exports. Throws `bad_window`, `unknown_advertiser`, `unknown_campaign`, and `day_closed` if the ledger
 * has dropped rows that were settled at or after `since`, or the clicks of credits that the filter needs.
 */
export async function boundExport(pool: Pool, filter: ExportFilter): Promise<BoundExport> {
  await assertFilterExists(pool, filter);
  const { since = new Date(0), ...rest } = filter;
  const period = { ...rest, since, until: await upperBoundOf(pool, { ...rest, since }) };
  const completeFrom = await readSettledFloor(pool);
  if (filter.since && completeFrom && completeFrom > filter.since)
    throw new TollwayError(
      'day_closed',
      `Expected a beginning (since) from which on the ledger has all clicks, at or after ${completeFrom.toISOString()}, got ${since.toISOString()}: ` +
        'the ledger has dropped days with clicks settled since then (LEDGER_RETENTION_DAYS)',
    );
  await assertClicksOfCredits(pool, period, rangeOf(await listDays(pool)));
  return { ...period, completeFrom };
}

/**
 * Exports a period as `exportPeriod` does. Throws what it throws, and `day_closed` if the ledger has dropped rows of the period since
 * `boundExport`: the rows that were passed on are incomplete then.
 */
export async function exportBound(pool: Pool, period: BoundExport, onRows: OnRows): Promise<void> {
  await exportPeriod(pool, period, onRows);
  const { since, completeFrom } = period;
  // After the rows, because a day can be dropped before its transaction begins.
  const floor = await readSettledFloor(pool);
  if (floor && floor > since && floor.getTime() !== completeFrom?.getTime())
    throw new TollwayError(
      'day_closed',
      `The ledger closed a day during the export, and has all clicks from ${floor.toISOString()} on: export again`,
    );
}

/**
 * Exports everything that was settled in [since, until), rejected clicks and credits included, in pages passed to `onRows`. `until` is at
 * most a settlement watermark that was read before. Rows are ordered by click id. Unreadable records, which have no click id, and rejected
 * clicks of days without a partition come last. A click that was rejected and later redriven is exported again with its new outcome.
 *
 * Each day has its own transaction: rows below the watermark do not change, and a transaction that reads thousands of partitions
 * exceeds PostgreSQL's lock table. Throws `day_closed` if maintenance drops a day during the export, or has dropped the clicks of credits that
 * the filter needs.
 */
export async function exportPeriod(pool: Pool, filter: ExportPeriod, onRows: OnRows): Promise<void> {
  const days = await listDays(pool);
  const range = rangeOf(days);
  await assertClicksOfCredits(pool, filter, range);
  for (const day of days) {
    const name = partitionName('ledger', day);
    const between: ClickIdRange = [uuidFloor(day), uuidFloor(day + DAY_MS)];
    await readPages(
      pool,
      settlementsQuery(name, 'click_id >= $3 and click_id < $4'),
      filter,
      between,
      onRows,
    ).catch((error: { code?: unknown }) => {
      if (error.code !== UNDEFINED_TABLE) throw error;
      throw new TollwayError(
        'day_closed',
        `The ledger closed ${isoDay(day)} during the export: export again`,
        {
          cause: error,
        },
      );
    });
  }
  const outside = 'click_id is null or click_id < $3 or click_id >= $4';
  await readPages(pool, settlementsQuery(null, outside), filter, range, onRows);
}

/** The days that have a partition, in Unix ms. */
function listDays(pool: Pool): Promise<number[]> {
  return inTransaction(pool, (connection) => listPartitionDays(connection, 'ledger'));
}

/** The click ids of these days. */
function rangeOf(days: readonly number[]): ClickIdRange {
  const [first, last] = [days.at(0) ?? 0, days.at(-1) ?? 0];
  return [uuidFloor(first), uuidFloor(last + DAY_MS)];
}

/**
 * Throws `day_closed` if the filter has a campaign or a publisher, and a credit of the period can be theirs whose click the ledger has dropped:
 * a credit names its advertiser alone.
 */
async function assertClicksOfCredits(
  pool: Pool,
  { since, until, advertiserId, campaignId, publisher }: ExportPeriod,
  [from, to]: ClickIdRange,
): Promise<void> {
  if (campaignId === undefined && publisher === undefined) return;
  const { rows } = await inTransaction(pool, (connection) =>
    connection.query<{ clickId: string }>(
      `select click_id as "clickId" from budget_entry
       where created_at >= $1 and created_at < $2 and (click_id < $3 or click_id >= $4)
         and ($5::integer is null or advertiser_id = $5)
         and ($6::integer is null or advertiser_id = (select advertiser_id from campaign where id = $6))
       limit 1`,
      [since, until, from, to, advertiserId ?? null, campaignId ?? null],
    ),
  );
  const [credit] = rows;
  if (credit)
    throw new TollwayError(
      'day_closed',
      `Expected the clicks of all credits in the ledger, got the credit of ${credit.clickId}, whose day the ledger has dropped: ` +
        'its campaign and publisher are not known any more. Export without them, or by advertiser, or another period',
    );
}

/**
 * Returns the time from which on the ledger has every row by time of settlement, rounded up to milliseconds, or `null` if no day with rows
 * was dropped. To know that an export was complete, call it after the export: a day can be dropped before its transaction begins.
 */
export async function readSettledFloor(pool: Pool): Promise<Date | null> {
  const { rows } = await pool.query<{ floor: Date }>(
    `select date_trunc('milliseconds', settled_floor + interval '999 microseconds') as floor from ledger_window
     where isfinite(settled_floor)`,
  );
  return rows[0]?.floor ?? null;
}

/**
 * Returns the upper bound of an export, never below `since`. The watermark can be below the bound of the export before; without the limit,
 * the next export would repeat rows.
 */
async function upperBoundOf(
  pool: Pool,
  { since, until }: ExportFilter & { readonly since: Date },
): Promise<Date> {
  assertPeriod({ since, ...(until && { until }) });
  // The clocks that stamp the rows: if the server's was set back, the bound of the export before is after it.
  const { rows } = await pool.query<{ now: Date }>('select settlement_now() as now');
  const now = rows[0]?.now;
  if (!now) throw new Error('Expected one row, got none');
  if (since > now) {
    throw new TollwayError(
      'bad_window',
      `Expected a beginning (since) in the past (it is ${now.toISOString()}), got ${since.toISOString()}`,
    );
  }
  const watermark = await readSettlementWatermark(pool);
  const bound = until && until < watermark ? until : watermark;
  return bound < since ? since : bound;
}

async function readPages(
  pool: Pool,
  entries: string,
  { since, until, advertiserId, campaignId, publisher }: ExportPeriod,
  between: ClickIdRange,
  onRows: (rows: readonly ExportRow[]) => Promise<void>,
): Promise<void> {
  await inTransaction(pool, async (connection: Connection) => {
    await connection.query(
      `declare ledger_export no scroll cursor for
       select entry.*, advertiser.currency from (${entries}) entry
       left join advertiser on advertiser.id = entry."advertiserId"
       where ($5::integer is null or "advertiserId" = $5) and ($6::integer is null or "campaignId" = $6)
         and ($7::text is null or publisher = $7)
       order by "clickId", "settledAt"`,
      [since, until, ...between, advertiserId ?? null, campaignId ?? null, publisher ?? null],
    );
    for (;;) {
      const { rows } = await connection.query<ExportRow>(`fetch ${PAGE_ROWS} from ledger_export`);
      if (rows.length > 0) await onRows(rows);
      if (rows.length < PAGE_ROWS) return;
    }
  });
}

/**
 * SQL that selects what was settled in [$1, $2): the rows of `partition` (`null`: no partition), and the dead letters and credits that
 * satisfy the condition `which` on `click_id`.
 */
function settlementsQuery(partition: string | null, which: string): string {
  const kind = (nonce: string) => `case when ${nonce} is null then 'evergreen' else 'impression' end`;
  const ledger = `select click_id as "clickId", nonce, advertiser_id as "advertiserId", campaign_id as "campaignId",
      ad_id as "adId", publisher, outcome::text, reason, charged_micros as "chargedMicros", clicked_at as "clickedAt",
      settled_at as "settledAt", spool_id as "spoolId", sequence, ${kind('nonce')} as kind
    from ${partition} where settled_at >= $1 and settled_at < $2 union all`;
  // A credit has the columns of its click if the ledger still has it. `from ledger where false` would lock every partition.
  const click = partition ?? NO_CLICK;
  return `${partition === null ? '' : ledger}
    select click_id as "clickId", nonce, advertiser_id as "advertiserId", campaign_id as "campaignId", ad_id as "adId", publisher,
      'rejected' as outcome, reason, 0 as "chargedMicros", clicked_at as "clickedAt", settled_at as "settledAt", spool_id as "spoolId", sequence,
      case when click_id is not null then ${kind('nonce')} end as kind
    from dead_letter where settled_at >= $1 and settled_at < $2 and (spool_id is not null or click_id is not null) and (${which})
    union all
    select entry.click_id, click.nonce, entry.advertiser_id, click.campaign_id, click.ad_id, click.publisher, 'credit', null,
      -entry.amount_micros, click.clicked_at, entry.created_at, click.spool_id, click.sequence, case when click.click_id is not null then ${kind('click.nonce')} end
    from (select * from budget_entry where click_id is not null and created_at >= $1 and created_at < $2 and (${which})) entry
    left join ${click} click using (click_id)`;
}

/** A subquery without rows, with the columns of the ledger that a credit uses. */
const NO_CLICK = `(select null::uuid as click_id, null::uuid as nonce, null::integer as campaign_id, null::integer as ad_id,
  null::text as publisher, null::timestamptz as clicked_at, null::uuid as spool_id, null::bigint as sequence where false)`;
