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

const add = command('add', 'Make an ad of a campaign', [
  "ad add 1 --price 0.25 --url 'https://example.com/shoes?click={click_id}'",
])
  .argument('<campaign>', 'the campaign', parseId)
  .requiredOption('--price <amount>', 'what a click costs', parsePositiveAmount)
  .requiredOption(
    '--url <template>',
    'destination; {click_id}, {ad_id}, {campaign_id} are filled in',
    parseUrlTemplate,
  )
  .action(async (id: number, { price, url, json }: Json & { price: bigint; url: string }) => {
    await withDatabase(async (pool) => {
      const row = toRow(await addAd(pool, id, price, url));
      if (json) printJson(row);
      else printTable([row], '');
    });
  });

const list = command('list', 'Ads, with their prices', ['ad list', 'ad list --json']).action(
  async ({ json }: Json) => {
    await withDatabase(async (pool) => {
      const rows = (await listAds(pool)).map(toRow);
      if (json) printJson(rows);
      else
        printTable(
          rows,
          'There are no ads yet: npx tollway ad add 1 --price 0.25 --url https://example.com/',
        );
    });
  },
);

const update = command(
  'update',
  'Change the price or the destination of an ad; clicks that are under way keep theirs',
  ['ad update 1 --price 0.30'],
)
  .argument('<ad>', 'the ad', parseId)
  .option('--price <amount>', 'what a click costs from now on', parsePositiveAmount)
  .option('--url <template>', 'the new destination', parseUrlTemplate)
  .action(async (id: number, { price, url, json }: Json & { price?: bigint; url?: string }) => {
    if (price === undefined && url === undefined)
      throw new TollwayError('bad_options', 'Expected --price or --url, got neither');
    await change(
      id,
      { ...(price ? { priceMicros: price } : {}), ...(url ? { urlTemplate: url } : {}) },
      json,
    );
  });

const pause = command('pause', 'Pause an ad: clicks redirect and cost nothing', ['ad pause 1'])
  .argument('<ad>', 'the ad', parseId)
  .action((id: number, { json }: Json) => change(id, { status: 'paused' }, json));

const resume = command('resume', 'Let an ad be paid for again', ['ad resume 1'])
  .argument('<ad>', 'the ad', parseId)
  .action((id: number, { json }: Json) => change(id, { status: 'active' }, json));

export const ad = group('ad', 'A destination and a price per click', [add, list, update, pause, resume]);
