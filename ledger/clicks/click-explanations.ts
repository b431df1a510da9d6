import type { RejectReason } from '../charge/dead-letters.ts';
import type { Verdict } from '../charge/outcome.ts';

type Reason = Exclude<Verdict['reason'], null> | RejectReason;

/** Why a click with this reason was not charged: a clause for each reason of docs/concepts.md. */
export const EXPLANATIONS: Readonly<Record<Reason, string>> = {
  budget: 'what was left of the budget of the advertiser was less than the price of the click',
  cap: 'what was left of the cap of the campaign was less than the price of the click',
  daily_cap: 'what was left of the daily cap of the campaign was less than the price of the click',
  pace: 'the campaign was ahead of its plan for the day, and the visitor was sent to the fallback URL',
  bot: 'the user agent names a robot or a program',
  not_navigation:
    'a page loaded the link as an image, a script or by fetch, so it was not a click of a visitor',
  expired: 'the impression link had expired',
  paused: 'the ad, its campaign or its advertiser was paused or archived',
  not_running: 'the campaign had not started yet or was over',
  double_click: 'the same visitor had clicked the same link a moment before (DOUBLE_CLICK_MS)',
  repeat: 'an earlier valid click had used the impression link, and a link is charged once',
  malformed: 'the record is not a click event',
  unknown_version: 'the click event has a version that the processor did not know',
  unknown_ad: 'the ad was not in the database',
  wrong_advertiser: 'the ad belongs to another campaign or advertiser than the record names',
  too_old: 'the record arrived more than CLICK_AGE_MAX_DAYS after the click',
  id_out_of_range: 'the ledger had no partition for the day of the click',
  nonce_out_of_range:
    'the ledger did not keep the nonces of the day on which the link was made any more, or not yet',
  poison: 'charging this record failed again and again, although a test charge of another click succeeded',
};

const BY_REASON = new Map<string, string>(Object.entries(EXPLANATIONS));

/** Why a click was or was not charged, in one sentence. A reason without an explanation is named as it is. */
export function explainOutcome(outcome: string, reason: string | null): string {
  if (reason === null)
    return 'It was charged: it was valid, and what was left of the budget of the advertiser and the cap of the campaign covered its price.';
  const verdict = outcome === 'rejected' ? 'It was rejected and not charged' : 'It was not charged';
  return `${verdict}: ${BY_REASON.get(reason) ?? reason}.`;
}
