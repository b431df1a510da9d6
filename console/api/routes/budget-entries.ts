import * as z from 'zod';
import { readAdvertiser } from '../../../ledger/accounts/advertisers.ts';
import {
  addBudgetEntry,
  type BudgetEntry as EntryRow,
  listBudgetEntries,
} from '../../../ledger/accounts/budget-entries.ts';
import { assertAdvertiser } from '../access.ts';
import type { App, Deps } from '../deps.ts';
import { change } from '../idempotency.ts';
import { listQuery, pageOf, readBigPage, readPageBelow } from '../pagination.ts';
import { Amount, BigId, Currency, FlagParameter, Reference, Time } from '../schemas.ts';
import { Advertiser, AdvertiserPath, toAdvertiser } from './advertisers.ts';

export const BudgetEntry = z
  .strictObject({
    id: BigId,
    kind: z.enum(['top_up', 'adjustment', 'credit']).meta({ description: '`credit` refunds a click.' }),
    amount: Amount,
    currency: Currency,
    reference: z.string().meta({ description: 'Unique for the advertiser.', examples: ['invoice-4711'] }),
    clickId: z.string().nullable().meta({ description: 'The click that a credit refunds.' }),
    createdAt: Time,
  })
  .meta({ id: 'BudgetEntry', description: 'Change of a budget. The budget is the sum of its entries.' });

const NewBudgetEntry = z
  .strictObject({
    kind: z.enum(['top_up', 'adjustment']).default('top_up'),
    amount: Amount.meta({
      description: 'Above 0 for a top-up. An adjustment can be negative, down to what remains of the budget.',
    }),
    reference: Reference.optional().meta({
      description: 'Unique for the advertiser. The same entry with the same reference is added once.',
    }),
  })
  .meta({ id: 'NewBudgetEntry' });

const AddedBudgetEntry = z
  .strictObject({
    added: z
      .boolean()
      .meta({ description: '`false`: the reference was used before, and nothing was added.' }),
    entry: BudgetEntry,
    advertiser: Advertiser,
  })
  .meta({ id: 'AddedBudgetEntry' });

function toBudgetEntry(row: EntryRow, { currency }: { currency: string }): z.output<typeof BudgetEntry> {
  const { id, kind, amountMicros, reference, clickId, createdAt } = row;
  return { id, kind, amount: amountMicros, currency, reference, clickId, createdAt };
}

const tags = ['Budgets'];

/** Adds the routes of budget entries. */
export function budgetEntryRoutes(app: App, deps: Deps): void {
  listRoute(app, deps);
  addRoute(app, deps);
}

function listRoute(app: App, { pool }: Deps): void {
  app.get(
    '/v1/advertisers/:advertiserId/budget-entries',
    {
      config: {
        access: 'budgets.read',
        errors: ['unknown_advertiser'],
      },
      schema: {
        ...{ tags, operationId: 'listBudgetEntries', summary: 'List the changes of a budget' },
        description: 'Top-ups, adjustments and credits of clicks, oldest first unless `newestFirst`.',
        params: AdvertiserPath,
        querystring: listQuery({ newestFirst: FlagParameter.default(false) }),
        response: { 200: pageOf('BudgetEntryList', BudgetEntry) },
      },
    },
    async ({ params: { advertiserId }, query: { newestFirst, ...query }, caller }) => {
      assertAdvertiser(caller, advertiserId);
      const advertiser = await readAdvertiser(pool, advertiserId);
      const readRange = newestFirst ? readPageBelow : readBigPage;
      const { items, nextCursor } = await readRange(query, (range) =>
        listBudgetEntries(pool, advertiserId, { ...range, newestFirst }),
      );
      return { items: items.map((row) => toBudgetEntry(row, advertiser)), nextCursor };
    },
  );
}

function addRoute(app: App, { pool }: Deps): void {
  app.post(
    '/v1/advertisers/:advertiserId/budget-entries',
    {
      config: {
        access: 'budgets.write',
        errors: ['unknown_advertiser', 'bad_amount', 'reference_taken', 'not_enough_budget'],
      },
      schema: {
        ...{ tags, operationId: 'addBudgetEntry', summary: 'Top up or adjust a budget' },
        description:
          'A retry with the same `reference`, kind and amount adds nothing and answers 200. Use the id of the payment as the reference.',
        params: AdvertiserPath,
        body: NewBudgetEntry,
        response: { 200: AddedBudgetEntry, 201: AddedBudgetEntry },
      },
    },
    (request, reply) =>
      change(pool, request, reply, async (connection) => {
        const { params, body, caller } = request;
        assertAdvertiser(caller, params.advertiserId);
        const { kind, amount, reference } = body;
        const result = await addBudgetEntry(connection, params.advertiserId, kind, amount, reference);
        const { entry, advertiser, entered: added } = result;
        reply.code(added ? 201 : 200);
        return { added, entry: toBudgetEntry(entry, advertiser), advertiser: toAdvertiser(advertiser) };
      }),
  );
}
