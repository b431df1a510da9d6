import { formatAmount } from '../common/money.ts';
import type { Statement } from './accounts/statement.ts';
import type { ClickStory } from './clicks/click-story.ts';
import type { ListedClick } from './clicks/list-clicks.ts';
import type { AdvertiserReconciliation, Reconciliation } from './reconciliation/reconcile.ts';
import type { Report, ReportRow } from './reports/report.ts';

/** The JSON of reports, statements, click stories and reconciliations, which the command line prints and the HTTP API answers with. */

/** Amounts are decimal strings in the currency of the row, times RFC 3339. */
export function reportJson({ since, until, asOf, timeZone, rows }: Report) {
  const times = { since: since.toISOString(), until: until.toISOString(), asOf: asOf.toISOString() };
  return { ...times, timeZone, rows: rows.map(reportRowJson) };
}

/** One row of `reportJson`. */
export function reportRowJson({ hour, clicks, chargedMicros, correctedMicros, ...keys }: ReportRow) {
  return {
    ...(hour === undefined ? {} : { hour: hour.toISOString() }),
    ...keys,
    clicks: Number(clicks),
    charged: formatAmount(chargedMicros),
    corrected: formatAmount(correctedMicros),
  };
}

/** Amounts are decimal strings in the currency of the statement. */
export function statementJson(found: Statement) {
  const { advertiserId, month, timeZone, currency, asOf } = found;
  return {
    advertiserId,
    month,
    timeZone,
    currency,
    asOf: asOf.toISOString(),
    opening: formatAmount(found.openingMicros),
    entries: found.entries.map(({ at, kind, amountMicros, reference }) => ({
      at: at.toISOString(),
      kind,
      amount: formatAmount(amountMicros),
      reference,
    })),
    charges: found.charges.map(({ campaignId, campaignName, adId, adName, clicks, amountMicros }) => ({
      campaignId,
      campaignName,
      adId,
      adName,
      clicks: Number(clicks),
      amount: formatAmount(amountMicros),
    })),
    credits: found.credits.map(({ month, clicks, amountMicros }) => ({
      month,
      amount: formatAmount(amountMicros),
      clicks: Number(clicks),
    })),
    closing: formatAmount(found.closingMicros),
    gross: Number(found.gross),
    invalid: found.invalid.map(({ reason, clicks }) => ({ reason, clicks: Number(clicks) })),
    net: Number(found.net),
  };
}

/** Amounts are decimal strings in the currency of the advertiser; `null` where something is not known. */
export function clickStoryJson(story: ClickStory) {
  const { clickId, state, outcome, reason, explanation } = story;
  return {
    clickId,
    state,
    outcome,
    reason,
    explanation,
    clickedAt: story.clickedAt?.toISOString() ?? null,
    publishedAt: story.publishedAt?.toISOString() ?? null,
    settledAt: story.settledAt?.toISOString() ?? null,
    duplicates: story.duplicates,
    price: amountOrNull(story.priceMicros),
    charged: amountOrNull(story.chargedMicros),
    credited: amountOrNull(story.creditedMicros),
    adId: story.adId,
    adName: story.adName,
    campaignId: story.campaignId,
    campaignName: story.campaignName,
    advertiserId: story.advertiserId,
    advertiserName: story.advertiserName,
    publisher: story.publisher,
    nonce: story.nonce,
    spoolId: story.spoolId,
    sequence: story.sequence === null ? null : Number(story.sequence),
    evidence: story.evidence,
    history: story.history.map(({ at, event }) => ({ at: at.toISOString(), event })),
  };
}

/** A click of a list. Amounts are decimal strings in its currency. */
export function listedClickJson({
  clickedAt,
  settledAt,
  chargedMicros,
  creditedMicros,
  ...click
}: ListedClick) {
  const { clickId, currency, ...fields } = click;
  return {
    ...{ clickId, clickedAt: clickedAt.toISOString(), settledAt: settledAt.toISOString(), ...fields },
    ...{ charged: formatAmount(chargedMicros), credited: formatAmount(creditedMicros), currency },
  };
}

/** Amounts are decimal strings in the currency of each advertiser; `charged` is `null` without a recount of the ledger. */
export function reconciliationJson(reconciliation: Reconciliation) {
  return {
    ...reconciliation,
    spools: reconciliation.spools.map((spool) => ({ ...spool, gaps: [...spool.gaps] })),
    problems: [...reconciliation.problems],
    advertisers: reconciliation.advertisers.map((advertiser) => ({
      ...balanceJson(advertiser),
      charged: amountOrNull(advertiser.chargedMicros),
      balanced: advertiser.balanced,
    })),
  };
}

/** The balance of an advertiser: what its entries add up to, and what is stored. */
export function balanceJson(advertiser: AdvertiserReconciliation) {
  const { id, name, currency } = advertiser;
  return {
    ...{ id, name, currency },
    budget: formatAmount(advertiser.budgetMicros),
    entered: formatAmount(advertiser.enteredMicros),
    spent: formatAmount(advertiser.spentMicros),
    remaining: formatAmount(advertiser.remainingMicros),
  };
}

function amountOrNull(micros: bigint | null): string | null {
  return micros === null ? null : formatAmount(micros);
}
