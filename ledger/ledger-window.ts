import type { Connection, Pool } from '../common/postgres/postgres.ts';

/**
 * The ids that the ledger accepts, by their time in Unix ms: floors are inclusive, `…AheadMs` exclusive. `nowMs` is the database's time.
 */
export type LedgerWindow = {
  readonly nowMs: number;
  readonly clickFloorMs: number;
  readonly clickAheadMs: number;
  readonly nonceFloorMs: number;
  readonly nonceAheadMs: number;
  /** `null`: no evidence is kept. */
  readonly evidenceFloorMs: number | null;
};

/** A row of `WINDOW_COLUMNS`. */
export type WindowRow = {
  now: Date;
  click_floor: Date;
  click_ahead: Date;
  nonce_floor: Date;
  nonce_ahead: Date;
  evidence_floor: Date | null;
};

/** SQL: the columns of a `WindowRow`, of `ledger_window` in the `from` clause. */
export const WINDOW_COLUMNS = 'now(), click_floor, click_ahead, nonce_floor, nonce_ahead, evidence_floor';

/** Reads the window. It stays valid for a transaction of some seconds, because days are dropped an hour after the floor was raised. */
export async function readWindow(database: Pool | Connection): Promise<LedgerWindow> {
  const { rows } = await database.query<WindowRow>(`select ${WINDOW_COLUMNS} from ledger_window`);
  return windowOf(rows[0]);
}

/** The window of its row. Throws if there is none. */
export function windowOf(row: WindowRow | undefined): LedgerWindow {
  if (!row) throw new Error('Expected one row in ledger_window, got none. Run npm run migrate');
  return {
    nowMs: row.now.getTime(),
    clickFloorMs: row.click_floor.getTime(),
    clickAheadMs: row.click_ahead.getTime(),
    nonceFloorMs: row.nonce_floor.getTime(),
    nonceAheadMs: row.nonce_ahead.getTime(),
    evidenceFloorMs: row.evidence_floor?.getTime() ?? null,
  };
}

/**
 * Begins a transaction that reads one snapshot of the ledger. The locks block the dropping of days and are taken before the snapshot: a day
 * that was dropped in between would be neither in the partitions nor in the closed days. Without `only`, every partition would be locked.
 */
export const BEGIN_SNAPSHOT = `begin isolation level repeatable read, read only;
  lock table only ledger, only spent_nonce in access share mode`;
