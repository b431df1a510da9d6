import { counted } from '../common/counted.ts';
import { formatAmount } from '../common/money.ts';
import type { Pool } from '../common/postgres/postgres.ts';
import { withWholeFile } from '../common/whole-file.ts';
import { changeAs } from '../ledger/actor.ts';
import {
  CREDIT_CLICKS_MAX,
  type CreditResult,
  creditClicks,
  refusalOf,
} from '../ledger/clicks/credit-clicks.ts';
import { explainCommit } from './commit-unknown.ts';
import { cliActor } from './context.ts';
import { type Format, printJson, printLine, printNote } from './print.ts';
import { readClickIds } from './read-click-ids.ts';

/** Most clicks that could not be credited that a result names. */
const REFUSED_MAX = 20;

const REPEAT = 'Repeat the command: a click is credited once';

type Refused = { readonly clickId: string; readonly result: string; readonly reason: string };

/** What became of the clicks of a list. Its size does not depend on the length of the list. */
export class CreditSummary {
  private readonly counts = new Map<CreditResult['result'], number>();
  private readonly micros = new Map<string, bigint>();
  private readonly refused: Refused[] = [];
  /** Lines of an export that were no charges. */
  passedOver = 0;

  count(result: CreditResult['result']): number {
    return this.counts.get(result) ?? 0;
  }

  add(result: CreditResult): void {
    this.counts.set(result.result, this.count(result.result) + 1);
    if (result.result === 'credited')
      this.micros.set(result.currency, (this.micros.get(result.currency) ?? 0n) + result.amountMicros);
    const reason = refusalOf(result);
    if (reason !== null && this.refused.length < REFUSED_MAX)
      this.refused.push({ clickId: result.clickId, result: result.result, reason });
  }

  /** How many clicks could not be credited. */
  get refusedCount(): number {
    return (['not_charged', 'other_advertiser', 'unknown', 'day_closed'] as const).reduce(
      (sum, result) => sum + this.count(result),
      0,
    );
  }

  toJson() {
    return {
      credited: this.count('credited'),
      amounts: [...this.micros].map(([currency, micros]) => ({ currency, amount: formatAmount(micros) })),
      alreadyCredited: this.count('already_credited'),
      notCharged: this.count('not_charged'),
      otherAdvertiser: this.count('other_advertiser'),
      unknown: this.count('unknown'),
      dayClosed: this.count('day_closed'),
      passedOver: this.passedOver,
      refused: this.refused,
    };
  }
}

/** Where the click ids of a run come from. `null`: a line that is passed over. */
type ClickIds = AsyncIterable<string | null> | Iterable<string>;

/**
 * Credits the clicks of a list, `CREDIT_CLICKS_MAX` in a transaction. If it ends with an error, a note on standard error says how many were
 * credited. Throws what `creditClicks` throws, and `commit_unknown`.
 */
export async function creditList(
  pool: Pool,
  clickIds: ClickIds,
  advertiserId: number | undefined,
): Promise<CreditSummary> {
  const summary = new CreditSummary();
  const creditChunk = async (chunk: ReadonlySet<string>) => {
    const filter = advertiserId === undefined ? {} : { advertiserId };
    const results = await changeAs(pool, cliActor(), (connection) =>
      creditClicks(connection, [...chunk], filter),
    );
    for (const result of results) summary.add(result);
  };
  let chunk = new Set<string>();
  try {
    for await (const clickId of clickIds) {
      if (clickId === null) summary.passedOver += 1;
      else chunk.add(clickId);
      if (chunk.size < CREDIT_CLICKS_MAX) continue;
      await creditChunk(chunk);
      chunk = new Set();
    }
    if (chunk.size > 0) await creditChunk(chunk);
    return summary;
  } catch (error) {
    const done = summary.count('credited');
    if (done > 0)
      printNote(`Stopped by an error after ${counted(done, 'click')} had been credited. ${REPEAT}`);
    throw explainCommit(error, REPEAT);
  }
}

/**
 * As `creditList`, with the click ids of a file, or of standard input for `-`. Reads all of it before it credits the first one, so a line that is
 * wrong changes nothing. Throws what `readClickIds` and `creditList` throw.
 */
export function creditFile(
  pool: Pool,
  file: string,
  advertiserId: number | undefined,
): Promise<CreditSummary> {
  return withWholeFile(file, process.stdin, async (path, name) => {
    for await (const _ of readClickIds(path, name));
    return creditList(pool, readClickIds(path, name), advertiserId);
  });
}

const SHOWN = [
  ['alreadyCredited', 'Credited before'],
  ['notCharged', 'Not charged'],
  ['otherAdvertiser', 'Of another advertiser'],
  ['unknown', 'Unknown'],
  ['dayClosed', 'Of a closed day'],
  ['passedOver', 'Lines of the export that are no charges'],
] as const;

/** Prints what became of the clicks, and sets the exit code to 1 if one could not be credited. */
export function printCredits(summary: CreditSummary, format: Format): void {
  if (summary.refusedCount > 0) process.exitCode = 1;
  const json = summary.toJson();
  if (format === 'json') return printJson(json);
  const sums = json.amounts.map(({ currency, amount }) => `${amount} ${currency}`).join(', ');
  printLine(`Credited ${counted(json.credited, 'click')}${sums === '' ? '' : `: ${sums}`}`);
  for (const [name, text] of SHOWN) if (json[name] > 0) printLine(`${text}: ${json[name]}`);
  if (json.refused.length === 0) return;
  const isCut = summary.refusedCount > json.refused.length;
  printLine(`Could not be credited${isCut ? ` (the first ${json.refused.length})` : ''}:`);
  for (const { clickId, reason } of json.refused) printLine(`  ${clickId}: ${reason}`);
}
