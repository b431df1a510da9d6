/**
 * The events of `/v1/events`, as JSON. This file imports nothing, so that the page can import its types. Amounts are decimal strings in the
 * currency of the advertiser, times RFC 3339 in UTC. What a key that is restricted to advertisers does not get is marked "unrestricted".
 * `alive` means that the database answered and nothing has changed, `stale` that it does not answer: what was sent before is as of `asOf`.
 */
export type LiveEvent =
  | { readonly event: 'clicks'; readonly data: LiveClicks }
  | { readonly event: 'flow'; readonly data: LiveFlow }
  | { readonly event: 'budgets'; readonly data: readonly LiveBudgetRow[] }
  | { readonly event: 'reasons'; readonly data: LiveReasons }
  | { readonly event: 'top'; readonly data: LiveTop }
  | { readonly event: 'latest'; readonly data: readonly LiveClick[] }
  | { readonly event: 'books'; readonly data: LiveBooks }
  | { readonly event: 'problems'; readonly data: readonly LiveProblem[] }
  | { readonly event: 'health'; readonly data: LiveHealth }
  | { readonly event: 'alive'; readonly data: { readonly asOf: string } }
  | { readonly event: 'stale'; readonly data: { readonly asOf: string | null } };

/**
 * Clicks that were settled between `from` and `asOf`, by outcome. A redrive moves a click from `rejected` to another outcome, so a count can be
 * negative.
 */
export type LiveClicks = {
  readonly from: string;
  readonly asOf: string;
  readonly charged: number;
  readonly overBudget: number;
  readonly invalid: number;
  readonly rejected: number;
};

/** Unrestricted. Clicks since the beginning of the ledger, and how old those are that wait. */
export type LiveFlow = {
  readonly asOf: string;
  readonly accepted: number;
  readonly relayed: number;
  readonly settled: number;
  /** Age of the oldest click that waits in a spool, in seconds; `null`: not known. */
  readonly spoolOldestSeconds: number | null;
  /** Age of the oldest record that waits in the broker, in seconds; `null`: not known. */
  readonly brokerOldestSeconds: number | null;
  /** Time from a click to its row in the ledger, in seconds: the median of the latest clicks; `null` without one in the last minute. */
  readonly clickToChargeSeconds: number | null;
};

/** A budget. The first event has all, others have those that changed. */
export type LiveBudgetRow = {
  readonly advertiserId: number;
  readonly name: string;
  readonly currency: string;
  readonly status: 'active' | 'paused' | 'archived';
  readonly budget: string;
  readonly spent: string;
  readonly remaining: string;
  /** What is spent in an hour at the rate of the last 10 minutes; `null`: the console has watched it for less than 30 s. */
  readonly perHour: string | null;
  /** When nothing remains at this rate; `null` without a rate, or at the rate 0. */
  readonly exhaustedAt: string | null;
  /** Whether what remains pays for none of its ads. */
  readonly exhausted: boolean;
  /** Whether what remains has reached the highest threshold of `budget.low`. */
  readonly lowBudget: boolean;
  /** Whether it is one of the samples that `npm start` adds. */
  readonly isSample: boolean;
};

/** Clicks since `since` that were not charged, most first. Those that are `rejected` are unrestricted. */
export type LiveReasons = {
  readonly since: string;
  readonly rows: readonly {
    readonly outcome: 'over_budget' | 'invalid' | 'rejected';
    readonly reason: string;
    readonly clicks: number;
  }[];
};

/** The ads and publishers with the most clicks since `since`, at most 10 of each. `charged` is an amount. */
export type LiveTop = {
  readonly since: string;
  readonly ads: readonly {
    readonly adId: number;
    /** `null` for an ad without a name. */
    readonly adName: string | null;
    readonly advertiserId: number;
    readonly advertiserName: string;
    readonly campaignName: string;
    readonly clicks: number;
    readonly charged: string;
    readonly currency: string;
  }[];
  /** A publisher has a row for each currency; `null`: links without a publisher. */
  readonly publishers: readonly {
    readonly publisher: string | null;
    readonly clicks: number;
    readonly charged: string;
    readonly currency: string;
  }[];
};

/** One of the latest settled clicks, of which an event has at most 20, the newest first. */
export type LiveClick = {
  readonly clickId: string;
  readonly clickedAt: string;
  readonly settledAt: string;
  readonly outcome: 'charged' | 'over_budget' | 'invalid' | 'rejected';
  readonly reason: string | null;
  readonly adId: number | null;
  /** `null` for an ad without a name, and for a rejected click. */
  readonly adName: string | null;
  readonly advertiserName: string | null;
  readonly publisher: string | null;
  /** What was charged; `null` for other outcomes. */
  readonly price: string | null;
  readonly currency: string | null;
};

/** Unrestricted. The result of the reconciliation that a console runs every minute; `null` before the first one. */
export type LiveBooks = {
  readonly balanced: boolean;
  readonly checkedAt: string;
  /** Accepted clicks that are neither settled nor in the broker; `null`: the broker did not answer. */
  readonly missing: number | null;
  /** Clicks in the broker that are not settled; `null`: the broker did not answer. */
  readonly inFlight: number | null;
  readonly problemCount: number;
  /** The first 20 of them, a sentence each. */
  readonly problems: readonly string[];
} | null;

/** Unrestricted. Something that is wrong now. */
export type LiveProblem = {
  readonly code: string;
  readonly severity: 'page' | 'ticket';
  readonly summary: string;
  readonly since: string | null;
  /** The section of docs/runbook.md, such as `#tollwaybacklogold`. */
  readonly runbook: string;
};

/** Unrestricted. The health of each part: `ready`, or the problem in one line. */
export type LiveHealth = {
  readonly adServer: string;
  readonly processor: string;
  readonly database: string;
};

/** An event in the format of server-sent events. https://html.spec.whatwg.org/multipage/server-sent-events.html */
export function encodeEvent({ event, data }: LiveEvent): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
