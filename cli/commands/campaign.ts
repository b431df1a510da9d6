import { parseUrlTemplate } from '../../ad-server/links/url-template.ts';
import { formatAmount, parsePositiveAmount } from '../../common/money.ts';
import { parseName } from '../../common/text.ts';
import { addCampaign, type Campaign, listCampaigns } from '../../ledger/campaigns.ts';
import { command, group, withDatabase } from '../context.ts';
import { parseId } from '../parse.ts';
import { printJson, printTable } from '../print.ts';

type Json = { json?: boolean };

function toRow({ id, advertiserId, name, capMicros, spentMicros, fallbackUrl }: Campaign) {
  const [cap, spent] = capMicros === null ? [null, null] : [capMicros, spentMicros].map(formatAmount);
  return { id, advertiserId, name, cap: cap ?? null, spent: spent ?? null, fallbackUrl };
}

const add = command('add', 'Add a campaign to an advertiser', [
  'campaign add 1 "Summer" --cap 500.00 --fallback-url https://example.com/sold-out',
])
  .argument('<advertiser>', 'id of the advertiser', parseId)
  .argument('<name>', 'name of the campaign, 1–200 characters', parseName)
  .option(
    '--cap <amount>',
    'most that all clicks of the campaign together may cost, such as 500.00',
    parsePositiveAmount,
  )
  .option(
    '--fallback-url <url>',
    'destination of clicks while the budget or the cap is exhausted, instead of the URL of the ad',
    parseUrlTemplate,
  )
  .action(
    async (
      id: number,
      name: string,
      { cap, fallbackUrl, json }: Json & { cap?: bigint; fallbackUrl?: string },
    ) => {
      await withDatabase(async (pool) => {
        const row = toRow(await addCampaign(pool, id, name, cap ?? null, fallbackUrl ?? null));
        if (json) printJson(row);
        else printTable([row], '');
      });
    },
  );

const list = command('list', 'List campaigns with their caps', ['campaign list']).action(
  async ({ json }: Json) => {
    await withDatabase(async (pool) => {
      const rows = (await listCampaigns(pool)).map(toRow);
      if (json) printJson(rows);
      else printTable(rows, 'There are no campaigns yet: npx tollway campaign add 1 "Summer"');
    });
  },
);

export const campaign = group('campaign', 'Manage campaigns, which group the ads of an advertiser', [
  add,
  list,
]);
