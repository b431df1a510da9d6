import type { EdgeInvalidReason } from '../../contract/click-event.ts';
import type { Verdict } from '../../ledger/outcome.ts';

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

export type Allocation = {
  /** Decides about the next click. Throws where its advertiser's budget is not among the balances. */
  readonly judge: (click: AllocatableClick) => Verdict;
  /** What each advertiser was charged so far, in micros above 0. */
  readonly chargedByAdvertiser: () => Map<number, bigint>;
  /** The same for campaigns that have a cap. */
  readonly chargedByCampaign: () => Map<number, bigint>;
};

const CHARGED: Verdict = { outcome: 'charged', reason: null };
const OVER_BUDGET: Verdict = { outcome: 'over_budget', reason: 'budget' };
const OVER_CAP: Verdict = { outcome: 'over_budget', reason: 'cap' };
const REPEAT: Verdict = { outcome: 'invalid', reason: 'repeat' };

/**
 * Begins to decide who is charged: nothing counts but what is left and the clicks that were judged before, which have to come in order
 * of time and then id, all different and never settled. A click that does not fit is `over_budget` and the next is tried. An invalid
 * click spends nothing, not even its nonce; the first valid one spends the nonce, whether or not there is money for it.
 */
export function openAllocation(balances: Balances): Allocation {
  const budgets = openAccounts(balances.budgets);
  const caps = openAccounts(balances.caps);
  const spentNow = new Set<string>();

  return {
    judge: (click) => {
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
        cap.leftMicros -= price;
      }
      budget.leftMicros -= price;
      return CHARGED;
    },
    chargedByAdvertiser: () => chargesOf(budgets),
    chargedByCampaign: () => chargesOf(caps),
  };
}

type Account = { readonly balanceMicros: bigint; leftMicros: bigint };

function openAccounts(balances: ReadonlyMap<number, bigint>): Map<number, Account> {
  return new Map(
    [...balances].map(([id, balanceMicros]) => [id, { balanceMicros, leftMicros: balanceMicros }]),
  );
}

function chargesOf(accounts: ReadonlyMap<number, Account>): Map<number, bigint> {
  const sums = new Map<number, bigint>();
  for (const [id, { balanceMicros, leftMicros }] of accounts) {
    if (leftMicros < balanceMicros) sums.set(id, balanceMicros - leftMicros);
  }
  return sums;
}
