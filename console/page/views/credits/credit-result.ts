import type * as z from 'zod';
import { csvLine } from '../../../../common/csv.ts';
import type { Credits } from '../../../api/routes/credits.ts';
import { sumAmounts } from '../../amounts.ts';
import { nameOfOutcome, nameOfReason, texts } from '../../texts.ts';

const words = texts.credits.result;

/** The answer of the API to one request. */
export type CreditAnswer = z.input<typeof Credits>;

/** A click that was not credited. `result` is as in the command line. */
export type Refused = {
  readonly clickId: string;
  readonly result: 'not_charged' | 'other_advertiser' | 'unknown' | 'day_closed';
  readonly advertiserId: number | null;
  readonly outcome: string | null;
  readonly reason: string | null;
};

/** What became of the clicks of a list so far. `add` counts the answer of a request. */
export class CreditResult {
  credited = 0;
  alreadyCredited = 0;
  readonly refused: Refused[] = [];
  private readonly sums = new Map<string, string>();

  add(answer: CreditAnswer): void {
    this.credited += answer.credited.length;
    this.alreadyCredited += answer.alreadyCredited.length;
    for (const { currency, amount } of answer.amounts)
      this.sums.set(currency, sumAmounts([this.sums.get(currency) ?? '0', amount]));
    for (const one of refusedOf(answer)) this.refused.push(one);
  }

  /** Sums of what was credited, one for each currency. */
  get amounts(): readonly { readonly currency: string; readonly amount: string }[] {
    return [...this.sums].map(([currency, amount]) => ({ currency, amount }));
  }
}

function refusedOf({ notCharged, otherAdvertiser, unknown, dayClosed }: CreditAnswer): Refused[] {
  const nothing = { advertiserId: null, outcome: null, reason: null };
  return [
    ...notCharged.map((click): Refused => ({ ...click, result: 'not_charged' })),
    ...otherAdvertiser.map((click): Refused => ({ ...nothing, ...click, result: 'other_advertiser' })),
    ...unknown.map((clickId): Refused => ({ ...nothing, clickId, result: 'unknown' })),
    ...dayClosed.map((clickId): Refused => ({ ...nothing, clickId, result: 'day_closed' })),
  ];
}

/** Refused clicks with the same reason: how many, and the first of them. */
export type RefusedGroup = { readonly reason: string; count: number; readonly first: string[] };

/** The refused clicks by reason in words, the most frequent first, with at most `firstMax` ids each. */
export function groupRefused(refused: readonly Refused[], firstMax: number): readonly RefusedGroup[] {
  const groups = new Map<string, RefusedGroup>();
  for (const click of refused) {
    const reason = reasonOf(click);
    const group = groups.get(reason) ?? { reason, count: 0, first: [] };
    groups.set(reason, group);
    group.count += 1;
    if (group.first.length < firstMax) group.first.push(click.clickId);
  }
  return [...groups.values()].sort((a, b) => b.count - a.count);
}

function reasonOf({ result, outcome, reason }: Refused): string {
  if (result !== 'not_charged') return words.reasons[result];
  return words.notCharged(nameOfOutcome(outcome ?? ''), reason === null ? null : nameOfReason(reason));
}

const COLUMNS = ['clickId', 'result', 'advertiserId', 'outcome', 'reason'] as const;

/** All refused clicks as CSV, with the codes of the command line. */
export function refusedCsv(refused: readonly Refused[]): string {
  const lines = refused.map((click) => csvLine(COLUMNS.map((name) => click[name])));
  return [csvLine(COLUMNS), ...lines].map((line) => `${line}\r\n`).join('');
}
