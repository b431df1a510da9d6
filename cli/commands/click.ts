import { findLinkKeys } from '../../common/config/link-key-file.ts';
import { errorCode, TollwayError } from '../../common/errors.ts';
import { formatAmount } from '../../common/money.ts';
import { printable } from '../../common/text.ts';
import { creditClick } from '../../ledger/accounts/budget-entries.ts';
import { parseClickId, parseClickReference } from '../../ledger/clicks/click-reference.ts';
import { type ClickStory, readClickStory } from '../../ledger/clicks/click-story.ts';
import { clickStoryJson } from '../../ledger/output-json.ts';
import { command, group, type Output, withChange, withDatabase } from '../context.ts';
import { creditFile, creditList, printCredits } from '../credit-list.ts';
import { parseId } from '../parse.ts';
import { type Format, printJson, printLine } from '../print.ts';
import { withName } from '../with-name.ts';
import { list } from './click-list.ts';

/** Lines of a name and a value for a person. Amounts have their currency, ids their names. */
function printStory(story: ClickStory): void {
  const { price, charged, credited, history, evidence: _, ...fields } = clickStoryJson(story);
  const money = (amount: string | null) => amount && `${amount} ${story.currency ?? ''}`.trimEnd();
  const named = (id: number | null, name: string | null) => id && withName(id, name);
  const shown = {
    ...fields,
    price: money(price),
    charged: money(charged),
    credited: money(credited),
    adId: named(story.adId, story.adName),
    campaignId: named(story.campaignId, story.campaignName),
    advertiserId: named(story.advertiserId, story.advertiserName),
  };
  for (const name of SHOWN) printField(name, [String(shown[name] ?? '')]);
  printField('evidence', evidenceTexts(story.evidence));
  printField(
    'history',
    history.map(({ at, event }) => `${at} ${event}`),
  );
}

/** Writes a name, and its values below each other. */
function printField(name: string, values: readonly string[]): void {
  for (const [index, value] of values.entries())
    printLine(`${(index === 0 ? name : '').padEnd(12)} ${printable(value)}`.trimEnd());
}

function evidenceTexts(evidence: ClickStory['evidence']): string[] {
  if (evidence === null) return [''];
  const { subIds, ...fields } = evidence;
  return Object.entries({ ...fields, ...subIds }).flatMap(([name, value]) =>
    value === null ? [] : `${name}: ${value}`,
  );
}

/** The fields in the order in which a person reads them. */
const SHOWN = [
  'clickId',
  'state',
  'outcome',
  'reason',
  'explanation',
  'price',
  'charged',
  'credited',
  'advertiserId',
  'campaignId',
  'adId',
  'publisher',
  'clickedAt',
  'publishedAt',
  'settledAt',
  'duplicates',
  'nonce',
  'spoolId',
  'sequence',
] as const;

const show = command(
  'show',
  'Show what happened to a click: whether it was charged, why or why not, and when',
  [
    'click show 01a208fb-f934-70de-beaa-9335acbb4502',
    "click show 'https://ads.example.com/c/1.k1.1.01a21ba33a9672ba847f2368bf3f75a0.1798352011.DB3fn70U9rML6DsR15Tm9Q'",
  ],
  'there is no such click and none can be under way',
)
  .argument(
    '<click>',
    'id of the click, as in the header Tollway-Click; or the nonce of an impression link, or the link',
  )
  .action(async (text: string, { format }: Output) => {
    await withDatabase(async (pool, { config }) => {
      const keys = findLinkKeys(config);
      const reference = parseClickReference(text, { keys, lifeMaxDays: config.LINK_LIFE_MAX_DAYS });
      const story = await readClickStory(pool, reference, config.CLICK_AGE_MAX_DAYS);
      if (story.state === 'unknown') process.exitCode = 1;
      if (format === 'json') printJson(clickStoryJson(story));
      else printStory(story);
    });
  });

type CreditOptions = Output & { file?: string; advertiser?: number };

const credit = command(
  'credit',
  'Credit the charges of clicks to their advertisers, each once',
  ['click credit 01a208fb-f934-70de-beaa-9335acbb4502', 'click credit --file clicks.ndjson --advertiser 1'],
  'a click could not be credited',
)
  .argument(
    '[click id...]',
    'ids of clicks, as in the header Tollway-Click',
    (text: string, ids: string[] = []) => [...ids, parseClickId(text)],
  )
  .option(
    '--file <path>',
    'file with an id a line, or lines of an export in NDJSON or CSV; - for standard input',
  )
  .option('--advertiser <id>', 'refuse clicks of other advertisers', parseId)
  .action(async (ids: string[] = [], { file, advertiser, format }: CreditOptions) => {
    if (ids.length > 0 === (file !== undefined))
      throw new TollwayError(
        'bad_options',
        `Expected click ids or --file, got ${ids.length > 0 ? 'both' : 'neither'}`,
      );
    const [clickId = ''] = ids;
    if (ids.length === 1) return creditOne(clickId, advertiser, format);
    await withDatabase(async (pool) => {
      const summary = await (file === undefined
        ? creditList(pool, ids, advertiser)
        : creditFile(pool, file, advertiser));
      printCredits(summary, format);
    });
  });

async function creditOne(clickId: string, only: number | undefined, format: Format): Promise<void> {
  const { advertiser, entered, amountMicros } = await withChange(
    (connection) =>
      creditClick(connection, clickId, only === undefined ? null : [only]).catch((error: unknown) => {
        if (only === undefined || errorCode(error) !== 'unknown_click') throw error;
        throw new TollwayError('unknown_click', `The ledger has no click ${clickId} of advertiser ${only}`);
      }),
    'Repeat the command: a click is credited once',
  );
  const amount = formatAmount(amountMicros);
  const remaining = formatAmount(advertiser.remainingMicros);
  if (format === 'json') printJson({ clickId, advertiserId: advertiser.id, amount, entered, remaining });
  else if (entered)
    printLine(`Credited ${amount} ${advertiser.currency} to ${advertiser.name}, which has ${remaining} left`);
  else printLine('This click was credited before: nothing was added');
}

export const click = group('click', 'Show and correct clicks', [list, show, credit]);
