import type { FastifyRequest } from 'fastify';
import * as z from 'zod';
import type { Pool } from '../../../common/postgres/postgres.ts';
import { readAd, unknownAd } from '../../../ledger/accounts/ads.ts';
import { reportJson } from '../../../ledger/output-json.ts';
import { refreshRollup } from '../../../ledger/reports/refresh-rollup.ts';
import {
  parseReportKeys,
  parseReportTime,
  QUARTER_MS,
  REPORT_KEYS,
  readReport,
} from '../../../ledger/reports/report.ts';
import { assertVisible } from '../access.ts';
import type { App, LongDeps } from '../deps.ts';
import { restrictClickFilter } from '../restrict-click-filter.ts';
import {
  AmountText,
  Currency,
  Id,
  IdParameter,
  Publisher,
  TimeText,
  TimeZone,
  textCodec,
} from '../schemas.ts';

const Bound = textCodec(z.union([z.date(), z.string()]), parseReportTime, String).meta({
  description:
    'A day such as `2026-01-31`, which begins at midnight of the time zone; a quarter of an hour such as `2026-01-31T12:15:00Z`; or a length of time ago such as `7d`.',
  examples: ['2026-11-01'],
});

const Keys = textCodec(z.array(z.enum(REPORT_KEYS)), parseReportKeys, (keys) => keys.join(',')).meta({
  description: `Some of ${REPORT_KEYS.join(', ')}, separated by commas.`,
  examples: ['day,campaign'],
});

export const ReportRow = z
  .strictObject({
    hour: TimeText.optional(),
    day: z
      .string()
      .optional()
      .meta({ examples: ['2026-11-30'] }),
    advertiserId: Id.optional(),
    campaignId: Id.optional(),
    adId: Id.optional(),
    publisher: z.string().nullable().optional(),
    outcome: z
      .string()
      .optional()
      .meta({ examples: ['charged'] }),
    reason: z.string().nullable().optional(),
    currency: Currency,
    clicks: z.int().min(0),
    charged: AmountText.meta({ description: 'As first reported: the sum of the charges.' }),
    corrected: AmountText.meta({ description: 'As corrected: without the charges that credits gave back.' }),
  })
  .meta({ id: 'ReportRow', description: 'Sums of clicks. Keys that the report is not by are absent.' });

export const Report = z
  .strictObject({
    since: TimeText,
    until: TimeText,
    asOf: TimeText.meta({ description: 'Every click that was settled before this time is in the sums.' }),
    timeZone: TimeZone,
    rows: z.array(ReportRow),
  })
  .meta({ id: 'Report' });

/** Most rows of a report: the console has all of them in memory. */
const ROWS_MAX = 100_000;

export function reportRoutes(app: App, { pool, longPool, longRequests }: LongDeps): void {
  app.get(
    '/v1/reports',
    {
      config: {
        access: 'reports.read',
        errors: [
          'bad_window',
          'too_many_rows',
          'busy',
          'query_too_long',
          'unknown_advertiser',
          'unknown_campaign',
          'unknown_ad',
          'bad_time_zone',
        ],
      },
      schema: {
        ...{ tags: ['Reports'], operationId: 'getReport', summary: 'Sum the clicks of a period' },
        description:
          'Sums by the time of the click. Amounts of different currencies are never added. A key that is restricted to several advertisers has to name one. A report has at most 100 000 rows.',
        querystring: z.strictObject({
          since: Bound,
          until: Bound.optional().meta({ description: 'Exclusive end; default: now.' }),
          by: Keys.default(['day']),
          advertiserId: IdParameter.optional(),
          campaignId: IdParameter.optional(),
          adId: IdParameter.optional(),
          publisher: Publisher.optional(),
          timeZone: TimeZone.optional().meta({
            description: 'Default: that of the advertiser in the filter, otherwise UTC.',
          }),
        }),
        response: { 200: Report },
      },
    },
    async (request) => {
      const { query, caller, authentication } = request;
      const filter = await restrictClickFilter(pool, caller, query);
      const { since, until = endOfNow(), by, timeZone, adId } = query;
      if (adId !== undefined) {
        const ad = await readAd(pool, adId);
        assertVisible(caller, ad.advertiserId, () => unknownAd(adId));
      }
      const wanted = { ...filter, adId, since, until, by, rowsMax: ROWS_MAX, ...(timeZone && { timeZone }) };
      // All reports share it, so it takes no turn.
      await updateSums(pool, request);
      const turn = { kind: 'report', limitedAs: authentication.limitedAs } as const;
      return longRequests.run(turn, async () => reportJson(await readReport(longPool, wanted)));
    },
  );
}

/** Brings the sums of reports and statements up to date, or logs why they are as of an earlier time. */
export async function updateSums(pool: Pool, request: FastifyRequest): Promise<void> {
  const problem = await refreshRollup(pool);
  if (problem === null) return;
  request.log.warn(
    { problem },
    'Reports are as of an earlier time, because their sums cannot be updated. Charging does not need them',
  );
}

/** The end of the present quarter of an hour. */
function endOfNow(): Date {
  return new Date(Math.ceil(Date.now() / QUARTER_MS) * QUARTER_MS);
}
