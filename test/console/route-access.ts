import { DAY_MS } from '../../common/unix-time.ts';
import { uuidV7 } from '../../common/uuid.ts';
import type { Role } from '../../ledger/access/api-keys.ts';
import type { Owner } from './owners.ts';

/** A request that succeeds for a caller who may make it. */
export type RouteRequest = { readonly url: string; readonly body?: object };

/** Who may use a route, written down apart from the rules in the code, and requests that try it. */
export type RouteAccess = {
  readonly route: string;
  readonly roles: readonly Role[];
  /** Whether keys that are restricted to advertisers may use it. */
  readonly restricted: boolean;
  /** Requests about what an owner has. The first is about its ids in the path, others about those in the query and the body. */
  readonly requests: (owner: Owner) => readonly RouteRequest[];
  /** The code with which the requests fail for a caller who may make them, because of the state of the system. */
  readonly failsWith?: string;
};

const everyone = ['admin', 'manager', 'finance', 'viewer'] as const;
const managers = ['admin', 'manager'] as const;
const finance = ['admin', 'finance'] as const;
const admins = ['admin'] as const;

/** A text that no request has used. */
const fresh = () => `unique ${uuidV7()}`;

const yesterday = () => new Date(Date.now() - DAY_MS).toISOString();
const month = () => new Date().toISOString().slice(0, 7);

function route(
  name: string,
  roles: readonly Role[],
  restricted: 'restricted too' | 'unrestricted only',
  requests: RouteAccess['requests'],
): RouteAccess {
  return { route: name, roles, restricted: restricted === 'restricted too', requests };
}

