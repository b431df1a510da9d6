import type { EdgeInvalidReason } from '../contract/click-event.ts';

/** How a click ends in the ledger, and why. What is rejected gets a dead letter instead of a row. */
export type Verdict =
  | { readonly outcome: 'charged'; readonly reason: null }
  | { readonly outcome: 'over_budget'; readonly reason: 'budget' | 'cap' }
  | { readonly outcome: 'invalid'; readonly reason: EdgeInvalidReason | 'repeat' };
