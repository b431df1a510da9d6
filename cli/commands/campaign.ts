import { type Command, Option } from 'commander';
import { TollwayError } from '../../common/errors.ts';
import { formatAmount, parsePositiveAmount } from '../../common/money.ts';
import { parseCampaignTime } from '../../common/parse-time.ts';
import type { Connection } from '../../common/postgres/postgres.ts';
import { parseExternalId, parseName } from '../../common/text.ts';
import type { CampaignChanges } from '../../ledger/accounts/campaign-settings.ts';
import { readCampaignCharges } from '../../ledger/accounts/campaign-spend.ts';
import {
  addCampaign,
  type Campaign,
  listCampaigns,
  putCampaign,
  readCampaign,
  updateCampaign,
} from '../../ledger/accounts/campaigns.ts';
import { PACINGS, type Pacing } from '../../ledger/accounts/daily-plan.ts';
import { type Pace, roundPace } from '../../ledger/accounts/pacing.ts';
import { parseUrlTemplate } from '../../ledger/accounts/url-template.ts';
import { STATUSES, type Status } from '../../ledger/status.ts';
import { command, group, type Output, rowsCommand, withChange, withDatabase } from '../context.ts';
import {
  emptyText,
  filterOf,
  type ListOptions,
  SEARCH,
  withAdvertiserOption,
  withStatusOptions,
} from '../list-options.ts';
import { exceptNone, orNone, parseId } from '../parse.ts';
import { priceWarning } from '../price-warning.ts';
import { printJson, printLine, printNote, printRow } from '../print.ts';
import { beyondId, printPages } from '../print-pages.ts';
import { updateSums } from '../update-sums.ts';

type Settings = {
  name?: string;
  externalId?: string;
  status?: Status;
  cap?: bigint | 'none';
  start?: Date | string;
  end?: Date | string;
  fallbackUrl?: string;
  dailyCap?: bigint | 'none';
  pacing?: Pacing;
  hold?: boolean;
};

function toRow(campaign: Campaign) {
  const { id, advertiserId, advertiserName, name, externalId, status, capMicros, spentMicros } = campaign;
  const [cap = null, spent = null] = capMicros === null ? [] : [capMicros, spentMicros].map(formatAmount);
  const startsAt = campaign.startsAt?.toISOString() ?? null;
  const endsAt = campaign.endsAt?.toISOString() ?? null;
  const dailyCap = amountOf(campaign.dailyCapMicros);
  const spentToday = amountOf(campaign.spentTodayMicros);
  const dailyCapReachedUntil = campaign.dailyCapReachedUntil?.toISOString() ?? null;
  const { pacing, hold, fallbackUrl } = campaign;
  return {
    ...{ id, advertiserId, advertiserName, name, externalId, status, cap, spent, dailyCap, spentToday },
    ...{ dailyCapReachedUntil },
    ...{ pacing, hold, startsAt, endsAt, fallbackUrl },
  };
}

/** The row for people: pacing and hold in one column. That a daily cap is reached shows in what today has spent. */
function toTableRow(campaign: Campaign) {
  const { hold, dailyCapReachedUntil: _, ...row } = toRow(campaign);
  return { ...row, pacing: hold ? `${row.pacing}, hold` : row.pacing };
}

function amountOf(micros: bigint | null): string | null {
  return micros === null ? null : formatAmount(micros);
}

/** The pace for people: both shares in percent, and until when the campaign is ahead. */
function describePace({ planned, spent, aheadUntil }: Pace): string {
  const shares = `${percent(spent)} of the daily cap is spent, ${percent(planned)} may be spent by now`;
  return aheadUntil === null ? shares : `${shares}; ahead until ${new Date(aheadUntil).toISOString()}`;
}

function percent(share: number): string {
  return `${Math.round(share * 1_000) / 10} %`;
}

function print(campaign: Campaign, { format }: Output): void {
  printRow(format === 'table' ? toTableRow(campaign) : toRow(campaign), { format });
}

