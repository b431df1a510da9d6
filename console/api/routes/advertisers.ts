import * as z from 'zod';
import {
  type Advertiser as AdvertiserRow,
  addAdvertiser,
  listAdvertisers,
  readAdvertiser,
  updateAdvertiser,
} from '../../../ledger/accounts/advertisers.ts';
import { withAdvertiserLock } from '../../../ledger/advertiser-lock.ts';
import { assertAdvertiser } from '../access.ts';
import type { App, Deps } from '../deps.ts';
import { assertMatch, etagOf } from '../etag.ts';
import { change } from '../idempotency.ts';
import { listQuery, pageOf, readPage } from '../pagination.ts';
import {
  Amount,
  Currency,
  FlagParameter,
  Id,
  IdParameter,
  IdsParameter,
  Name,
  Search,
  Status,
  TimeZone,
} from '../schemas.ts';

const LowBudget = z
  .array(z.int().min(1).max(99))
  .max(10)
  .meta({
    description:
      'Thresholds of the webhook event `budget.low`, different whole percentages of what remained after the latest top-up or adjustment.',
    examples: [[20, 5]],
  });

export const Advertiser = z
  .strictObject({
    id: Id,
    name: Name,
    currency: Currency,
    timeZone: TimeZone,
    status: Status,
    lowBudgetPercents: LowBudget,
    budget: Amount.meta({ description: 'Sum of the budget entries.', examples: ['250.00'] }),
    spent: Amount.meta({ description: 'Sum of the charges.', examples: ['12.75'] }),
    remaining: Amount.meta({ description: '`budget` − `spent`; never negative.', examples: ['237.25'] }),
  })
  .meta({ id: 'Advertiser', description: 'Customer with a prepaid budget.' });

const NewAdvertiser = z
  .strictObject({ name: Name, currency: Currency.default('USD'), timeZone: TimeZone.default('UTC') })
  .meta({ id: 'NewAdvertiser' });

const AdvertiserChanges = z
  .strictObject({ name: Name, status: Status, lowBudgetPercents: LowBudget })
  .partial()
  .meta({ id: 'AdvertiserChanges', description: 'Absent fields keep their values.' });

export const AdvertiserPath = z.strictObject({ advertiserId: IdParameter });

/** The representation of an advertiser. */
export function toAdvertiser(row: AdvertiserRow): z.output<typeof Advertiser> {
  const { id, name, currency, timeZone, status, budgetMicros, spentMicros, remainingMicros } = row;
  const lowBudgetPercents = [...row.lowBudgetPercents];
  return {
    ...{ id, name, currency, timeZone, status, lowBudgetPercents },
    budget: budgetMicros,
    spent: spentMicros,
    remaining: remainingMicros,
  };
}

const etagOfAdvertiser = ({ name, status, lowBudgetPercents }: AdvertiserRow) =>
  etagOf({ name, status, lowBudgetPercents });

const tags = ['Advertisers'];

/** Adds the routes of advertisers. */
export function advertiserRoutes(app: App, deps: Deps): void {
  listRoute(app, deps);
  createRoute(app, deps);
  getRoute(app, deps);
  updateRoute(app, deps);
}

function listRoute(app: App, { pool }: Deps): void {
  app.get(
    '/v1/advertisers',
    {
      config: { access: 'advertisers.read' },
      schema: {
        ...{ tags, operationId: 'listAdvertisers', summary: 'List advertisers' },
        description: 'Advertisers with their budgets, by id. Archived ones are left out unless asked for.',
        querystring: listQuery({
          status: Status.optional(),
          ids: IdsParameter.optional(),
          search: Search.optional(),
          all: FlagParameter.default(false),
        }),
        response: { 200: pageOf('AdvertiserList', Advertiser) },
      },
    },
    async ({ query: { limit, cursor, ...filter }, caller: { advertiserIds } }) => {
      const { items, nextCursor } = await readPage({ limit, cursor }, (range) =>
        listAdvertisers(pool, { ...filter, advertiserIds, ...range }),
      );
      return { items: items.map(toAdvertiser), nextCursor };
    },
  );
}

function createRoute(app: App, { pool }: Deps): void {
  app.post(
    '/v1/advertisers',
    {
      config: { access: 'advertisers.create', etag: true, errors: ['bad_time_zone'] },
      schema: {
        ...{ tags, operationId: 'createAdvertiser', summary: 'Create an advertiser' },
        description:
          'Its budget is empty: add a budget entry. Currency and time zone cannot be changed later.',
        body: NewAdvertiser,
        response: { 201: Advertiser },
      },
    },
    (request, reply) =>
      change(pool, request, reply, async (connection) => {
        const { name, currency, timeZone } = request.body;
        const made = await addAdvertiser(connection, name, currency, timeZone);
        reply.code(201).headers({ location: `/v1/advertisers/${made.id}`, etag: etagOfAdvertiser(made) });
        return toAdvertiser(made);
      }),
  );
}

function getRoute(app: App, { pool }: Deps): void {
  app.get(
    '/v1/advertisers/:advertiserId',
    {
      config: { access: 'advertisers.read', etag: true, errors: ['unknown_advertiser'] },
      schema: {
        ...{ tags, operationId: 'getAdvertiser', summary: 'Get an advertiser' },
        params: AdvertiserPath,
        response: { 200: Advertiser },
      },
    },
    async ({ params: { advertiserId }, caller }, reply) => {
      assertAdvertiser(caller, advertiserId);
      const advertiser = await readAdvertiser(pool, advertiserId);
      reply.header('etag', etagOfAdvertiser(advertiser));
      return toAdvertiser(advertiser);
    },
  );
}

function updateRoute(app: App, { pool }: Deps): void {
  app.patch(
    '/v1/advertisers/:advertiserId',
    {
      config: { access: 'advertisers.update', etag: true, errors: ['unknown_advertiser', 'bad_thresholds'] },
      schema: {
        ...{ tags, operationId: 'updateAdvertiser', summary: 'Change an advertiser' },
        description:
          'Renames, pauses, resumes or archives it, or sets its thresholds. While an advertiser is not `active`, its links still redirect and its clicks are not charged.',
        params: AdvertiserPath,
        body: AdvertiserChanges,
        response: { 200: Advertiser },
      },
    },
    (request, reply) =>
      change(pool, request, reply, async (connection) => {
        const { params, body, caller } = request;
        assertAdvertiser(caller, params.advertiserId);
        return withAdvertiserLock(connection, params.advertiserId, async () => {
          assertMatch(request, etagOfAdvertiser(await readAdvertiser(connection, params.advertiserId)));
          const changed = await updateAdvertiser(connection, params.advertiserId, body);
          reply.header('etag', etagOfAdvertiser(changed));
          return toAdvertiser(changed);
        });
      }),
  );
}
