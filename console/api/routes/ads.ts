import * as z from 'zod';
import { defined } from '../../../common/defined.ts';
import {
  type Ad as AdRow,
  addAd,
  listAds,
  type AdChanges as RowChanges,
  readAd,
  unknownAd,
  updateAd,
} from '../../../ledger/accounts/ads.ts';
import { readCampaign, unknownCampaign } from '../../../ledger/accounts/campaigns.ts';
import { checkPassList } from '../../../ledger/accounts/pass-list.ts';
import { withAdvertiserLock } from '../../../ledger/advertiser-lock.ts';
import { assertVisible } from '../access.ts';
import type { App, Deps } from '../deps.ts';
import { assertMatch, etagOf } from '../etag.ts';
import { change } from '../idempotency.ts';
import { listQuery, pageOf, readPage } from '../pagination.ts';
import {
  Amount,
  Currency,
  checked,
  FlagParameter,
  Id,
  IdParameter,
  IdsParameter,
  Name,
  PositiveAmount,
  Search,
  Status,
  UrlTemplate,
} from '../schemas.ts';

const NAME = 'What people call it. Not unique; `null` without a name.';
const PASS_PARAMETERS =
  'Names of query parameters of clicks that are passed on to the destination, such as `gclid`, or beginnings of names, such as `utm_*`.';

export const Ad = z
  .strictObject({
    id: Id,
    advertiserId: Id,
    advertiserName: z.string().meta({ examples: ['Blue Shoes'] }),
    campaignId: Id,
    campaignName: z.string().meta({ examples: ['Summer'] }),
    name: z
      .string()
      .nullable()
      .meta({ description: NAME, examples: ['Banner 300x250, blue'] }),
    currency: Currency,
    price: Amount.meta({ description: 'Price of a click.', examples: ['0.25'] }),
    urlTemplate: z.string().meta({ examples: ['https://example.com/?click={click_id}'] }),
    passParameters: z.array(z.string()).meta({ description: PASS_PARAMETERS, examples: [['utm_*']] }),
    status: Status,
  })
  .meta({ id: 'Ad', description: 'Destination with a price.' });

const PassParameters = checked(z.array(z.string()).max(100), (list) => [...checkPassList(list)]).meta({
  description: `${PASS_PARAMETERS} At most 20.`,
  examples: [['utm_*', 'gclid']],
});

const settings = {
  name: Name.nullish().meta({
    description: `${NAME} 1–200 printable characters.`,
    examples: ['Banner 300x250, blue'],
  }),
  price: PositiveAmount,
  urlTemplate: UrlTemplate,
  passParameters: PassParameters,
};

const NewAd = z
  .strictObject({ campaignId: Id, ...settings, passParameters: PassParameters.optional() })
  .meta({ id: 'NewAd' });

const AdChanges = z
  .strictObject({ ...settings, status: Status })
  .partial()
  .meta({ id: 'AdChanges', description: 'Absent fields keep their values; `null` removes the name.' });

const AdPath = z.strictObject({ adId: IdParameter });

function toAd(row: AdRow): z.output<typeof Ad> {
  const { id, advertiserId, advertiserName, campaignId, campaignName, name } = row;
  const { currency, urlTemplate, status } = row;
  return {
    ...{ id, advertiserId, advertiserName, campaignId, campaignName, name, currency, urlTemplate, status },
    ...{ price: row.priceMicros, passParameters: [...row.passParameters] },
  };
}

const etagOfAd = ({ name, priceMicros, urlTemplate, passParameters, status }: AdRow) =>
  etagOf({ name, priceMicros, urlTemplate, passParameters, status });

const tags = ['Ads'];

/** Adds the routes of ads. */
export function adRoutes(app: App, deps: Deps): void {
  listRoute(app, deps);
  createRoute(app, deps);
  getRoute(app, deps);
  updateRoute(app, deps);
}

function listRoute(app: App, { pool }: Deps): void {
  app.get(
    '/v1/ads',
    {
      config: { access: 'ads.read', errors: ['unknown_advertiser', 'unknown_campaign'] },
      schema: {
        ...{ tags, operationId: 'listAds', summary: 'List ads' },
        description:
          'Ads by id. Archived ones, and those of archived campaigns, are left out unless asked for.',
        querystring: listQuery({
          advertiserId: IdParameter.optional(),
          campaignId: IdParameter.optional(),
          status: Status.optional(),
          ids: IdsParameter.optional(),
          search: Search.optional(),
          all: FlagParameter.default(false),
        }),
        response: { 200: pageOf('AdList', Ad) },
      },
    },
    async ({ query: { limit, cursor, ...filter }, caller: { advertiserIds } }) => {
      const { items, nextCursor } = await readPage({ limit, cursor }, (range) =>
        listAds(pool, { ...filter, advertiserIds, ...range }),
      );
      return { items: items.map(toAd), nextCursor };
    },
  );
}

function createRoute(app: App, { pool }: Deps): void {
  app.post(
    '/v1/ads',
    {
      config: { access: 'ads.write', etag: true, errors: ['unknown_campaign', 'bad_pass_list'] },
      schema: {
        ...{ tags, operationId: 'createAd', summary: 'Add an ad to a campaign' },
        description: '`POST /v1/links` then makes its links. Its campaign cannot be changed later.',
        body: NewAd,
        response: { 201: Ad },
      },
    },
    (request, reply) =>
      change(pool, request, reply, async (connection) => {
        const { campaignId, name, price, urlTemplate, passParameters } = request.body;
        const { advertiserId } = await readCampaign(connection, campaignId);
        assertVisible(request.caller, advertiserId, () => unknownCampaign(campaignId));
        const made = await addAd(connection, campaignId, price, urlTemplate, passParameters, name);
        reply.code(201).headers({ location: `/v1/ads/${made.id}`, etag: etagOfAd(made) });
        return toAd(made);
      }),
  );
}

function getRoute(app: App, { pool }: Deps): void {
  app.get(
    '/v1/ads/:adId',
    {
      config: { access: 'ads.read', etag: true, errors: ['unknown_ad'] },
      schema: {
        ...{ tags, operationId: 'getAd', summary: 'Get an ad' },
        params: AdPath,
        response: { 200: Ad },
      },
    },
    async ({ params: { adId }, caller }, reply) => {
      const ad = await readAd(pool, adId);
      assertVisible(caller, ad.advertiserId, () => unknownAd(adId));
      reply.header('etag', etagOfAd(ad));
      return toAd(ad);
    },
  );
}

function updateRoute(app: App, { pool }: Deps): void {
  app.patch(
    '/v1/ads/:adId',
    {
      config: { access: 'ads.write', etag: true, errors: ['unknown_ad', 'bad_pass_list'] },
      schema: {
        ...{ tags, operationId: 'updateAd', summary: 'Change, pause, resume or archive an ad' },
        description:
          'A new price or destination is for later clicks. Absent fields keep their values, `null` removes the name.',
        params: AdPath,
        body: AdChanges,
        response: { 200: Ad },
      },
    },
    (request, reply) =>
      change(pool, request, reply, async (connection) => {
        const { adId } = request.params;
        const { advertiserId } = await readAd(connection, adId);
        assertVisible(request.caller, advertiserId, () => unknownAd(adId));
        return withAdvertiserLock(connection, advertiserId, async () => {
          assertMatch(request, etagOfAd(await readAd(connection, adId)));
          const { price, ...rest } = request.body;
          const changes: RowChanges = defined({ ...rest, priceMicros: price });
          const changed = await updateAd(connection, adId, changes);
          reply.header('etag', etagOfAd(changed));
          return toAd(changed);
        });
      }),
  );
}
