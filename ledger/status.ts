/** The values of `Status`. */
export const STATUSES = ['active', 'paused', 'archived'] as const;
/** The status of an advertiser, a campaign or an ad. Clicks are charged only if all three are active. Webhooks have the same statuses. */
export type Status = (typeof STATUSES)[number];
