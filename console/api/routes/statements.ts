import * as z from 'zod';
import { parseMonth, readStatement } from '../../../ledger/accounts/statement.ts';
import { statementJson } from '../../../ledger/output-json.ts';
import { assertAdvertiser } from '../access.ts';
import type { App, Deps } from '../deps.ts';
import { AmountText, Currency, Id, TimeText, TimeZone, textCodec } from '../schemas.ts';
import { AdvertiserPath } from './advertisers.ts';
import { updateSums } from './reports.ts';

const Month = textCodec(z.string(), parseMonth, (text) => text).meta({
  description: 'Month in the time zone of the advertiser.',
  pattern: '^[0-9]{4}-[0-9]{2}$',
  examples: ['2026-11'],
});

const Count = z.int().min(0);

export const Statement = z
  .strictObject({
    advertiserId: Id,
    month: z.string(),
    timeZone: TimeZone,
    currency: Currency,
    asOf: TimeText.meta({
      description: 'Complete for everything that was settled or entered before this time.',
    }),
    opening: AmountText,
    entries: z
      .array(
        z.strictObject({
          at: TimeText,
          kind: z.enum(['top_up', 'adjustment']),
          amount: AmountText,
          reference: z.string(),
        }),
      )
      .meta({ description: 'Top-ups and adjustments, by the time at which they were entered.' }),
    charges: z
      .array(
        z.strictObject({
          ...{ campaignId: Id, campaignName: z.string(), adId: Id },
          adName: z.string().nullable().meta({ description: '`null` for an ad without a name.' }),
          ...{ clicks: Count, amount: AmountText },
        }),
      )
      .meta({ description: 'Charged clicks by ad, by the day of the click.' }),
    credits: z
      .array(z.strictObject({ month: z.string(), amount: AmountText, clicks: Count }))
      .meta({ description: 'Credits that were entered in the month, by the month of their clicks.' }),
    closing: AmountText.meta({ description: '`opening` + `entries` − `charges` + `credits`.' }),
    gross: Count.meta({ description: 'All clicks of the month but rejected ones.' }),
    invalid: z.array(z.strictObject({ reason: z.string(), clicks: Count })),
    net: Count.meta({ description: '`gross` without `invalid`.' }),
  })
  .meta({
    id: 'Statement',
    description: 'Month of an advertiser: what it had, what was charged, what is left.',
  });

export function statementRoutes(app: App, { pool }: Deps): void {
  app.get(
    '/v1/advertisers/:advertiserId/statements/:month',
    {
      config: { access: 'statements.read', errors: ['unknown_advertiser', 'bad_time', 'bad_time_zone'] },
      schema: {
        ...{ tags: ['Statements'], operationId: 'getStatement', summary: 'Get the statement of a month' },
        params: AdvertiserPath.extend({ month: Month }),
        response: { 200: Statement },
      },
    },
    async (request) => {
      const { advertiserId, month } = request.params;
      assertAdvertiser(request.caller, advertiserId);
      await updateSums(pool, request);
      return statementJson(await readStatement(pool, advertiserId, month));
    },
  );
}