/** The changes of the given options; `none` removes a value. */
function changesOf({
  name,
  externalId,
  status,
  cap,
  start,
  end,
  fallbackUrl,
  dailyCap,
  pacing,
  hold,
}: Settings): CampaignChanges {
  return {
    ...(name === undefined ? {} : { name }),
    ...(externalId === undefined ? {} : { externalId: externalId === 'none' ? null : externalId }),
    ...(status === undefined ? {} : { status }),
    ...(cap === undefined ? {} : { capMicros: cap === 'none' ? null : cap }),
    ...(start === undefined ? {} : { startsAt: start === 'none' ? null : start }),
    ...(end === undefined ? {} : { endsAt: end === 'none' ? null : end }),
    ...(fallbackUrl === undefined ? {} : { fallbackUrl: fallbackUrl === 'none' ? null : fallbackUrl }),
    ...(dailyCap === undefined ? {} : { dailyCapMicros: dailyCap === 'none' ? null : dailyCap }),
    ...(pacing === undefined ? {} : { pacing }),
    ...(hold === undefined ? {} : { hold }),
  };
}

async function change(id: number, changes: CampaignChanges, output: Output): Promise<void> {
  print(await withWarning((connection) => updateCampaign(connection, id, changes)), output);
}

/** Changes a campaign, and then warns if a limit is below the price of each of its active ads. */
async function withWarning(work: (connection: Connection) => Promise<Campaign>): Promise<Campaign> {
  const { changed, warning } = await withChange(async (connection) => {
    const changed = await work(connection);
    return { changed, warning: await priceWarning(connection, changed) };
  });
  if (warning !== null) printNote(warning);
  return changed;
}

/** Shares with four decimals, and RFC 3339. */
function toJson(pace: Pace) {
  const { aheadUntil, ...rounded } = roundPace(pace);
  return { ...rounded, aheadUntil: aheadUntil === null ? null : new Date(aheadUntil).toISOString() };
}

const EXTERNAL_ID =
  'the id that another system gave the campaign, 1–100 characters, unique for the advertiser';
const parseNewExternalId = exceptNone(parseExternalId, 'bad_external_id', 'an external id');
const HOLD =
  'redirect to the fallback URL while the campaign is ahead of its plan; these clicks are not charged';

function pacingOption(): Option {
  return new Option('--pacing <plan>', 'how the daily cap is spent: none, even or rest').choices(PACINGS);
}

