import { parseUrlTemplate } from '../../ad-server/links/url-template.ts';
import { TollwayError } from '../../common/errors.ts';
import { formatAmount, parsePositiveAmount } from '../../common/money.ts';
import { parseName } from '../../common/text.ts';
import { readCampaignCharges } from '../../ledger/campaign-spend.ts';
import {
  addCampaign,
  type Campaign,
  type CampaignChanges,
  listCampaigns,
  readCampaign,
  updateCampaign,
} from '../../ledger/campaigns.ts';
import type { Status } from '../../ledger/list-filter.ts';
import { command, group, withDatabase } from '../context.ts';
import {
  emptyText,
  filterOf,
  type ListOptions,
  withAdvertiserOption,
  withStatusOptions,
} from '../list-options.ts';
import { orNone, parseCampaignTime, parseId } from '../parse.ts';
import { printJson, printLine, printTable } from '../print.ts';
import { bringUpToDate } from './report.ts';

type Json = { json?: boolean };
type Settings = {
  name?: string;
  cap?: bigint | 'none';
  start?: Date | string;
  end?: Date | string;
  fallbackUrl?: string;
};

function toRow(campaign: Campaign) {
  const { id, advertiserId, advertiserName, name, status, capMicros, spentMicros } = campaign;
  const [cap = null, spent = null] = capMicros === null ? [] : [capMicros, spentMicros].map(formatAmount);
  const startsAt = campaign.startsAt?.toISOString() ?? null;
  const endsAt = campaign.endsAt?.toISOString() ?? null;
  const { fallbackUrl } = campaign;
  return { id, advertiserId, advertiserName, name, status, cap, spent, startsAt, endsAt, fallbackUrl };
}

function print(campaign: Campaign, json: boolean | undefined): void {
  if (json) printJson(toRow(campaign));
  else printTable([toRow(campaign)], '');
}

/** The changes of the given options; `none` removes a value. */
function changesOf({ name, cap, start, end, fallbackUrl }: Settings): CampaignChanges {
  return {
    ...(name === undefined ? {} : { name }),
    ...(cap === undefined ? {} : { capMicros: cap === 'none' ? null : cap }),
    ...(start === undefined ? {} : { startsAt: start === 'none' ? null : start }),
    ...(end === undefined ? {} : { endsAt: end === 'none' ? null : end }),
    ...(fallbackUrl === undefined ? {} : { fallbackUrl: fallbackUrl === 'none' ? null : fallbackUrl }),
  };
}

async function change(id: number, changes: CampaignChanges, json: boolean | undefined): Promise<void> {
  await withDatabase(async (pool) => print(await updateCampaign(pool, id, changes), json));
}

const add = command('add', 'Add a campaign to an advertiser', [
  'campaign add 1 "Summer" --cap 500.00 --fallback-url https://example.com/sold-out',
  'campaign add 1 "Advent" --start 2026-11-29 --end 2026-12-25',
])
  .argument('<advertiser>', 'id of the advertiser', parseId)
  .argument('<name>', 'name of the campaign, 1–200 characters', parseName)
  .option(
    '--cap <amount>',
    'most that all clicks of the campaign together may cost, such as 500.00',
    parsePositiveAmount,
  )
  .option(
    '--start <time>',
    "a time, or a day in the advertiser's time zone; earlier clicks are not charged",
    parseCampaignTime,
  )
  .option(
    '--end <time>',
    "a time, or a day in the advertiser's time zone; from then on clicks are not charged",
    parseCampaignTime,
  )
  .option(
    '--fallback-url <url>',
    'destination of clicks while the budget or the cap is exhausted, instead of the URL of the ad',
    parseUrlTemplate,
  )
  .action(async (id: number, name: string, { json, ...settings }: Json & Settings) => {
    await withDatabase(async (pool) => print(await addCampaign(pool, id, name, changesOf(settings)), json));
  });

const list = withStatusOptions(
  withAdvertiserOption(
    command('list', 'List campaigns with their caps', [
      'campaign list',
      'campaign list --advertiser 1 --status active',
    ]),
  ),
).action(async (options: ListOptions) => {
  await withDatabase(async (pool) => {
    const rows = (await listCampaigns(pool, filterOf(options))).map(toRow);
    if (options.json) return printJson(rows);
    printTable(rows, emptyText(options, 'There are no campaigns: npx tollway campaign add 1 "Summer"'));
  });
});

const show = command('show', 'Show a campaign with its settings and what it has spent', ['campaign show 1'])
  .argument('<campaign>', 'id of the campaign', parseId)
  .action(async (id: number, { json }: Json) => {
    await withDatabase(async (pool) => {
      await bringUpToDate(pool);
      const campaign = await readCampaign(pool, id);
      const spent = campaign.capMicros === null ? await readCampaignCharges(pool, id) : campaign.spentMicros;
      const row = { ...toRow(campaign), spent: formatAmount(spent) };
      if (json) return printJson(row);
      for (const [name, value] of Object.entries(row))
        printLine(`${name.padEnd(14)} ${value ?? ''}`.trimEnd());
    });
  });

const update = command('update', 'Change a campaign: its name, cap, dates or fallback URL', [
  'campaign update 1 --cap 750.00 --end 2027-01-01',
  'campaign update 1 --cap none',
])
  .argument('<campaign>', 'id of the campaign', parseId)
  .option('--name <name>', 'new name, 1–200 characters', parseName)
  .option(
    '--cap <amount>',
    'new total cap, at least what is spent; `none` removes it',
    orNone(parsePositiveAmount),
  )
  .option('--start <time>', 'new start, as in add; `none` removes it', orNone(parseCampaignTime))
  .option('--end <time>', 'new end, as in add; `none` removes it', orNone(parseCampaignTime))
  .option('--fallback-url <url>', 'new fallback URL; `none` removes it', orNone(parseUrlTemplate))
  .action(async (id: number, { json, ...settings }: Json & Settings) => {
    const changes = changesOf(settings);
    if (Object.keys(changes).length === 0)
      throw new TollwayError('bad_options', 'Expected an option that changes the campaign, got none');
    await change(id, changes, json);
  });

function statusCommand(name: string, status: Status, description: string) {
  return command(name, description, [`campaign ${name} 1`])
    .argument('<campaign>', 'id of the campaign', parseId)
    .action((id: number, { json }: Json) => change(id, { status }, json));
}

export const campaign = group('campaign', 'Manage campaigns, which group the ads of an advertiser', [
  add,
  list,
  show,
  update,
  statusCommand(
    'pause',
    'paused',
    'Pause all ads of a campaign: links still redirect, and clicks are not charged',
  ),
  statusCommand('resume', 'active', 'Resume a paused or archived campaign: clicks are charged again'),
  statusCommand('archive', 'archived', 'Archive a campaign: as pause, and lists leave it and its ads out'),
]);
