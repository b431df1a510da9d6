import * as z from 'zod';
import { isUuid } from '../../../common/uuid.ts';
import { listClicks } from '../../../ledger/clicks/list-clicks.ts';
import { listedClickJson } from '../../../ledger/output-json.ts';
import { assertAdvertiser } from '../access.ts';
import type { App, Deps } from '../deps.ts';
import { listQuery, pageOf } from '../pagination.ts';
import { AmountText, Currency, Id, IdParameter, Publisher, Time, TimeText, textCodec } from '../schemas.ts';

const Outcome = z.enum(['charged', 'over_budget', 'invalid']);

export const ListedClick = z
  .strictObject({
    clickId: z.string(),
    clickedAt: TimeText,
    settledAt: TimeText,
    outcome: Outcome,
    reason: z.string().nullable().meta({ description: '`null` for a charged click.' }),
    advertiserId: Id,
    advertiserName: z.string(),
    campaignId: Id,
    campaignName: z.string(),
    adId: Id,
    adName: z.string().nullable().meta({ description: '`null` for an ad without a name.' }),
    publisher: z.string().nullable().meta({ description: '`null` for a link without one.' }),
    charged: AmountText,
    credited: AmountText.meta({ description: 'What a credit gave back.' }),
    currency: Currency,
  })
  .meta({ id: 'ListedClick', description: 'A settled click. `GET /v1/clicks/{reference}` has its story.' });

/** The id at which a page begins. It is opaque to clients. */
const ClickCursor = textCodec(z.string(), parseCursor, writeCursor).meta({
  description: '`nextCursor` of the page before. Without it, the list begins at its start.',
});

function parseCursor(text: string): string {
  const hex = Buffer.from(text, 'base64url').toString('hex');
  const id = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  if (isUuid(id) && writeCursor(id) === text) return id;
  throw new RangeError(`Expected nextCursor of a page, got "${text}"`);
}

function writeCursor(id: string): string {
  return Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url');
}

/** Adds the route that lists clicks. */
export function clickListRoute(app: App, { pool }: Deps): void {
  app.get(
    '/v1/clicks',
    {
      config: {
        access: 'clicks.read',
        errors: ['bad_window', 'unknown_advertiser', 'unknown_campaign', 'unknown_ad'],
      },
      schema: {
        ...{ tags: ['Clicks'], operationId: 'listClicks', summary: 'List clicks' },
        description:
          'The clicks of a period that are settled, by the time of the click, of the days that the ledger has. A page looks at a limited number of clicks of all advertisers: it can have fewer items than `limit`, even none, although `nextCursor` leads to more. Rejected clicks are dead letters.',
        querystring: listQuery({
          since: Time.meta({ description: 'Inclusive lower bound of the time of the click.' }),
          until: Time.optional().meta({ description: 'Exclusive upper bound; default: now.' }),
          advertiserId: IdParameter.optional(),
          campaignId: IdParameter.optional(),
          adId: IdParameter.optional(),
          publisher: Publisher.optional(),
          outcome: Outcome.optional(),
        }).extend({ cursor: ClickCursor.optional() }),
        response: { 200: pageOf('ClickList', ListedClick) },
      },
    },
    async ({ query: { limit, cursor, since, until = new Date(), ...filter }, caller }) => {
      if (filter.advertiserId !== undefined) assertAdvertiser(caller, filter.advertiserId);
      const wanted = { ...filter, since, until, advertiserIds: caller.advertiserIds };
      const { clicks, next } = await listClicks(pool, wanted, { from: cursor, limit });
      return { items: clicks.map(listedClickJson), nextCursor: next === null ? null : writeCursor(next) };
    },
  );
}
