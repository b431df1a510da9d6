/** The texts of the view that sends sample clicks. */
export const tryTexts = {
  title: 'Try it',
  lead: 'Sends clicks on the sample ads as browsers do: through the ad server and the broker to the ledger. Only the sample advertisers are charged.',
  rate: 'Clicks per second',
  seconds: 'For how long',
  secondsUnit: 's',
  spike: 'As a spike: a tenth of the rate, then the full rate, then a tenth again',
  start: 'Send sample clicks',
  stop: 'Stop',
  running: (sent: string, total: string) => `${sent} of ${total} clicks sent`,
  done: 'What happened',
  exhausted: (names: string) =>
    `Exhausted budgets: ${names}. Their links still redirect; the clicks are not charged.`,
  balance: 'The books balance, 0 missing',
  sum: (accepted: string, [charged = '', overBudget = '', invalid = '', rejected = '']: readonly string[]) =>
    `Since the installation: ${accepted} clicks accepted = ${charged} charged + ${overBudget} over budget + ${invalid} invalid + ${rejected} rejected.`,
  topUpTitle: 'Sample budgets are exhausted',
  topUp: 'Top up the samples',
  topUpLead:
    'Adds the amount of the latest top-up to each sample budget, so that the next run is charged again.',
  toppedUp: (amounts: string) => `Topped up: ${amounts}`,
  webhooks: 'Tollway tells other programs of an exhausted budget.',
  webhooksLink: 'Webhooks and what was sent',
  none: 'There are no sample advertisers here.',
  noneLead: 'Sample clicks are only for installations that have the sample advertisers of `npm start`.',
} as const;
