/** The types of webhook events. docs/webhooks.md describes them, and contract/webhook-events/ has a JSON Schema for each. */
export const WEBHOOK_EVENT_TYPES = [
  'budget.low',
  'budget.exhausted',
  'budget.available',
  'campaign.cap_reached',
  'campaign.started',
  'campaign.ended',
  'dead_letters.waiting',
  'books.out_of_balance',
] as const;
export type WebhookEventType = (typeof WEBHOOK_EVENT_TYPES)[number];

/** An amount of money as a decimal, such as `12.50`, in the currency of the advertiser. */
type Amount = string;
/** RFC 3339, such as `2026-01-31T12:00:00.000Z`. */
type Time = string;

type OfAdvertiser = { readonly advertiserId: number; readonly advertiserName: string };

type OfCampaign = OfAdvertiser & {
  readonly campaignId: number;
  readonly campaignName: string;
  /** The id of another system; `null` if the campaign has none. */
  readonly externalId: string | null;
};

export type BudgetLow = OfAdvertiser & {
  readonly currency: string;
  readonly remaining: Amount;
  /** The lowest threshold that the remaining budget has reached, in percent of `level`. */
  readonly percent: number;
  readonly threshold: Amount;
  /** What remained after the latest top-up or adjustment. */
  readonly level: Amount;
};

export type BudgetState = OfAdvertiser & {
  readonly currency: string;
  readonly remaining: Amount;
  /** The lowest price of the ads that the budget can be spent on. */
  readonly lowestPrice: Amount;
};

export type CapReached = OfCampaign & {
  readonly currency: string;
  /** Which of the campaign's caps. */
  readonly cap: 'total' | 'daily';
  /** The day of a daily cap in the time zone of the advertiser, such as `2026-01-31`; `null` for the total cap. */
  readonly day: string | null;
  readonly amount: Amount;
  readonly spent: Amount;
};

export type CampaignPeriod = OfCampaign & { readonly startsAt: Time | null; readonly endsAt: Time | null };

/** The data of an event by its type. */
export type WebhookEventData = {
  readonly 'budget.low': BudgetLow;
  readonly 'budget.exhausted': BudgetState;
  readonly 'budget.available': BudgetState;
  readonly 'campaign.cap_reached': CapReached;
  readonly 'campaign.started': CampaignPeriod;
  readonly 'campaign.ended': CampaignPeriod;
  /** `count`: dead letters that were not discarded. */
  readonly 'dead_letters.waiting': { readonly count: number };
  /** `problems`: the first of them, one sentence each. `count`: all. */
  readonly 'books.out_of_balance': { readonly count: number; readonly problems: readonly string[] };
};
