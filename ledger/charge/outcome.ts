import type { EdgeInvalidReason } from '../../contract/click-event.ts';

/** The outcome of a click in the ledger and its reason. A rejected click gets a dead letter instead of a row. */
export type Verdict =
  | { readonly outcome: 'charged'; readonly reason: null }
  | { readonly outcome: 'over_budget'; readonly reason: 'budget' | 'cap' | 'daily_cap' | 'pace' }
  | { readonly outcome: 'invalid'; readonly reason: EdgeInvalidReason | 'repeat' };
