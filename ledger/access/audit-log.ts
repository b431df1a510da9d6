import { formatAmount } from '../../common/money.ts';
import type { Connection, Pool } from '../../common/postgres/postgres.ts';
import { assertPeriod } from '../period.ts';
import { readSettlementWatermark } from '../settlement-watermark.ts';

/** The values of the changed columns, by names such as `fallbackUrl`. Amounts are decimal strings under names such as `dailyCap`. */
export type AuditValues = Readonly<Record<string, unknown>>;

/** A change that was recorded. */
export type AuditEntry = {
  readonly id: bigint;
  readonly at: Date;
  readonly actorType: 'key' | 'cli' | 'system' | 'database';
  /** The id of the API key, the user of the command line, the component, or the role of the database session. */
  readonly actor: string;
  /** Name and role of the API key at that time. */
  readonly actorName: string | null;
  readonly actorRole: string | null;
  /** Such as `campaign.update`. */
  readonly action: string;
  /** The id of what was changed. */
  readonly subject: string;
  /** `null` if the subject belongs to no advertiser. */
  readonly advertiserId: number | null;
  /** The currency of the amounts; `null` without an advertiser. */
  readonly currency: string | null;
  /** `null` for something new. */
  readonly before: AuditValues | null;
  readonly after: AuditValues | null;
};

/** Limits the audit log. */
export type AuditFilter = {
  /** Only entries of these advertisers, and none without an advertiser. */
  readonly advertiserIds?: readonly number[];
  /** Only changes of this actor: the text of `actor` or `actorName`. */
  readonly actor?: string;
  /** Such as `campaign.update`, or `campaign` for all actions that begin with `campaign.`. */
  readonly action?: string;
  readonly subject?: string;
  /** Inclusive lower bound of the time. */
  readonly since?: Date;
  /** Exclusive upper bound of the time. */
  readonly until?: Date;
};

/** Entries held in memory at once. */
const PAGE_ENTRIES = 1_000;

/** Returns up to `limit` entries, newest first; with `after` only those below that id. Throws `bad_window`. */
export async function listAudit(
  database: Pool | Connection,
  { after, limit, ...filter }: AuditFilter & { readonly after?: bigint; readonly limit: number },
): Promise<AuditEntry[]> {
  assertPeriod(filter);
  return readEntries(database, filter, 'entry.id < $1', after ?? null, 'desc', limit);
}

/** A filter whose end is at most the settlement watermark: no entry is added before it any more. */
export type AuditPeriod = AuditFilter & { readonly until: Date };

/**
 * Returns the period that can be exported: up to the settlement watermark, or to the end of the filter if that is earlier. The watermark can
 * be below the end of the export before. The end is not below a beginning up to the present: otherwise the next export would repeat entries.
 * Throws `bad_window`.
 */
export async function boundAudit(pool: Pool, filter: AuditFilter): Promise<AuditPeriod> {
  assertPeriod(filter);
  const { rows } = await pool.query<{ now: Date }>('select settlement_now() as now');
  const now = rows[0]?.now;
  if (!now) throw new Error('Expected one row, got none');
  const watermark = await readSettlementWatermark(pool);
  const { since, until } = filter;
  const bound = since && since > watermark && since <= now ? since : watermark;
  return { ...filter, until: until && until < bound ? until : bound };
}

/** Exports the entries of a period in pages, oldest first. The next export can begin at its end. */
export async function exportAudit(
  pool: Pool,
  period: AuditPeriod,
  onEntries: (entries: readonly AuditEntry[]) => Promise<void>,
): Promise<void> {
  let after: bigint | null = null;
  for (;;) {
    const page: AuditEntry[] = await readEntries(pool, period, 'entry.id > $1', after, 'asc', PAGE_ENTRIES);
    if (page.length > 0) await onEntries(page);
    if (page.length < PAGE_ENTRIES) return;
    after = page.at(-1)?.id ?? null;
  }
}

/** Adds an entry for a change that no trigger records, in the transaction of the change. */
export async function recordAudit(
  connection: Connection,
  entry: {
    readonly action: string;
    readonly subject: string;
    readonly advertiserId?: number | null;
    readonly before?: AuditValues | null;
    readonly after?: AuditValues | null;
  },
): Promise<void> {
  const { action, subject, advertiserId = null, before = null, after = null } = entry;
  await connection.query('select write_audit_entry($1, $2, $3, $4, $5)', [
    action,
    subject,
    advertiserId,
    before,
    after,
  ]);
}

/** The values with amounts as text: a number of JSON is not exact above 2^53. */
const VALUES = (column: string) =>
  `(select jsonb_object_agg(key, case when key like '%\\_micros' then to_jsonb(value #>> '{}') else value end)
    from jsonb_each(entry.${column})) as ${column}`;

async function readEntries(
  database: Pool | Connection,
  { advertiserIds, actor, action, subject, since, until }: AuditFilter,
  beyond: string,
  after: bigint | null,
  order: 'asc' | 'desc',
  limit: number,
): Promise<AuditEntry[]> {
  const { rows } = await database.query<AuditEntry>(
    `select entry.id, entry.at, actor_type as "actorType", actor, actor_name as "actorName", actor_role as "actorRole", action, subject,
       advertiser_id as "advertiserId", advertiser.currency, ${VALUES('before')}, ${VALUES('after')}
     from audit_entry entry left join advertiser on advertiser.id = advertiser_id
     where ($1::bigint is null or ${beyond}) and ($2::integer[] is null or advertiser_id = any($2))
       and ($3::text is null or actor = $3 or actor_name = $3)
       and ($4::text is null or action = $4 or starts_with(action, $4 || '.'))
       and ($5::text is null or subject = $5)
       and ($6::timestamptz is null or entry.at >= $6) and ($7::timestamptz is null or entry.at < $7)
     order by entry.id ${order} limit $8`,
    [
      ...[after, advertiserIds ?? null, actor ?? null, action ?? null, subject ?? null, since ?? null],
      ...[until ?? null, limit],
    ],
  );
  return rows.map((row) => ({ ...row, before: toValues(row.before), after: toValues(row.after) }));
}

function toValues(columns: AuditValues | null): AuditValues | null {
  if (columns === null) return null;
  return Object.fromEntries(
    Object.entries(columns).map(([column, value]) =>
      column.endsWith('_micros')
        ? [
            camelCase(column.slice(0, -'_micros'.length)),
            value === null ? null : formatAmount(BigInt(String(value))),
          ]
        : [camelCase(column), value],
    ),
  );
}

function camelCase(column: string): string {
  return column.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
