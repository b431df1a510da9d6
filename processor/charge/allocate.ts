import type { EdgeInvalidReason } from '../../contract/click-event.ts';
import type { CampaignDay, DayCharge } from '../../ledger/charge/campaign-days.ts';
import type { Verdict } from '../../ledger/charge/outcome.ts';

/** The fields of a click that decide its outcome. */
export type AllocatableClick = {
  readonly clickId: string;
  readonly nonce: string | null;
  readonly advertiserId: number;
  readonly campaignId: number;
  readonly priceMicros: number;
  /** Unix ms. It decides the day of a daily cap. */
  readonly clickedAt: number;
  readonly invalid: EdgeInvalidReason | null;
  /** Whether the ad server sent the visitor to the fallback URL because the campaign was ahead of its plan. */
  readonly held?: boolean;
};

/** Remaining money and spent nonces, read while the advertisers are locked. */
export type Balances = {
  /** By advertiser, in micros. */
  readonly budgets: ReadonlyMap<number, bigint>;
  /** By campaign, in micros; a campaign without a cap is absent. */
  readonly caps: ReadonlyMap<number, bigint>;
  /** The days with a daily cap, by campaign. */
  readonly days: ReadonlyMap<number, readonly CampaignDay[]>;
  readonly spentNonces: ReadonlySet<string>;
};

export type Allocation = {
  /** Decides the next click. Throws if the balances have no budget of its advertiser. */
  readonly decide: (click: AllocatableClick) => Verdict;
  /** Sum charged so far by advertiser, in micros; only sums above 0. */
  readonly chargedByAdvertiser: () => Map<number, bigint>;
  /** Sum charged so far by campaign with a cap, in micros; only sums above 0. */
  readonly chargedByCampaign: () => Map<number, bigint>;
  /** Sum charged so far by day with a daily cap; only sums above 0. */
  readonly chargedByDay: () => DayCharge[];
};

const CHARGED: Verdict = { outcome: 'charged', reason: null };
const OVER_BUDGET: Verdict = { outcome: 'over_budget', reason: 'budget' };
const OVER_CAP: Verdict = { outcome: 'over_budget', reason: 'cap' };
const OVER_DAILY_CAP: Verdict = { outcome: 'over_budget', reason: 'daily_cap' };
const HELD: Verdict = { outcome: 'over_budget', reason: 'pace' };
const REPEAT: Verdict = { outcome: 'invalid', reason: 'repeat' };

/**
 * Decides the outcomes of clicks from the balances and from the clicks decided before. The clicks must come in order of time, then id, must
 * differ, and must not be settled yet. A click that costs more than what remains is `over_budget`; a later, cheaper click can still be
 * charged. A held click is not charged, whatever remains. An invalid click spends neither money nor its nonce. The first valid click spends
 * the nonce, even if it is over budget.
 */
export function openAllocation(balances: Balances): Allocation {
  const budgets = openAccounts(balances.budgets);
  const caps = openAccounts(balances.caps);
  const days = openDays(balances.days);
  const spentNow = new Set<string>();

  return {
    decide: (click) => {
      if (click.invalid !== null) return { outcome: 'invalid', reason: click.invalid };
      if (click.nonce !== null) {
        if (balances.spentNonces.has(click.nonce) || spentNow.has(click.nonce)) return REPEAT;
        spentNow.add(click.nonce);
      }
      if (click.held) return HELD;
      const price = BigInt(click.priceMicros);
      const budget = budgets.get(click.advertiserId);
      if (budget === undefined) throw new Error(`Expected the budget of advertiser ${click.advertiserId}`);
      if (price > budget.leftMicros) return OVER_BUDGET;
      const cap = caps.get(click.campaignId);
      if (cap !== undefined && price > cap.leftMicros) return OVER_CAP;
      const day = days.get(click.campaignId)?.find(({ of }) => isWithin(of, click.clickedAt));
      if (day !== undefined && price > day.leftMicros) return OVER_DAILY_CAP;
      budget.leftMicros -= price;
      if (cap !== undefined) cap.leftMicros -= price;
      if (day !== undefined) day.leftMicros -= price;
      return CHARGED;
    },
    chargedByAdvertiser: () => chargesOf(budgets),
    chargedByCampaign: () => chargesOf(caps),
    chargedByDay: () =>
      [...days.values()].flat().flatMap(({ of, balanceMicros, leftMicros }) => {
        return leftMicros < balanceMicros ? [{ of, micros: balanceMicros - leftMicros }] : [];
      }),
  };
}

type Account = { readonly balanceMicros: bigint; leftMicros: bigint };

function openAccounts(balances: ReadonlyMap<number, bigint>): Map<number, Account> {
  return new Map(
    [...balances].map(([id, balanceMicros]) => [id, { balanceMicros, leftMicros: balanceMicros }]),
  );
}

type DayAccount = Account & { readonly of: CampaignDay };

function openDays(days: Balances['days']): Map<number, DayAccount[]> {
  const opened = new Map<number, DayAccount[]>();
  for (const [campaignId, found] of days) {
    const accounts = found.map((of) => {
      const balanceMicros = of.capMicros - of.spentMicros;
      return { of, balanceMicros, leftMicros: balanceMicros };
    });
    opened.set(campaignId, accounts);
  }
  return opened;
}

function isWithin({ beginsAt, endsAt }: CampaignDay, timeMs: number): boolean {
  return timeMs >= beginsAt && timeMs < endsAt;
}

function chargesOf(accounts: ReadonlyMap<number, Account>): Map<number, bigint> {
  const sums = new Map<number, bigint>();
  for (const [id, { balanceMicros, leftMicros }] of accounts) {
    if (leftMicros < balanceMicros) sums.set(id, balanceMicros - leftMicros);
  }
  return sums;
}
