import { Option } from 'commander';
import { parseTime } from '../../common/parse-time.ts';
import { parsePublisher } from '../../contract/publisher.ts';
import type { Verdict } from '../../ledger/charge/outcome.ts';
import { type ClickListFilter, type ListedClick, listClicks } from '../../ledger/clicks/list-clicks.ts';
import { listedClickJson } from '../../ledger/output-json.ts';
import { type Output, rowsCommand, withDatabase } from '../context.ts';
import { parseCount, parseId } from '../parse.ts';
import { printPages } from '../print-pages.ts';

type Options = Output & {
  since: Date;
  until?: Date;
  advertiser?: number;
  campaign?: number;
  ad?: number;
  publisher?: string;
  outcome?: Verdict['outcome'];
  limit: number;
};

const OUTCOMES: readonly Verdict['outcome'][] = ['charged', 'over_budget', 'invalid'];
/** Clicks of a read of the database, which looks at more of them than it lists if few match. */
const PAGE_CLICKS = 10_000;

function filterOf({ since, until, advertiser, campaign, ad, publisher, outcome }: Options): ClickListFilter {
  return {
    ...{ since, until: until ?? new Date(), advertiserId: advertiser, campaignId: campaign, adId: ad },
    ...{ publisher, outcome },
  };
}

/** The row for people: names without their ids, and without what `click show` has. */
function toTableRow(click: ListedClick) {
  const {
    clickId,
    clickedAt,
    outcome,
    reason,
    advertiserName,
    adId,
    publisher,
    charged,
    credited,
    currency,
  } = listedClickJson(click);
  return {
    ...{ clickId, clickedAt, outcome, reason, advertiserName, adId, publisher, charged, credited, currency },
  };
}

export const list = rowsCommand('list', 'List the clicks of a period, by the time of the click', [
  'click list --publisher example-news --since 2026-01-31T14:00:00Z --until 2026-01-31T15:00:00Z',
  'click list --since 1h --outcome invalid --limit 20',
])
  .requiredOption('--since <time>', 'only clicks at or after this time', parseTime)
  .option('--until <time>', 'only clicks before this time (default: now)', parseTime)
  .option('--advertiser <id>', 'only clicks of this advertiser', parseId)
  .option('--campaign <id>', 'only clicks of this campaign', parseId)
  .option('--ad <id>', 'only clicks of this ad', parseId)
  .option('--publisher <name>', 'only clicks of this publisher', parsePublisher)
  .addOption(
    new Option('--outcome <outcome>', `only clicks with this outcome: ${OUTCOMES.join(', ')}`).choices(
      OUTCOMES,
    ),
  )
  .option('--limit <n>', 'number of rows at most', parseCount, 100)
  .action(async (options: Options) => {
    await withDatabase(async (pool) => {
      const filter = filterOf(options);
      const toRow = options.format === 'table' ? toTableRow : listedClickJson;
      await printPages<ListedClick, string>(
        {
          read: async (limit, from) => {
            const { clicks, next } = await listClicks(pool, filter, { from, limit });
            return { items: clicks, next };
          },
          toRows: (clicks) => clicks.map(toRow),
          empty: 'The ledger has no such clicks',
          pageRows: PAGE_CLICKS,
          more: 'There can be more clicks',
        },
        options,
      );
    });
  });
