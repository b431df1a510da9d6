import { counted } from '../../common/counted.ts';
import type { Connection } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidV7TimeMs } from '../../common/uuid.ts';
import { readWindow } from '../ledger-window.ts';
import { dayStart, isoDay, partitionName } from '../partitions.ts';
import { readSpoolCounters } from '../spools/counters.ts';
import { countSequences, subtractSequences } from '../spools/sequence-ranges.ts';
import { findPartition } from './click-rows.ts';

/** Why nothing is stored about a click: it may still be under way, or not. */
export type MissingClick = { readonly state: 'in_flight' | 'unknown'; readonly explanation: string };

/** A click is settled within a second or two; while it is younger than this, in ms, nothing follows from its absence. */
const YOUNG_MS = 60_000;

/** Says whether a click without a row can still be under way, from the time in its id and from what the spools have accepted. */
export async function explainMissingClick(
  connection: Connection,
  id: string,
  clickAgeMaxDays: number,
): Promise<MissingClick> {
  const timeMs = uuidV7TimeMs(id);
  const time = new Date(timeMs).toISOString();
  const { nowMs } = await readWindow(connection);
  if (timeMs > nowMs + DAY_MS)
    return unknown(`The time in this id, ${time}, is in the future: no ad server makes such a click.`);
  if ((await findPartition(connection, 'ledger', id)) === null)
    return unknown(
      `The ledger has no clicks of ${isoDay(timeMs)}: it has dropped the day (LEDGER_RETENTION_DAYS), or the day was before its start. Reports and statements keep the sums of a dropped day.`,
    );
  if (nowMs - timeMs > clickAgeMaxDays * DAY_MS)
    return unknown(
      `The ledger has the day of this id and no such click or nonce. A click that arrived now would be rejected, because it is older than ${counted(clickAgeMaxDays, 'day')} (CLICK_AGE_MAX_DAYS).`,
    );
  const unsettled = await findUnsettled(connection, timeMs);
  if (unsettled !== null) return unsettled;
  if (nowMs - timeMs < YOUNG_MS)
    return inFlight('it would be less than a minute old, and its ad server may not have published it yet');
  if (!(await hasNewerClick(connection, id, timeMs, nowMs)))
    return inFlight('no newer click is settled, so its ad server may not have published it yet');
  return unknown(
    'There is no such click, dead letter or spent nonce, newer clicks are settled, and no published click waits. Only an ad server that cannot reach the broker could still have it.',
  );
}

/** Says whether the click of a link whose nonce is not spent can still be under way. */
export async function explainUnspentNonce(connection: Connection, nonce: string): Promise<MissingClick> {
  if ((await findPartition(connection, 'spent_nonce', nonce)) === null)
    return unknown(
      `The spent nonces of ${isoDay(uuidV7TimeMs(nonce))}, the day on which this link was made, are not kept any more (LINK_LIFE_MAX_DAYS), or the day is in the future.`,
    );
  const unsettled = await findUnsettled(connection, Number.POSITIVE_INFINITY);
  return (
    unsettled ??
    unknown(
      'No valid click on this link is settled. An invalid click does not spend the nonce of its link and is found only by its click id.',
    )
  );
}

function unknown(explanation: string): MissingClick {
  return { state: 'unknown', explanation };
}

function inFlight(why: string): MissingClick {
  return { state: 'in_flight', explanation: `It may still be under way: ${why}.` };
}

/**
 * Counts the clicks that spools have accepted and that are not settled: gaps below the watermark or below the highest settled sequence. A
 * spool that was made after `timeMs` cannot have accepted the click.
 */
async function findUnsettled(connection: Connection, timeMs: number): Promise<MissingClick | null> {
  let clicks = 0;
  let spools = 0;
  for (const [spoolId, { accepted, settled }] of await readSpoolCounters(connection)) {
    if (spoolMadeMs(spoolId) > timeMs) continue;
    const end = Math.max(accepted + 1, settled.at(-1)?.end ?? 1);
    const gaps = countSequences(subtractSequences([{ start: 1, end }], settled));
    clicks += gaps;
    if (gaps > 0) spools += 1;
  }
  if (clicks === 0) return null;
  const text = `${counted(clicks, 'accepted click', 'accepted clicks')} of ${counted(spools, 'spool')}`;
  return inFlight(
    `it can be one of ${text} that ${clicks === 1 ? 'is' : 'are'} not settled; npx tollway reconcile says whether they wait or are missing`,
  );
}

/** The time at which a spool was made, in Unix ms; 0 for an id that has no time, such as that of unattributed clicks. */
function spoolMadeMs(spoolId: string): number {
  return spoolId.charAt(14) === '7' ? uuidV7TimeMs(spoolId) : 0;
}

/** Whether a click with a higher id is settled. */
async function hasNewerClick(
  connection: Connection,
  id: string,
  timeMs: number,
  nowMs: number,
): Promise<boolean> {
  for (let day = dayStart(timeMs); day <= nowMs; day += DAY_MS) {
    const { rowCount } = await connection.query(
      `select from ${partitionName('ledger', day)} where click_id > $1 limit 1`,
      [id],
    );
    if ((rowCount ?? 0) > 0) return true;
  }
  return false;
}
