import * as z from 'zod';
import { settingsOf } from '../../../ledger/accounts/campaign-settings.ts';
import { readCampaignCharges } from '../../../ledger/accounts/campaign-spend.ts';
import {
  addCampaign,
  type Campaign as CampaignRow,
  findCampaign,
  listCampaigns,
  putCampaign,
  readCampaign,
  unknownCampaign,
  updateCampaign,
} from '../../../ledger/accounts/campaigns.ts';
import { withAdvertiserLock } from '../../../ledger/advertiser-lock.ts';
import { assertAdvertiser, assertVisible } from '../access.ts';
import type { App, Deps } from '../deps.ts';
import { assertMatch, etagOf } from '../etag.ts';
import { change } from '../idempotency.ts';
import { listQuery, pageOf, readPage } from '../pagination.ts';
import { ExternalId, FlagParameter, IdParameter, IdsParameter, Search, Status } from '../schemas.ts';
import {
  Campaign,
  CampaignChanges,
  NewCampaign,
  PutCampaign,
  toCampaign,
  toChanges,
} from './campaign-schemas.ts';

const CampaignPath = z.strictObject({ campaignId: IdParameter });
const ExternalPath = z.strictObject({ advertiserId: IdParameter, externalId: ExternalId });

const etagOfCampaign = (row: CampaignRow) => etagOf(settingsOf(row));

const tags = ['Campaigns'];

/** What a route that creates or changes a campaign can refuse. */
const REFUSALS = ['bad_time', 'bad_window', 'bad_pacing', 'bad_time_zone'] as const;

/** Adds the routes of campaigns. */
export function campaignRoutes(app: App, deps: Deps): void {
  listRoute(app, deps);
  createRoute(app, deps);
  getRoute(app, deps);
  updateRoute(app, deps);
  putRoute(app, deps);
}

function listRoute(app: App, { pool }: Deps): void {
  app.get(
    '/v1/campaigns',
    {
      config: { access: 'campaigns.read', errors: ['unknown_advertiser'] },
      schema: {
        ...{ tags, operationId: 'listCampaigns', summary: 'List campaigns' },
        description:
          'Campaigns by id. Archived ones, and those of archived advertisers, are left out unless asked for. `spent` is null for a campaign without a cap.',
        querystring: listQuery({
          advertiserId: IdParameter.optional(),
          externalId: ExternalId.optional(),
          status: Status.optional(),
          ids: IdsParameter.optional(),
          search: Search.optional(),
          dailyCapReached: FlagParameter.default(false).meta({
            description: 'Only those whose daily cap is reached on the present day.',
          }),
          all: FlagParameter.default(false),
        }),
        response: { 200: pageOf('CampaignList', Campaign) },
      },
    },
    async ({ query: { limit, cursor, ...filter }, caller: { advertiserIds } }) => {
      const { items, nextCursor } = await readPage({ limit, cursor }, (range) =>
        listCampaigns(pool, { ...filter, advertiserIds, ...range }),
      );
      return { items: items.map((row) => toCampaign(row)), nextCursor };
    },
  );
}

function createRoute(app: App, { pool }: Deps): void {
  app.post(
    '/v1/campaigns',
    {
      config: {
        access: 'campaigns.write',
        etag: true,
        errors: ['unknown_advertiser', 'external_id_taken', ...REFUSALS],
      },
      schema: {
        ...{ tags, operationId: 'createCampaign', summary: 'Create a campaign' },
        description: 'Absent fields: no cap, no dates, no fallback URL, no pacing, `active`.',
        body: NewCampaign,
        response: { 201: Campaign },
      },
    },
    (request, reply) =>
      change(pool, request, reply, async (connection) => {
        const { advertiserId, name, ...settings } = request.body;
        assertAdvertiser(request.caller, advertiserId);
        const made = await addCampaign(connection, advertiserId, name, toChanges(settings));
        reply.code(201).headers({ location: `/v1/campaigns/${made.id}`, etag: etagOfCampaign(made) });
        return toCampaign(made);
      }),
  );
}

