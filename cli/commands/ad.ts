import { parseUrlTemplate } from '../../ad-server/links/url-template.ts';
import { TollwayError } from '../../common/errors.ts';
import { formatAmount, parsePositiveAmount } from '../../common/money.ts';
import { type Ad, type AdChanges, addAd, listAds, updateAd } from '../../ledger/ads.ts';
import { command, group, withDatabase } from '../context.ts';
import { parseId } from '../parse.ts';
import { printJson, printTable } from '../print.ts';

type Json = { json?: boolean };

function toRow({ id, advertiserId, campaignId, priceMicros, urlTemplate, status }: Ad) {
  return { id, advertiserId, campaignId, price: formatAmount(priceMicros), urlTemplate, status };
}

async function change(id: number, changes: AdChanges, json: boolean | undefined): Promise<void> {
  await withDatabase(async (pool) => {
    const row = toRow(await updateAd(pool, id, changes));
    if (json) printJson(row);
    else printTable([row], '');
  });
}

const add = command('add', 'Add an ad to a campaign', [
  "ad add 1 --price 0.25 --url 'https://example.com/shoes?click={click_id}'",
])
  .argument('<campaign>', 'id of the campaign', parseId)
  .requiredOption('--price <amount>', 'price of a click, such as 0.25', parsePositiveAmount)
  .requiredOption(
    '--url <template>',
    'destination of clicks; {click_id}, {ad_id} and {campaign_id} are replaced',
    parseUrlTemplate,
  )
  .action(async (id: number, { price, url, json }: Json & { price: bigint; url: string }) => {
    await withDatabase(async (pool) => {
      const row = toRow(await addAd(pool, id, price, url));
      if (json) printJson(row);
      else printTable([row], '');
    });
  });

const list = command('list', 'List ads with their prices and destinations', [
  'ad list',
  'ad list --json',
]).action(async ({ json }: Json) => {
  await withDatabase(async (pool) => {
    const rows = (await listAds(pool)).map(toRow);
    if (json) printJson(rows);
    else
      printTable(rows, 'There are no ads yet: npx tollway ad add 1 --price 0.25 --url https://example.com/');
  });
});

const update = command('update', 'Change the price or the destination of an ad for later clicks', [
  'ad update 1 --price 0.30',
])
  .argument('<ad>', 'id of the ad', parseId)
  .option('--price <amount>', 'new price of a click, such as 0.30', parsePositiveAmount)
  .option('--url <template>', 'new destination of clicks', parseUrlTemplate)
  .action(async (id: number, { price, url, json }: Json & { price?: bigint; url?: string }) => {
    if (price === undefined && url === undefined)
      throw new TollwayError('bad_options', 'Expected --price or --url, got neither');
    await change(
      id,
      { ...(price ? { priceMicros: price } : {}), ...(url ? { urlTemplate: url } : {}) },
      json,
    );
  });

const pause = command('pause', 'Pause an ad: its links still redirect, and clicks are not charged', [
  'ad pause 1',
])
  .argument('<ad>', 'id of the ad', parseId)
  .action((id: number, { json }: Json) => change(id, { status: 'paused' }, json));

const resume = command('resume', 'Resume an ad: its clicks are charged again', ['ad resume 1'])
  .argument('<ad>', 'id of the ad', parseId)
  .action((id: number, { json }: Json) => change(id, { status: 'active' }, json));

export const ad = group('ad', 'Manage ads: each has a destination and a price of a click', [
  add,
  list,
  update,
  pause,
  resume,
]);