/** Every route of the API but public ones. */
export const ROUTE_ACCESS: readonly RouteAccess[] = [
  route('GET /v1/advertisers', everyone, 'restricted too', () => [
    { url: '/v1/advertisers' },
    { url: '/v1/advertisers?all=true&limit=500' },
  ]),
  route('POST /v1/advertisers', admins, 'unrestricted only', () => [
    { url: '/v1/advertisers', body: { name: 'New advertiser' } },
  ]),
  route('GET /v1/advertisers/:advertiserId', everyone, 'restricted too', ({ advertiserId }) => [
    { url: `/v1/advertisers/${advertiserId}` },
  ]),
  route('PATCH /v1/advertisers/:advertiserId', admins, 'unrestricted only', ({ advertiserId }) => [
    { url: `/v1/advertisers/${advertiserId}`, body: { status: 'active' } },
  ]),
  route(
    'GET /v1/advertisers/:advertiserId/budget-entries',
    everyone,
    'restricted too',
    ({ advertiserId }) => [{ url: `/v1/advertisers/${advertiserId}/budget-entries` }],
  ),
  route(
    'POST /v1/advertisers/:advertiserId/budget-entries',
    finance,
    'restricted too',
    ({ advertiserId }) => [
      { url: `/v1/advertisers/${advertiserId}/budget-entries`, body: { amount: '1.00', reference: fresh() } },
    ],
  ),
  route('GET /v1/operations', everyone, 'unrestricted only', () => [{ url: '/v1/operations' }]),
  route('GET /v1/status', everyone, 'unrestricted only', () => [{ url: '/v1/status' }]),
  route('GET /v1/webhooks', managers, 'restricted too', () => [
    { url: '/v1/webhooks' },
    { url: '/v1/webhooks?all=true&limit=500' },
  ]),
  route('POST /v1/webhooks', managers, 'restricted too', ({ advertiserId }) => [
    { url: '/v1/webhooks', body: { url: 'https://example.com/', advertiserId } },
  ]),
  route('GET /v1/webhook-events', managers, 'restricted too', ({ advertiserId }) => [
    { url: '/v1/webhook-events' },
    { url: `/v1/webhook-events?advertiserId=${advertiserId}` },
  ]),
  route('GET /v1/webhooks/:webhookId', managers, 'restricted too', ({ webhookId }) => [
    { url: `/v1/webhooks/${webhookId}` },
  ]),
  route('PATCH /v1/webhooks/:webhookId', managers, 'restricted too', ({ webhookId }) => [
    { url: `/v1/webhooks/${webhookId}`, body: { status: 'active' } },
  ]),
  route('POST /v1/webhooks/:webhookId/rotate-secret', managers, 'restricted too', ({ webhookId }) => [
    { url: `/v1/webhooks/${webhookId}/rotate-secret` },
  ]),
  route('POST /v1/webhooks/:webhookId/test', managers, 'restricted too', ({ webhookId }) => [
    { url: `/v1/webhooks/${webhookId}/test` },
  ]),
  route('GET /v1/webhooks/:webhookId/deliveries', managers, 'restricted too', ({ webhookId }) => [
    { url: `/v1/webhooks/${webhookId}/deliveries` },
  ]),
  route(
    'GET /v1/webhooks/:webhookId/deliveries/:eventId/attempts',
    managers,
    'restricted too',
    ({ webhookId, eventId }) => [{ url: `/v1/webhooks/${webhookId}/deliveries/${eventId}/attempts` }],
  ),
  route(
    'POST /v1/webhooks/:webhookId/deliveries/:eventId/replay',
    managers,
    'restricted too',
    ({ webhookId, eventId }) => [{ url: `/v1/webhooks/${webhookId}/deliveries/${eventId}/replay` }],
  ),
  route('POST /v1/webhooks/:webhookId/replay-failed', managers, 'restricted too', ({ webhookId }) => [
    { url: `/v1/webhooks/${webhookId}/replay-failed`, body: { since: '2026-01-01T00:00:00Z' } },
  ]),
  // The last one: an archived webhook has no tests and no replays.
  route('DELETE /v1/webhooks/:webhookId', managers, 'restricted too', ({ webhookId }) => [
    { url: `/v1/webhooks/${webhookId}` },
  ]),
  route('GET /v1/campaigns', everyone, 'restricted too', ({ advertiserId }) => [
    { url: '/v1/campaigns?all=true&limit=500' },
    { url: `/v1/campaigns?advertiserId=${advertiserId}` },
  ]),
  route('POST /v1/campaigns', managers, 'restricted too', ({ advertiserId }) => [
    { url: '/v1/campaigns', body: { advertiserId, name: 'New campaign' } },
  ]),
  route('GET /v1/campaigns/:campaignId', everyone, 'restricted too', ({ campaignId }) => [
    { url: `/v1/campaigns/${campaignId}` },
  ]),
  route('PATCH /v1/campaigns/:campaignId', managers, 'restricted too', ({ campaignId }) => [
    { url: `/v1/campaigns/${campaignId}`, body: { status: 'active' } },
  ]),
  route(
    'PUT /v1/advertisers/:advertiserId/campaigns/by-external-id/:externalId',
    managers,
    'restricted too',
    ({ advertiserId }) => [
      {
        url: `/v1/advertisers/${advertiserId}/campaigns/by-external-id/crm-1`,
        body: { name: 'Put campaign' },
      },
    ],
  ),
  route('GET /v1/ads', everyone, 'restricted too', ({ advertiserId, campaignId }) => [
    { url: '/v1/ads?all=true&limit=500' },
    { url: `/v1/ads?advertiserId=${advertiserId}` },
    { url: `/v1/ads?campaignId=${campaignId}` },
  ]),
  route('POST /v1/ads', managers, 'restricted too', ({ campaignId }) => [
    { url: '/v1/ads', body: { campaignId, price: '0.25', urlTemplate: 'https://example.com/' } },
  ]),
  route('GET /v1/ads/:adId', everyone, 'restricted too', ({ adId }) => [{ url: `/v1/ads/${adId}` }]),
  route('PATCH /v1/ads/:adId', managers, 'restricted too', ({ adId }) => [
    { url: `/v1/ads/${adId}`, body: { status: 'active' } },
  ]),
  route('POST /v1/links', managers, 'restricted too', ({ adId }) => [{ url: '/v1/links', body: { adId } }]),
  route('GET /v1/audit', everyone, 'restricted too', ({ advertiserId }) => [
    { url: '/v1/audit?limit=500' },
    { url: `/v1/audit?advertiserId=${advertiserId}` },
  ]),
  route('GET /v1/exports/audit', everyone, 'restricted too', ({ advertiserId }) => [
    { url: '/v1/exports/audit' },
    { url: `/v1/exports/audit?advertiserId=${advertiserId}` },
  ]),
  route('GET /v1/keys', admins, 'unrestricted only', () => [{ url: '/v1/keys' }]),
  route('POST /v1/keys', admins, 'unrestricted only', ({ advertiserId }) => [
    { url: '/v1/keys', body: { name: 'New key', role: 'viewer', advertiserIds: [advertiserId] } },
  ]),
  route('GET /v1/keys/:keyId', admins, 'unrestricted only', ({ spareKeyId }) => [
    { url: `/v1/keys/${spareKeyId}` },
  ]),
  route('DELETE /v1/keys/:keyId', admins, 'unrestricted only', ({ spareKeyId }) => [
    { url: `/v1/keys/${spareKeyId}` },
  ]),
  route(
    'GET /v1/advertisers/:advertiserId/statements/:month',
    everyone,
    'restricted too',
    ({ advertiserId }) => [
      { url: `/v1/advertisers/${advertiserId}/statements/${month()}` },
      { url: `/v1/advertisers/${advertiserId}/statements/2020-01` },
    ],
  ),
  route('GET /v1/reports', everyone, 'restricted too', ({ advertiserId, campaignId }) => [
    { url: '/v1/reports?since=2d&by=day,campaign,ad,publisher,outcome,reason' },
    { url: `/v1/reports?since=2d&advertiserId=${advertiserId}` },
    { url: `/v1/reports?since=2d&campaignId=${campaignId}` },
    { url: `/v1/reports?since=2d&advertiserId=${advertiserId}&campaignId=${campaignId}` },
  ]),
  route('GET /v1/clicks', everyone, 'restricted too', ({ advertiserId, campaignId, adId }) => [
    { url: `/v1/clicks?since=${yesterday()}&advertiserId=${advertiserId}` },
    { url: `/v1/clicks?since=${yesterday()}&campaignId=${campaignId}` },
    { url: `/v1/clicks?since=${yesterday()}&adId=${adId}` },
  ]),
  route('GET /v1/clicks/:reference', everyone, 'restricted too', ({ clickId, nonce, link }) => [
    { url: `/v1/clicks/${clickId}` },
    { url: `/v1/clicks/${nonce}` },
    { url: `/v1/clicks/${link}` },
  ]),
  route('POST /v1/clicks/:clickId/credit', finance, 'restricted too', ({ clickId }) => [
    { url: `/v1/clicks/${clickId}/credit` },
  ]),
  // test/console/credits.test.ts has the clicks of others without the id of their advertiser: they answer 200, as unknown.
  route('POST /v1/credits', finance, 'restricted too', ({ clickId, advertiserId }) => [
    { url: '/v1/credits', body: { clickIds: [clickId], advertiserId } },
  ]),
  route('GET /v1/exports/clicks', everyone, 'restricted too', ({ advertiserId, campaignId }) => [
    { url: `/v1/exports/clicks?since=${yesterday()}` },
    { url: `/v1/exports/clicks?since=${yesterday()}&format=csv&advertiserId=${advertiserId}` },
    { url: `/v1/exports/clicks?since=${yesterday()}&campaignId=${campaignId}` },
  ]),
  route('GET /v1/events', everyone, 'restricted too', () => [{ url: '/v1/events' }]),
  route('GET /v1/dead-letters', everyone, 'unrestricted only', () => [{ url: '/v1/dead-letters' }]),
  route('GET /v1/dead-letters/:deadLetterId', everyone, 'unrestricted only', ({ deadLetterId }) => [
    { url: `/v1/dead-letters/${deadLetterId}` },
  ]),
  route('POST /v1/dead-letters/:deadLetterId/redrive', admins, 'unrestricted only', ({ deadLetterId }) => [
    { url: `/v1/dead-letters/${deadLetterId}/redrive` },
  ]),
  route('POST /v1/dead-letters/:deadLetterId/discard', admins, 'unrestricted only', ({ deadLetterId }) => [
    { url: `/v1/dead-letters/${deadLetterId}/discard` },
  ]),
  route('GET /v1/session', everyone, 'restricted too', () => [{ url: '/v1/session' }]),
  route('DELETE /v1/session', everyone, 'restricted too', () => [{ url: '/v1/session' }]),
  route('GET /v1/samples', managers, 'unrestricted only', () => [{ url: '/v1/samples' }]),
  {
    // The database has no sample advertisers.
    ...route('POST /v1/samples', managers, 'unrestricted only', () => [
      { url: '/v1/samples', body: { ratePerSecond: 1, seconds: 1, spike: false } },
    ]),
    failsWith: 'no_samples',
  },
  route('DELETE /v1/samples', managers, 'unrestricted only', () => [{ url: '/v1/samples' }]),
  route('GET /v1/reconciliation', everyone, 'unrestricted only', () => [{ url: '/v1/reconciliation' }]),
];
