import { TollwayError } from '../../common/errors.ts';
import { type Connection, joinTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { WATERMARK_MAX } from '../../contract/click-event.ts';
import type { Page } from '../list-filter.ts';
import { mergeCountersOfSpool } from './merge-counters.ts';

/** A correction of the number of clicks that a spool has accepted. */
export type SpoolCorrection = {
  readonly id: bigint;
  readonly spoolId: string;
  readonly acceptedBefore: bigint;
  readonly acceptedAfter: bigint;
  readonly reason: string;
  /** The database role that made the correction. */
  readonly correctedBy: string;
  readonly correctedAt: Date;
};

const COLUMNS = `id, spool_id as "spoolId", accepted_before as "acceptedBefore", accepted_after as "acceptedAfter", reason,
  corrected_by as "correctedBy", corrected_at as "correctedAt"`;

/**
 * Replaces the highest watermark of a spool by `accepted` and records the correction. It is for a wrong watermark: a forged one, or one of
 * a spool whose disk was lost. A higher watermark that arrives later replaces the correction, also the wrong one if a rewind reads it
 * again.
 *
 * Clicks that were settled with sequences above `accepted` count as accepted in addition. `reason` has 1–500 characters. Throws
 * `unknown_spool`, `bad_count`, `bad_reason`.
 */
export async function correctSpool(
  database: Pool | Connection,
  spoolId: string,
  accepted: number,
  reason: string,
): Promise<SpoolCorrection> {
  if (!Number.isSafeInteger(accepted) || accepted < 0 || accepted > WATERMARK_MAX) {
    throw new TollwayError('bad_count', `Expected 0–${WATERMARK_MAX} clicks, got ${accepted}`);
  }
  if (reason.length < 1 || reason.length > 500) {
    throw new TollwayError(
      'bad_reason',
      `Expected a reason of 1–500 characters, got ${reason.length} characters`,
    );
  }
  return joinTransaction(database, async (connection) => {
    await mergeCountersOfSpool(connection, spoolId);
    // The row lock serializes corrections: `accepted_before` of one is `accepted_after` of the one before.
    const { rows: totals } = await connection.query<{ accepted: bigint }>(
      'select accepted from spool_total where spool_id = $1 for update',
      [spoolId],
    );
    const [total] = totals;
    if (!total)
      throw new TollwayError('unknown_spool', `Expected the id of a spool in the database, got ${spoolId}`);
    await connection.query('update spool_total set accepted = $2 where spool_id = $1', [spoolId, accepted]);
    const { rows } = await connection.query<SpoolCorrection>(
      `insert into spool_correction (spool_id, accepted_before, accepted_after, reason) values ($1, $2, $3, $4) returning ${COLUMNS}`,
      [spoolId, total.accepted, accepted, reason],
    );
    const [correction] = rows;
    if (!correction) throw new Error('Expected the correction that was inserted');
    return correction;
  });
}

/** Returns the corrections of all spools, oldest first. */
export async function listSpoolCorrections(
  pool: Pool,
  { after = 0n, limit }: Page<bigint> = {},
): Promise<SpoolCorrection[]> {
  const { rows } = await pool.query<SpoolCorrection>(
    `select ${COLUMNS} from spool_correction where id > $1 order by id limit $2::bigint`,
    [after, limit ?? null],
  );
  return rows;
}

/** Returns the id of the latest correction that is not among the latest `count`, or `null` if there is none. */
export async function readCorrectionBefore(pool: Pool, count: number): Promise<bigint | null> {
  const { rows } = await pool.query<{ id: bigint }>(
    'select id from spool_correction order by id desc offset $1 limit 1',
    [count],
  );
  return rows[0]?.id ?? null;
}
