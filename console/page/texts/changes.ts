type StatusTexts = {
  readonly action: string;
  readonly title: (name: string) => string;
  readonly about: string;
  readonly done: (name: string) => string;
};

const resumed = (name: string): string => `${name} is active.`;
const paused = (name: string): string => `${name} is paused.`;
const archived = (name: string): string => `${name} is archived.`;

/** Where visitors of a link go. A status changes nothing about it. */
const REDIRECT =
  'still redirect: to the destination of the ad, or to the fallback URL of the campaign while the budget or a cap is exhausted or the campaign is held ahead of its plan';

type StatusChanges = Readonly<Record<'active' | 'paused' | 'archived', StatusTexts>>;

const statusTexts = (pause: string, resume: string, archive: string): StatusChanges => ({
  paused: { action: 'Pause', title: (name) => `Pause ${name}?`, about: pause, done: paused },
  active: { action: 'Resume', title: (name) => `Resume ${name}?`, about: resume, done: resumed },
  archived: { action: 'Archive', title: (name) => `Archive ${name}?`, about: archive, done: archived },
});

/** Texts of pause, resume and archive: what they do, and what they do not. */
export const statusChangeTexts = {
  advertiser: statusTexts(
    `All its links ${REDIRECT}. Clicks on them are not charged until you resume it. Budget, campaigns and ads stay as they are.`,
    'Clicks on the links of its active campaigns and ads are charged again, from now on.',
    `Lists leave it out, with its campaigns and ads. Clicks on its links are not charged. The links ${REDIRECT}. Nothing is deleted: ledger, reports and statements stay, and it can be resumed.`,
  ),
  campaign: statusTexts(
    `The links of its ads ${REDIRECT}. Clicks on them are not charged until you resume it. Caps and dates stay as they are.`,
    'Clicks on the links of its active ads are charged again, within its dates and caps.',
    `Lists leave it out, with its ads. Clicks on its links are not charged. The links ${REDIRECT}. Nothing is deleted: ledger and reports stay, and it can be resumed.`,
  ),
  ad: statusTexts(
    `Its links ${REDIRECT}. Clicks on them are not charged until you resume it.`,
    'Clicks on its links are charged again.',
    `Lists leave it out. Clicks on its links are not charged. The links ${REDIRECT}. Nothing is deleted: ledger and reports stay, and it can be resumed.`,
  ),
};

/** Whether clicks are charged, in one sentence. */
export const chargeTexts = {
  charging: 'Clicks are charged.',
  advertiser_paused: 'Clicks redirect and are not charged: the advertiser is paused.',
  advertiser_archived: 'Clicks redirect and are not charged: the advertiser is archived.',
  campaign_paused: 'Clicks redirect and are not charged: the campaign is paused.',
  campaign_archived: 'Clicks redirect and are not charged: the campaign is archived.',
  ad_paused: 'Clicks redirect and are not charged: the ad is paused.',
  ad_archived: 'Clicks redirect and are not charged: the ad is archived.',
  no_ad: 'Nothing is charged: the campaign has no active ad.',
  not_started: 'Clicks redirect and are not charged: the campaign has not started.',
  ended: 'Clicks redirect and are not charged: the campaign has ended.',
  budget: 'Clicks redirect and are not charged: the budget is exhausted. A top-up ends this at once.',
  cap: 'Clicks redirect and are not charged: the cap of the campaign is reached. A higher cap ends this.',
  pace: 'Visitors go to the fallback URL without a charge while the campaign is ahead of its plan.',
  daily_cap: 'Clicks redirect and are not charged: the daily cap is reached.',
} as const;

const priceAbove = (limit: string, end: string) => (price: string, amount: string) =>
  `Clicks redirect and are not charged: the price ${price} is above ${limit}${amount}. ${end}`.trimEnd();

/** The same where a click costs more than a limit, with the price and the limit. */
export const priceAboveTexts = {
  price_above_cap: priceAbove('the cap of the campaign of ', 'A higher cap or a lower price ends this.'),
  price_above_daily_cap: priceAbove('the daily cap of ', 'A higher daily cap or a lower price ends this.'),
  price_above_budget_left: priceAbove('what is left of the budget, ', 'A top-up ends this at once.'),
  price_above_cap_left: priceAbove('what is left of the cap of the campaign, ', 'A higher cap ends this.'),
  price_above_day_left: priceAbove('what is left of the daily cap, ', ''),
} as const;

/** What follows a reached daily cap, after the sentences above. */
export const nextDayTexts = {
  goesOn: (time: string, zone: string) => `The campaign goes on at ${time}, ${zone}.`,
  ends: 'The campaign ends before the next day.',
} as const;

/** Texts of the history of changes. */
export const historyTexts = {
  title: 'History',
  none: 'No changes yet',
  noneLead: 'Each change of the settings and of the budget is recorded here, with who made it.',
  by: (actor: string) => `by ${actor}`,
  cli: (user: string) => `${user} (command line)`,
  system: 'Tollway',
  database: (role: string) => `${role} (database)`,
  actions: {
    'advertiser.create': 'Advertiser created',
    'advertiser.update': 'Advertiser changed',
    'campaign.create': 'Campaign created',
    'campaign.update': 'Campaign changed',
    'ad.create': 'Ad added',
    'ad.update': 'Ad changed',
    'budget_entry.create': 'Budget entry',
    'webhook.create': 'Webhook created',
    'webhook.update': 'Webhook changed',
    'webhook.rotate_secret': 'Secret of a webhook renewed',
    'webhook.replay': 'Event sent to a webhook again',
    'webhook.test': 'Test event sent to a webhook',
    'api_key.create': 'API key created',
    'api_key.update': 'API key changed',
    'api_key.replace_secret': 'Text of an API key replaced',
    'api_key.revoke': 'API key revoked',
    'session.create': 'Logged in',
    'login_link.create': 'Login link printed',
    'links.create': 'Links signed',
    'dead_letter.redrive': 'Dead letter redriven',
    'dead_letter.discard': 'Dead letter discarded',
    'evidence.erase': 'Evidence erased',
    'ledger.maintain': 'Maintenance run',
    'spool.correct': 'Counts of a spool corrected',
    'spool.drain': 'Spool drained',
    'broker.rewind': 'Broker rewound',
    'failed_batches.redrive': 'Failed batches redriven',
  } as Readonly<Record<string, string>>,
  fields: {
    name: 'name',
    status: 'status',
    currency: 'currency',
    timeZone: 'time zone',
    lowBudgetPercents: 'low-budget thresholds',
    cap: 'cap',
    dailyCap: 'daily cap',
    pacing: 'pacing',
    hold: 'hold',
    startsAt: 'start',
    endsAt: 'end',
    fallbackUrl: 'fallback URL',
    externalId: 'external id',
    price: 'price',
    urlTemplate: 'destination',
    passParameters: 'parameters passed on',
    campaignId: 'campaign',
    kind: 'kind',
    amount: 'amount',
    reference: 'reference',
    clickId: 'click',
    url: 'address',
    eventTypes: 'events',
    advertiserId: 'advertiser',
    role: 'role',
    advertiserIds: 'restricted to advertisers',
    expiresAt: 'expires',
    revokedAt: 'revoked',
    by: 'with',
  } as Readonly<Record<string, string>>,
  noValue: 'none',
  allEvents: 'all events',
  yes: 'yes',
  no: 'no',
} as const;
