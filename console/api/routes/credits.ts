import * as z from 'zod';
import {
  CREDIT_CLICKS_MAX,
  type CreditedClick,
  type CreditResult,
  creditClicks,
} from '../../../ledger/clicks/credit-clicks.ts';
import { assertAdvertiser } from '../access.ts';
import type { App, Deps } from '../deps.ts';
import { change } from '../idempotency.ts';
import { Amount, Currency, Id } from '../schemas.ts';
import { ClickId } from './clicks.ts';

const NewCredits = z
  .strictObject({
    clickIds: z
      .array(ClickId)
      .min(1)
      .max(CREDIT_CLICKS_MAX)
      .meta({ description: 'An id that is there twice counts once.' }),
    advertiserId: Id.optional().meta({
      description: 'Credits clicks of this advertiser only; those of others are listed as `otherAdvertiser`.',
    }),
  })
  .meta({ id: 'NewCredits' });

const ids = z.array(z.string());

const CreditedClicks = z.array(
  z.strictObject({ clickId: z.string(), advertiserId: Id, amount: Amount, currency: Currency }),
);

export const Credits = z
  .strictObject({
    amounts: z
      .array(z.strictObject({ currency: Currency, amount: Amount }))
      .meta({ description: 'Sums of `credited`, one for each currency.' }),
    credited: CreditedClicks.meta({ description: 'Credited by this request.' }),
    alreadyCredited: CreditedClicks.meta({ description: 'Credited before: nothing was added.' }),
    notCharged: z.array(
      z.strictObject({
        clickId: z.string(),
        advertiserId: Id,
        outcome: z.string().meta({ description: '`over_budget` or `invalid`.' }),
        reason: z.string().nullable(),
      }),
    ),
    otherAdvertiser: z
      .array(z.strictObject({ clickId: z.string(), advertiserId: Id }))
      .meta({ description: 'Clicks of other advertisers than `advertiserId`.' }),
    unknown: ids.meta({ description: 'The ledger does not have these clicks: rejected ones are here too.' }),
    dayClosed: ids.meta({ description: 'The ledger has no clicks of their days any more.' }),
  })
  .meta({ id: 'Credits', description: 'Each click of the request is in one of the lists.' });

const toCredited = ({ clickId, advertiserId, amountMicros, currency }: CreditedClick) => ({
  ...{ clickId, advertiserId, amount: amountMicros, currency },
});

function toCredits(results: readonly CreditResult[]): z.output<typeof Credits> {
  const credits: z.output<typeof Credits> = {
    ...{ amounts: [], credited: [], alreadyCredited: [], notCharged: [] },
    ...{ otherAdvertiser: [], unknown: [], dayClosed: [] },
  };
  const micros = new Map<string, bigint>();
  for (const one of results) {
    const { clickId } = one;
    if (one.result === 'credited') {
      credits.credited.push(toCredited(one));
      micros.set(one.currency, (micros.get(one.currency) ?? 0n) + one.amountMicros);
    } else if (one.result === 'already_credited') credits.alreadyCredited.push(toCredited(one));
    else if (one.result === 'not_charged') {
      const { advertiserId, outcome, reason } = one;
      credits.notCharged.push({ clickId, advertiserId, outcome, reason });
    } else if (one.result === 'other_advertiser')
      credits.otherAdvertiser.push({ clickId, advertiserId: one.advertiserId });
    else credits[one.result === 'unknown' ? 'unknown' : 'dayClosed'].push(clickId);
  }
  return { ...credits, amounts: [...micros].map(([currency, amount]) => ({ currency, amount })) };
}

/** Adds the route that credits many clicks. */
export function creditRoutes(app: App, { pool }: Deps): void {
  app.post(
    '/v1/credits',
    {
      config: { access: 'clicks.credit', errors: ['unknown_advertiser', 'bad_time_zone'] },
      schema: {
        ...{ tags: ['Clicks'], operationId: 'creditClicks', summary: 'Credit the charges of many clicks' },
        description:
          'Gives the charge of each click back as an entry of the budget of its advertiser, once. A click that cannot be credited does not stop the others. Answers 200 if nothing was added. All of it is one transaction: a request that fails has credited nothing.',
        body: NewCredits,
        response: { 200: Credits, 201: Credits },
      },
    },
    (request, reply) =>
      change(pool, request, reply, async (connection) => {
        const { body, caller } = request;
        const { clickIds, advertiserId } = body;
        if (advertiserId !== undefined) assertAdvertiser(caller, advertiserId);
        const results = await creditClicks(connection, clickIds, {
          advertiserIds: caller.advertiserIds,
          ...(advertiserId !== undefined && { advertiserId }),
        });
        const credits = toCredits(results);
        reply.code(credits.credited.length > 0 ? 201 : 200);
        return credits;
      }),
  );
}