function getRoute(app: App, { pool }: Deps): void {
  app.get(
    '/v1/campaigns/:campaignId',
    {
      config: { access: 'campaigns.read', etag: true, errors: ['unknown_campaign'] },
      schema: {
        ...{ tags, operationId: 'getCampaign', summary: 'Get a campaign' },
        description:
          '`spent` of a campaign without a cap is as of the last rollup, at most some seconds ago.',
        params: CampaignPath,
        response: { 200: Campaign },
      },
    },
    async ({ params: { campaignId }, caller }, reply) => {
      const campaign = await readCampaign(pool, campaignId);
      assertVisible(caller, campaign.advertiserId, () => unknownCampaign(campaignId));
      reply.header('etag', etagOfCampaign(campaign));
      return toCampaign(
        campaign,
        campaign.capMicros === null ? await readCampaignCharges(pool, campaignId) : campaign.spentMicros,
      );
    },
  );
}

function updateRoute(app: App, { pool }: Deps): void {
  app.patch(
    '/v1/campaigns/:campaignId',
    {
      config: {
        access: 'campaigns.write',
        etag: true,
        errors: ['unknown_campaign', 'cap_below_spent', 'external_id_taken', ...REFUSALS],
      },
      schema: {
        ...{ tags, operationId: 'updateCampaign', summary: 'Change, pause, resume or archive a campaign' },
        description:
          'Absent fields keep their values, `null` removes one. A cap can be lowered down to what is spent, a daily cap down to what the present day has spent.',
        params: CampaignPath,
        body: CampaignChanges,
        response: { 200: Campaign },
      },
    },
    (request, reply) =>
      change(pool, request, reply, async (connection) => {
        const { campaignId } = request.params;
        const { advertiserId } = await readCampaign(connection, campaignId);
        assertVisible(request.caller, advertiserId, () => unknownCampaign(campaignId));
        return withAdvertiserLock(connection, advertiserId, async () => {
          assertMatch(request, etagOfCampaign(await readCampaign(connection, campaignId)));
          const changed = await updateCampaign(connection, campaignId, toChanges(request.body));
          reply.header('etag', etagOfCampaign(changed));
          return toCampaign(changed);
        });
      }),
  );
}

function putRoute(app: App, { pool }: Deps): void {
  app.put(
    '/v1/advertisers/:advertiserId/campaigns/by-external-id/:externalId',
    {
      config: {
        access: 'campaigns.write',
        etag: true,
        errors: ['unknown_advertiser', 'cap_below_spent', ...REFUSALS],
      },
      schema: {
        ...{ tags, operationId: 'putCampaign', summary: 'Create or replace a campaign by its external id' },
        description:
          'Creates the campaign (201) or replaces all its settings (200). **Absent fields are reset**: no cap, no dates, no fallback URL, no pacing, and `active`, also if the campaign was paused. A repetition changes nothing.',
        params: ExternalPath,
        body: PutCampaign,
        response: { 200: Campaign, 201: Campaign },
      },
    },
    (request, reply) =>
      change(pool, request, reply, async (connection) => {
        const { params, body, caller } = request;
        const { advertiserId, externalId } = params;
        assertAdvertiser(caller, advertiserId);
        return withAdvertiserLock(connection, advertiserId, async () => {
          const before = await findCampaign(connection, advertiserId, externalId);
          assertMatch(request, before === null ? null : etagOfCampaign(before));
          const settings = { ...toChanges(body), name: body.name };
          const { campaign, result } = await putCampaign(connection, advertiserId, externalId, settings);
          reply.code(result === 'created' ? 201 : 200).header('etag', etagOfCampaign(campaign));
          if (result === 'created') reply.header('location', `/v1/campaigns/${campaign.id}`);
          return toCampaign(campaign);
        });
      }),
  );
}
