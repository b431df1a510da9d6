import { advertiserTexts } from './texts/advertisers.ts';
import { adTexts, campaignTexts } from './texts/campaigns.ts';
import {
  chargeTexts,
  historyTexts,
  nextDayTexts,
  priceAboveTexts,
  statusChangeTexts,
} from './texts/changes.ts';
import { clicks } from './texts/clicks.ts';
import { credits } from './texts/credits.ts';
import { live } from './texts/live.ts';
import { operations } from './texts/operations.ts';
import { reports } from './texts/reports.ts';
import { statements } from './texts/statements.ts';
import { tryTexts } from './texts/try.ts';

/**
 * Every text that the page shows, in English. To translate the page, translate this file and the folder `texts`, which
 * has a file for each view. Names of advertisers, reasons of errors and the like come from the API.
 */
export const texts = {
  product: 'Tollway',
  navigation: {
    label: 'Views',
    live: 'Live',
    advertisers: 'Advertisers',
    campaigns: 'Campaign',
    ads: 'Ad',
    reports: 'Reports',
    statements: 'Statements',
    clicks: 'Clicks',
    operations: 'Operations',
    try: 'Try it',
    reference: 'API reference',
    skip: 'Skip to the content',
  },
  session: {
    menu: 'Account',
    role: (role: string) => `Role: ${role}`,
    restricted: (count: number) => (count === 1 ? 'One advertiser' : `${count} advertisers`),
    unrestricted: 'All advertisers',
    logOut: 'Log out',
    theme: { label: 'Colours', system: 'As the system', light: 'Light', dark: 'Dark' },
  },
  login: {
    title: 'Log in',
    lead: 'Log in with an API key. An operator creates one on a terminal:',
    command: 'npx tollway key create --role manager --name "Your name"',
    link: 'On the machine of the console, this prints a link that logs you in without a key:',
    linkCommand: 'npx tollway login',
    key: 'API key',
    submit: 'Log in',
    wrongKey: 'This is no valid API key of this installation. It may be mistyped, revoked or expired.',
    waiting: {
      database: {
        title: 'The database does not answer',
        clicks:
          'The console runs, but its database does not answer it. Redirects go on. Their clicks are recorded and wait; each is charged when the database answers again.',
        runbook: 'docs/runbook.md#tollwaydatabasedown',
      },
      console: {
        title: 'The console does not answer',
        clicks: 'Redirects and charges go on without it.',
        runbook: 'docs/runbook.md#tollwayconsoledown',
      },
      runbook: 'What to do:',
      other: 'The console cannot log you in now',
      since: (at: string, duration: string) =>
        `Since ${at} (${duration}). The page tries again by itself and opens when it gets an answer.`,
    },
  },
  connection: {
    connecting: 'Connecting',
    live: 'Live',
    late: (age: string) => `${age} old`,
    refused: 'No live numbers',
    disconnected: (age: string) => `Disconnected, ${age} old`,
    explain: {
      connecting: 'Waiting for the first numbers of the console.',
      live: 'The numbers are those of this second.',
      late: 'The console answers, but its database does not. The numbers are as old as it says here.',
      disconnected: 'The console does not answer. The page connects again by itself.',
    },
  },
  errors: {
    unknownAdvertiser: (text: string) => `Expected the name of one advertiser, got “${text}”`,
    unreachable:
      'The console does not answer. Check that it runs; nothing was changed, or the answer was lost.',
    title: 'This did not work',
    retry: 'Try again',
    fields: (count: number) => (count === 1 ? 'Correct the marked field.' : 'Correct the marked fields.'),
    incomplete: 'This is half filled in. Complete it, or remove it.',
    stale:
      'This has changed since you opened it, so nothing was saved now. Read it again: what you have entered stays, the other fields get the new values.',
    lost: 'The console does not answer. It may have done this already, and the answer was lost. Try again: it is done once.',
    readAgain: 'Read again',
    notFound: { title: 'No such page', lead: 'The address has no page.', back: 'Go to the live view' },
    forbidden: 'Your role does not include this view.',
  },
  controls: {
    cancel: 'Cancel',
    close: 'Close',
    save: 'Save',
    copy: 'Copy',
    copied: 'Copied',
    discard: {
      question: 'What you have entered is not saved.',
      keep: 'Keep editing',
      discard: 'Discard',
    },
    more: 'Load more',
    loading: 'Loading',
    search: 'Search',
    all: 'All',
    optional: 'optional',
    actions: 'Actions',
    edit: 'Edit',
    remove: (name: string) => `Remove ${name}`,
    ofTotal: (count: string) => `${count} shown`,
  },
  status: { active: 'Active', paused: 'Paused', archived: 'Archived' } as Readonly<Record<string, string>>,
  outcomes: {
    charged: 'Charged',
    over_budget: 'Over budget',
    invalid: 'Invalid',
    rejected: 'Rejected',
  } as Readonly<Record<string, string>>,
  reasons: {
    budget: 'budget exhausted',
    cap: 'cap of the campaign reached',
    daily_cap: 'daily cap reached',
    pace: 'ahead of its pace',
    bot: 'bot',
    not_navigation: 'not opened by a person',
    expired: 'link expired',
    paused: 'paused',
    not_running: 'outside of the dates of the campaign',
    double_click: 'double click',
    repeat: 'link clicked before',
    malformed: 'malformed event',
    unknown_version: 'unknown version',
    unknown_ad: 'unknown ad',
    wrong_advertiser: 'wrong advertiser',
    too_old: 'too old',
    id_out_of_range: 'id out of range',
    nonce_out_of_range: 'nonce out of range',
    poison: 'cannot be processed',
  } as Readonly<Record<string, string>>,
  live,
  try: tryTexts,
  clicks,
  credits,
  operations,
  reports,
  statements,
  units: {
    milliseconds: (count: string) => `${count} ms`,
    seconds: (count: string) => `${count} s`,
    minutes: (count: string) => `${count} min`,
    hours: (count: string) => `${count} h`,
    days: (count: string) => (count === '1' ? '1 day' : `${count} days`),
    perSecond: '/s',
    ago: (duration: string) => `${duration} ago`,
    in: (duration: string) => `in ${duration}`,
    now: 'now',
    never: 'never',
    zone: (zone: string) => `Time zone: ${zone}`,
    asCharged: 'Charged, as first reported: credits do not lower it',
  },
  advertisers: advertiserTexts,
  campaigns: campaignTexts,
  ads: adTexts,
  statusChange: statusChangeTexts,
  charge: chargeTexts,
  priceAbove: priceAboveTexts,
  nextDay: nextDayTexts,
  history: historyTexts,
} as const;

/** The name of an outcome or a reason; one that is new to the page is shown as it is. */
export const nameOfOutcome = (outcome: string): string => texts.outcomes[outcome] ?? outcome;
export const nameOfReason = (reason: string): string => texts.reasons[reason] ?? reason;
