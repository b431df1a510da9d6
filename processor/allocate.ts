import type { EdgeInvalidReason } from '../producer/click-event.ts';

/** What `allocate` has to know of a click. */
export type AllocatableClick = {
  readonly clickId: string;
  readonly nonce: string | null;
  readonly advertiserId: number;
  readonly campaignId: number;
  readonly priceMicros: number;
  readonly invalid: EdgeInvalidReason | null;
};

/** What is left, read under the advertisers' locks. */
export type Balances = {
  /** By advertiser, in micros. */
  readonly budgets: ReadonlyMap<number, bigint>;
  /** By campaign, in micros; a campaign without a cap is absent. */
  readonly caps: ReadonlyMap<number, bigint>;
  readonly spentNonces: ReadonlySet<string>;
};

export type Verdict =
  | { readonly outcome: 'charged'; readonly reason: null }
  | { readonly outcome: 'over_budget'; readonly reason: 'budget' | 'cap' }
  | { readonly outcome: 'invalid'; readonly reason: EdgeInvalidReason | 'repeat' };

export type Allocation<R> = {
  /** In order of click time, then click id. */
  readonly settled: readonly { readonly record: R; readonly verdict: Verdict }[];
  /** What each advertiser is charged, in micros above 0. */
  readonly chargedByAdvertiser: ReadonlyMap<number, bigint>;
  /** The same for campaigns that have a cap. */
  readonly chargedByCampaign: ReadonlyMap<number, bigint>;
};

const CHARGED: Verdict = { outcome: 'charged', reason: null };
const OVER_BUDGET: Verdict = { outcome: 'over_budget', reason: 'budget' };
const OVER_CAP: Verdict = { outcome: 'over_budget', reason: 'cap' };
const REPEAT: Verdict = { outcome: 'invalid', reason: 'repeat' };

/**
 * Decides who is charged: a pure function of records of clicks that are all different and were never settled, and of
 * what is left. A click that does not fit is `over_budget` and the next is tried. An invalid click spends
 * nothing, not even its nonce; the first valid one spends the nonce, whether or not there is money for it.
 */
export function allocate<R extends { readonly click: AllocatableClick }>(
  records: readonly R[],
  balances: Balances,
): Allocation<R> {
  const budgets = openAccounts(balances.budgets);
  const caps = openAccounts(balances.caps);
  const spentNow = new Set<string>();

  const judge = (click: AllocatableClick): Verdict => {
    if (click.invalid !== null) return { outcome: 'invalid', reason: click.invalid };
    if (click.nonce !== null) {
      if (balances.spentNonces.has(click.nonce) || spentNow.has(click.nonce)) return REPEAT;
      spentNow.add(click.nonce);
    }
    const price = BigInt(click.priceMicros);
    const budget = budgets.get(click.advertiserId);
    if (budget === undefined) throw new Error(`Expected the budget of advertiser ${click.advertiserId}`);
    if (price > budget.leftMicros) return OVER_BUDGET;
    const cap = caps.get(click.campaignId);
    if (cap !== undefined) {
      if (price > cap.leftMicros) return OVER_CAP;
      charge(cap, price);
    }
    charge(budget, price);
    return CHARGED;
  };

  // A click id is a UUIDv7: ordered by its text, it is ordered by time and then by id.
  const ordered = [...records].sort((a, b) => (a.click.clickId < b.click.clickId ? -1 : 1));
  const settled = ordered.map((record) => ({ record, verdict: judge(record.click) }));
  return { settled, chargedByAdvertiser: charges(budgets), chargedByCampaign: charges(caps) };
}

type Account = { leftMicros: bigint; chargedMicros: bigint };

function openAccounts(balances: ReadonlyMap<number, bigint>): Map<number, Account> {
  return new Map([...balances].map(([id, leftMicros]) => [id, { leftMicros, chargedMicros: 0n }]));
}

function charge(account: Account, micros: bigint): void {
  account.leftMicros -= micros;
  account.chargedMicros += micros;
}

function charges(accounts: ReadonlyMap<number, Account>): Map<number, bigint> {
  const sums = new Map<number, bigint>();
  for (const [id, { chargedMicros }] of accounts) if (chargedMicros > 0n) sums.set(id, chargedMicros);
  return sums;
}
