import { errorCode, TollwayError } from '../../common/errors.ts';
import { type Connection, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidFloor } from '../../common/uuid.ts';
import { type AuditValues, recordAudit } from '../access/audit-log.ts';
import { type Actor, changeAs } from '../actor.ts';
import { isoDay, listPartitionDays, partitionName } from '../partitions.ts';

/** Longest wait for the lock of a day, in ms: charges of clicks of that day queue behind it. */
const LOCK_WAIT_MS = 250;
/** Time between two attempts to get the lock, in ms, and most attempts: a minute. */
const LOCK_RETRY_MS = 750;
const LOCK_ATTEMPTS_MAX = 60;
/** SQLSTATE: a lock was not available in time. */
const LOCK_NOT_AVAILABLE = '55P03';
/** Blocks of 8 KiB that one statement searches: about 100 000 rows, in some tens of ms. */
const BLOCKS_A_STATEMENT = 1_000;

/** Erases the evidence of one click. Returns how many clicks had evidence, 0 or 1. */
export function eraseEvidenceOfClick(pool: Pool, actor: Actor, clickId: string): Promise<number> {
  return changeAs(pool, actor, async (connection) => {
    const { rowCount } = await connection.query('delete from click_evidence where click_id = $1', [clickId]);
    const erased = rowCount ?? 0;
    await recordErasure(connection, clickId, { erased });
    return erased;
  });
}

function recordErasure(connection: Connection, subject: string, after: AuditValues | null): Promise<void> {
  return recordAudit(connection, { action: 'evidence.erase', subject, after });
}

/**
 * Erases the evidence of all clicks of a UTC day (its start in Unix ms) by truncating its partition. Returns how many rows were counted
 * just before. Throws `evidence_busy` if a long query or backup keeps the partition locked for a minute.
 */
export async function eraseEvidenceOfDay(pool: Pool, actor: Actor, dayMs: number): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await changeAs(pool, actor, async (connection) => {
        const erased = await truncateDay(connection, dayMs);
        await recordErasure(connection, isoDay(dayMs), { erased });
        return erased;
      });
    } catch (cause) {
      if (errorCode(cause) !== LOCK_NOT_AVAILABLE) throw cause;
      if (attempt >= LOCK_ATTEMPTS_MAX) {
        const message = `Expected to lock the evidence of ${isoDay(dayMs)} within a minute, but a query, a backup or maintenance uses it. Nothing was erased: end it and run the command again`;
        throw new TollwayError('evidence_busy', message, { cause });
      }
      await sleep(LOCK_RETRY_MS);
    }
  }
}

async function truncateDay(connection: Connection, dayMs: number): Promise<number> {
  if (!(await listPartitionDays(connection, 'click_evidence')).includes(dayMs)) return 0;
  const { rows } = await connection.query<{ count: bigint }>(
    `select count(*) from ${partitionName('click_evidence', dayMs)}`,
  );
  await connection.query(`set local lock_timeout = ${LOCK_WAIT_MS}`);
  await connection.query('select erase_evidence($1)', [isoDay(dayMs)]);
  return Number(rows[0]?.count ?? 0);
}

/**
 * Texts of networks that PostgreSQL's `inet` accepts: every IPv4 address or network, and IPv6 networks as the ad server writes them. A cast
 * of other texts, which other producers may send, would fail.
 */
const NETWORK_TEXT =
  '^(((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(/(3[0-2]|[12]?[0-9]))?' +
  '|([0-9a-f]{1,4}:){3}:/48)$';

/**
 * Erases the evidence of all clicks from a network such as `203.0.113.0/24`, or from the networks in it. Returns how many clicks. It deletes in
 * pieces, and no charge waits for it. The audit log has an entry before the first piece, in case the process dies.
 */
export async function eraseEvidenceOfNetwork(pool: Pool, actor: Actor, network: string): Promise<number> {
  await changeAs(pool, actor, (connection) => recordErasure(connection, network, null));
  const days = await inTransaction(pool, (connection) => listPartitionDays(connection, 'click_evidence'));
  let erased = 0;
  for (const day of days) {
    for (let block = 0; block < (await countBlocks(pool, day)); block += BLOCKS_A_STATEMENT) {
      const { rowCount } = await pool.query(
        `delete from click_evidence where click_id >= $1 and click_id < $2 and ctid >= $3 and ctid < $4
           and case when network ~ $5 then network::inet <<= $6::inet else false end`,
        [
          uuidFloor(day),
          uuidFloor(day + DAY_MS),
          `(${block},0)`,
          `(${block + BLOCKS_A_STATEMENT},0)`,
          NETWORK_TEXT,
          network,
        ],
      );
      erased += rowCount ?? 0;
    }
  }
  return erased;
}

/** Size of the evidence of a day in blocks of 8 KiB; 0 if the day was dropped. */
async function countBlocks(pool: Pool, dayMs: number): Promise<number> {
  const { rows } = await pool.query<{ blocks: number | null }>(
    `select (pg_relation_size(to_regclass($1)) / current_setting('block_size')::int)::int as blocks`,
    [partitionName('click_evidence', dayMs)],
  );
  return rows[0]?.blocks ?? 0;
}
