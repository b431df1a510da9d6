import { TollwayError } from '../../common/errors.ts';
import { formatAmount, parsePositiveAmount } from '../../common/money.ts';
import type { Connection } from '../../common/postgres/postgres.ts';
import { parseName } from '../../common/text.ts';
import { type Ad, type AdChanges, addAd, listAds, updateAd } from '../../ledger/accounts/ads.ts';
import { type PassList, parsePassList } from '../../ledger/accounts/pass-list.ts';
import { parseUrlTemplate } from '../../ledger/accounts/url-template.ts';
import { group, type Output, rowsCommand, withChange, withDatabase } from '../context.ts';
import {
  emptyText,
  filterOf,
  type ListOptions,
  SEARCH,
  withAdvertiserOption,
  withStatusOptions,
} from '../list-options.ts';
import { exceptNone, orNone, parseId } from '../parse.ts';
import { adPriceWarning } from '../price-warning.ts';
import { printNote, printRow } from '../print.ts';
import { beyondId, printPages } from '../print-pages.ts';

function toRow({ priceMicros, ...ad }: Ad) {
  const { id, advertiserId, advertiserName, campaignId, campaignName, name, urlTemplate, status } = ad;
  const { passParameters } = ad;
  const pass = passParameters.join(',');
  const price = formatAmount(priceMicros);
  return {
    ...{ id, advertiserId, advertiserName, campaignId, campaignName, name },
    ...{ price, urlTemplate, pass, status },
  };
}

async function change(id: number, changes: AdChanges, output: Output): Promise<void> {
  printRow(toRow(await withWarning((connection) => updateAd(connection, id, changes))), output);
}

/** Changes an ad, and then warns if a limit of its campaign or the rest of the budget is below its price. */
async function withWarning(work: (connection: Connection) => Promise<Ad>): Promise<Ad> {
  const { changed, warning } = await withChange(async (connection) => {
    const changed = await work(connection);
    return { changed, warning: await adPriceWarning(connection, changed) };
  });
  if (warning !== null) printNote(warning);
  return changed;
}

const PASS_MEANING =
  'query parameters of clicks that are passed on to the destination, such as utm_*,gclid; an empty text passes none';

type AddOptions = Output & {
  price: bigint;
  url: string;
  name?: string;
  pass?: PassList;
  advertiser?: number;
};

const add = rowsCommand('add', 'Add an ad to a campaign', [
  "ad add 1 --price 0.25 --url 'https://example.com/shoes?click={click_id}'",
  "ad add 1 --name 'Banner 300x250, hats' --price 0.25 --url 'https://example.com/hats?click={click_id}' --pass 'utm_*,gclid'",
])
  .argument('<campaign>', 'id of the campaign', parseId)
  .requiredOption('--price <amount>', 'price of a click, such as 0.25', parsePositiveAmount)
  .requiredOption(
    '--url <template>',
    'destination of clicks; {click_id}, {ad_id} and {campaign_id} are replaced',
    parseUrlTemplate,
  )
  .option('--name <name>', 'name of the ad, 1–200 characters', exceptNone(parseName, 'bad_name', 'a name'))
  .option('--pass <names>', PASS_MEANING, parsePassList)
  .option('--advertiser <id>', 'warn if the campaign belongs to another advertiser', parseId)
  .action(async (id: number, { price, url, name, pass, advertiser, format }: AddOptions) => {
    const added = await withWarning((connection) => addAd(connection, id, price, url, pass, name));
    if (advertiser !== undefined && advertiser !== added.advertiserId)
      printNote(
        `Warning: campaign ${id} (${added.campaignName}) belongs to advertiser ${added.advertiserId} (${added.advertiserName}), ` +
          `not to ${advertiser}. Ad ${added.id} was added. To remove it: npx tollway ad archive ${added.id}`,
      );
    printRow(toRow(added), { format });
  });

/** Ads of a read of the database: `--search` reads the names of all ads for each. */
const PAGE_ADS = 10_000;

const list = withStatusOptions(
  withAdvertiserOption(
    rowsCommand('list', 'List ads with their prices and destinations', [
      'ad list',
      'ad list --campaign 1 --status active --json',
      'ad list --search banner',
    ]),
  ).option('--campaign <id>', 'only those of this campaign', parseId),
)
  .option('--search <text>', SEARCH)
  .action(async (options: ListOptions) => {
    await withDatabase(async (pool) => {
      const filter = filterOf(options);
      const first = 'There are no ads: npx tollway ad add 1 --price 0.25 --url https://example.com/';
      await printPages(
        {
          read: beyondId<Ad>((page) => listAds(pool, { ...filter, ...page })),
          toRows: (ads) => ads.map(toRow),
          empty: emptyText(options, first),
          pageRows: PAGE_ADS,
        },
        options,
      );
    });
  });

type UpdateOptions = Output & { name?: string; price?: bigint; url?: string; pass?: PassList };

const update = rowsCommand(
  'update',
  'Change the name of an ad, or its price, destination or passed parameters for later clicks',
  [
    'ad update 1 --price 0.30',
    "ad update 1 --name 'Banner 300x250, blue'",
    "ad update 1 --pass 'utm_*,gclid,sub1'",
  ],
)
  .argument('<ad>', 'id of the ad', parseId)
  .option('--name <name>', 'new name, 1–200 characters; `none` removes it', orNone(parseName))
  .option('--price <amount>', 'new price of a click, such as 0.30', parsePositiveAmount)
  .option('--url <template>', 'new destination of clicks', parseUrlTemplate)
  .option('--pass <names>', PASS_MEANING, parsePassList)
  .action(async (id: number, { name, price, url, pass, format }: UpdateOptions) => {
    const changes: AdChanges = {
      ...(name === undefined ? {} : { name: name === 'none' ? null : name }),
      ...(price === undefined ? {} : { priceMicros: price }),
      ...(url === undefined ? {} : { urlTemplate: url }),
      ...(pass === undefined ? {} : { passParameters: pass }),
    };
    if (Object.keys(changes).length === 0)
      throw new TollwayError('bad_options', 'Expected --name, --price, --url or --pass, got none of them');
    await change(id, changes, { format });
  });

const pause = rowsCommand('pause', 'Pause an ad: its links still redirect, and clicks are not charged', [
  'ad pause 1',
])
  .argument('<ad>', 'id of the ad', parseId)
  .action((id: number, output: Output) => change(id, { status: 'paused' }, output));

const resume = rowsCommand('resume', 'Resume a paused or archived ad: its clicks are charged again', [
  'ad resume 1',
])
  .argument('<ad>', 'id of the ad', parseId)
  .action((id: number, output: Output) => change(id, { status: 'active' }, output));

const archive = rowsCommand('archive', 'Archive an ad: as pause, and lists leave it out', ['ad archive 1'])
  .argument('<ad>', 'id of the ad', parseId)
  .action((id: number, output: Output) => change(id, { status: 'archived' }, output));

export const ad = group('ad', 'Manage ads: each has a destination and a price of a click', [
  add,
  list,
  update,
  pause,
  resume,
  archive,
]);
