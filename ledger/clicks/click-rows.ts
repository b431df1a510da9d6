import type { Connection } from '../../common/postgres/postgres.ts';
import { isUuidV7, uuidV7TimeMs } from '../../common/uuid.ts';
import { readRecord } from '../../contract/read-record.ts';
import { type Partitioned, partitionName } from '../partitions.ts';
import { readSeenDuplicates } from '../spools/seen-duplicates.ts';
import { readEvidence, type StoredEvidence } from './evidence.ts';

/** The ids of a click, as the ledger or a dead letter has them. */
type ClickIds = {
  readonly advertiserId: number | null;
  readonly campaignId: number | null;
  readonly adId: number | null;
  readonly publisher: string | null;
  readonly nonce: string | null;
  readonly spoolId: string | null;
  readonly sequence: bigint | null;
  readonly clickedAt: Date | null;
};

/** The row of a click in the ledger. */
export type LedgerClick = ClickIds & {
  readonly outcome: string;
  readonly reason: string | null;
  readonly chargedMicros: bigint;
  readonly settledAt: Date;
};

/** A dead letter of a click. */
export type ClickLetter = ClickIds & {
  readonly id: bigint;
  readonly reason: string;
  readonly detail: string;
  /** The price in its record; `null` after a discard. */
  readonly priceMicros: bigint | null;
  readonly settledAt: Date;
  readonly discardedAt: Date | null;
};

export type ClickRedrive = {
  readonly letterId: bigint;
  readonly reason: string;
  readonly rejectedAt: Date;
  readonly redrivenAt: Date;
  readonly outcome: string;
};

export type ClickCredit = { readonly advertiserId: number; readonly micros: bigint; readonly at: Date };

/** Everything that is stored about a click. */
export type ClickRows = {
  readonly clickId: string;
  readonly ledger: LedgerClick | null;
  /** Oldest first. */
  readonly letters: readonly ClickLetter[];
  readonly redrives: readonly ClickRedrive[];
  readonly credits: readonly ClickCredit[];
  /** `null`: none, or not kept any more. */
  readonly evidence: StoredEvidence | null;
  /** When copies of it arrived after it was settled, oldest first. `null` for a click without a spool id. */
  readonly duplicates: readonly Date[] | null;
};

const IDS = `advertiser_id as "advertiserId", campaign_id as "campaignId", ad_id as "adId", publisher, nonce, spool_id as "spoolId", sequence,
  clicked_at as "clickedAt"`;

/**
 * Reads everything that is stored about a click, or returns `null`. It names the partition of the day in the id: planning a query of the
 * parent takes longer with each partition. Call it in a transaction that was begun with `BEGIN_SNAPSHOT`, so that the day is not dropped.
 */
export async function readClickRows(connection: Connection, clickId: string): Promise<ClickRows | null> {
  const ledger = await readLedger(connection, clickId);
  const { rows: letters } = await connection.query<Omit<ClickLetter, 'priceMicros'> & { raw: Buffer | null }>(
    `select ${IDS}, id, reason, detail, raw, settled_at as "settledAt", discarded_at as "discardedAt"
     from dead_letter where click_id = $1 order by id`,
    [clickId],
  );
  const { rows: redrives } = await connection.query<ClickRedrive>(
    `select dead_letter_id as "letterId", reason, rejected_at as "rejectedAt", redriven_at as "redrivenAt", outcome
     from dead_letter_redrive where click_id = $1 order by redriven_at`,
    [clickId],
  );
  const { rows: credits } = await connection.query<ClickCredit>(
    `select advertiser_id as "advertiserId", amount_micros as micros, created_at as at from budget_entry where click_id = $1`,
    [clickId],
  );
  if (ledger === null && letters.length + redrives.length + credits.length === 0) return null;
  return {
    clickId,
    ledger,
    letters: letters.map(({ raw, ...letter }) => ({ ...letter, priceMicros: priceIn(raw) })),
    redrives,
    credits,
    evidence: await readEvidence(connection, clickId),
    duplicates: await readDuplicates(connection, ledger ?? letters[0] ?? null),
  };
}

async function readDuplicates(connection: Connection, click: ClickIds | null): Promise<Date[] | null> {
  if (click === null || click.spoolId === null || click.sequence === null) return null;
  return readSeenDuplicates(connection, click.spoolId, click.sequence);
}

async function readLedger(connection: Connection, clickId: string): Promise<LedgerClick | null> {
  const partition = await findPartition(connection, 'ledger', clickId);
  if (partition === null) return null;
  const { rows } = await connection.query<LedgerClick>(
    `select ${IDS}, outcome::text, reason, charged_micros as "chargedMicros", settled_at as "settledAt"
     from ${partition} where click_id = $1`,
    [clickId],
  );
  return rows[0] ?? null;
}

/** The partition that has the time of an id, or `null` if the table has none. */
export async function findPartition(
  connection: Connection,
  table: Partitioned,
  id: string,
): Promise<string | null> {
  const { rows } = await connection.query<{ name: string | null }>(
    'select to_regclass(quote_ident($1))::text as name',
    [partitionName(table, uuidV7TimeMs(id))],
  );
  return rows[0]?.name ?? null;
}

/** The price in the record of a dead letter: the only place that has the price of a click that was not charged. */
function priceIn(raw: Buffer | null): bigint | null {
  const record = readRecord({ key: null, value: raw }, '');
  return record.is === 'click' ? BigInt(record.click.priceMicros) : null;
}

/**
 * The click that has spent a nonce, or `null`. Only the first valid click of a link spends its nonce; without one, this is a rejected
 * click with the nonce. Invalid clicks are not found.
 */
export async function findClickOfNonce(connection: Connection, nonce: string): Promise<string | null> {
  const partition = await findPartition(connection, 'spent_nonce', nonce);
  const spent = partition === null ? [] : await clickIdsOf(connection, partition, nonce);
  const [clickId = null] = spent.length > 0 ? spent : await clickIdsOf(connection, 'dead_letter', nonce);
  return clickId;
}

async function clickIdsOf(connection: Connection, table: string, nonce: string): Promise<string[]> {
  const { rows } = await connection.query<{ clickId: string | null }>(
    `select click_id as "clickId" from ${table} where nonce = $1 order by 1 limit 1`,
    [nonce],
  );
  return rows.flatMap(({ clickId }) => (clickId !== null && isUuidV7(clickId) ? clickId : []));
}