/** The options of a new campaign, and of one whose settings are replaced. */
function withSettingsOptions(made: Command): Command {
  return made
    .option(
      '--cap <amount>',
      'most that all clicks of the campaign together may cost, such as 500.00',
      parsePositiveAmount,
    )
    .option(
      '--daily-cap <amount>',
      "most that the clicks of a day may cost, in the advertiser's time zone, such as 50.00",
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
    .addOption(pacingOption())
    .option('--hold', HOLD);
}

const add = withSettingsOptions(
  rowsCommand('add', 'Add a campaign to an advertiser', [
    'campaign add 1 "Summer" --cap 500.00 --fallback-url https://example.com/sold-out',
    'campaign add 1 "Advent" --start 2026-11-29 --end 2026-12-25',
  ])
    .argument('<advertiser>', 'id of the advertiser', parseId)
    .argument('<name>', 'name of the campaign, 1–200 characters', parseName),
)
  .option('--external-id <id>', EXTERNAL_ID, parseNewExternalId)
  .action(async (id: number, name: string, { format, ...settings }: Output & Settings) => {
    print(await withWarning((connection) => addCampaign(connection, id, name, changesOf(settings))), {
      format,
    });
  });

type PutOptions = Output & Settings & { name: string };

const put = withSettingsOptions(
  rowsCommand('put', 'Create the campaign with an external id, or replace all its settings', [
    'campaign put 1 crm-4711 --name "Summer" --cap 500.00',
  ])
    .argument('<advertiser>', 'id of the advertiser', parseId)
    .argument('<external-id>', 'the id that another system gave the campaign', parseNewExternalId)
    .requiredOption('--name <name>', 'name of the campaign, 1–200 characters', parseName),
)
  .addOption(new Option('--status <status>', STATUSES.join(', ')).choices(STATUSES).default('active'))
  .action(async (id: number, externalId: string, { format, ...settings }: PutOptions) => {
    const { campaign, result, warning } = await withChange(async (connection) => {
      const values = { ...changesOf(settings), name: settings.name };
      const put = await putCampaign(connection, id, externalId, values);
      return { ...put, warning: await priceWarning(connection, put.campaign) };
    });
    if (warning !== null) printNote(warning);
    printRow({ result, ...(format === 'table' ? toTableRow(campaign) : toRow(campaign)) }, { format });
  });

const list = withStatusOptions(
  withAdvertiserOption(
    rowsCommand('list', 'List campaigns with their caps', [
      'campaign list',
      'campaign list --advertiser 1 --status active',
    ]),
  ),
)
  .option('--external-id <id>', 'only those with this external id', parseExternalId)
  .option('--search <text>', SEARCH)
  .action(async (options: ListOptions) => {
    await withDatabase(async (pool) => {
      const filter = filterOf(options);
      const first = 'There are no campaigns: npx tollway campaign add 1 "Summer"';
      await printPages(
        {
          read: beyondId<Campaign>((page) => listCampaigns(pool, { ...filter, ...page })),
          toRows: (campaigns) => campaigns.map(options.format === 'table' ? toTableRow : toRow),
          empty: emptyText(options, first),
        },
        options,
      );
    });
  });

const show = command('show', 'Show a campaign with its settings and what it has spent', ['campaign show 1'])
  .argument('<campaign>', 'id of the campaign', parseId)
  .action(async (id: number, { format }: Output) => {
    await withDatabase(async (pool) => {
      await updateSums(pool);
      const campaign = await readCampaign(pool, id);
      const spent = campaign.capMicros === null ? await readCampaignCharges(pool, id) : campaign.spentMicros;
      const { pace } = campaign;
      const row = { ...toRow(campaign), spent: formatAmount(spent) };
      if (format === 'json') return printJson({ ...row, pace: pace && toJson(pace) });
      const { dailyCapReachedUntil: until, ...rest } = row;
      const spentToday = until
        ? `${row.spentToday}; the daily cap is reached until ${until}`
        : row.spentToday;
      for (const [name, value] of Object.entries({ ...rest, spentToday, pace: pace && describePace(pace) }))
        printLine(`${name.padEnd(14)} ${value ?? ''}`.trimEnd());
    });
  });

const update = rowsCommand('update', 'Change a campaign: its name, caps, pacing, dates or fallback URL', [
  'campaign update 1 --cap 750.00 --end 2027-01-01',
  'campaign update 1 --daily-cap 50.00 --pacing even',
  'campaign update 1 --cap none',
])
  .argument('<campaign>', 'id of the campaign', parseId)
  .option('--name <name>', 'new name, 1–200 characters', parseName)
  .option('--external-id <id>', 'new external id, as in add; `none` removes it', orNone(parseExternalId))
  .option(
    '--cap <amount>',
    'new total cap, at least what is spent; `none` removes it',
    orNone(parsePositiveAmount),
  )
  .option(
    '--daily-cap <amount>',
    'new daily cap from today on, at least what today has spent; `none` removes it',
    orNone(parsePositiveAmount),
  )
  .option('--start <time>', 'new start, as in add; `none` removes it', orNone(parseCampaignTime))
  .option('--end <time>', 'new end, as in add; `none` removes it', orNone(parseCampaignTime))
  .option('--fallback-url <url>', 'new fallback URL; `none` removes it', orNone(parseUrlTemplate))
  .addOption(pacingOption())
  .option('--hold', HOLD)
  .option('--no-hold', 'redirect to the URL of the ad also while the campaign is ahead of its plan')
  .action(async (id: number, { format, ...settings }: Output & Settings) => {
    const changes = changesOf(settings);
    if (Object.keys(changes).length === 0)
      throw new TollwayError('bad_options', 'Expected an option that changes the campaign, got none');
    await change(id, changes, { format });
  });

function statusCommand(name: string, status: Status, description: string) {
  return rowsCommand(name, description, [`campaign ${name} 1`])
    .argument('<campaign>', 'id of the campaign', parseId)
    .action((id: number, output: Output) => change(id, { status }, output));
}

export const campaign = group('campaign', 'Manage campaigns, which group the ads of an advertiser', [
  add,
  put,
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
