import * as z from 'zod';
import { findLinkKeys } from '../../../common/config/link-key-file.ts';
import { TollwayError } from '../../../common/errors.ts';
import { creditClick } from '../../../ledger/accounts/budget-entries.ts';
import { parseClickId, parseClickReference } from '../../../ledger/clicks/click-reference.ts';
import { readClickStory } from '../../../ledger/clicks/click-story.ts';
import { clickStoryJson } from '../../../ledger/output-json.ts';
import type { App, Deps } from '../deps.ts';
import { change } from '../idempotency.ts';
import { Amount, AmountText, Currency, Id, TimeText, textCodec } from '../schemas.ts';

export const ClickId = textCodec(z.string(), parseClickId, (text) => text).meta({
  description: 'Id of the click, as in the header `Tollway-Click`.',
  examples: ['01a208fb-f934-70de-beaa-9335acbb4502'],
});

const text = z.string().nullable();

export const Click = z
  .strictObject({
    clickId: text,
    state: z.enum(['settled', 'in_flight']).meta({
      description: '`in_flight`: nothing is stored about the click yet, and it may be under way.',
    }),
    outcome: text.meta({ description: '`charged`, `over_budget`, `invalid` or `rejected`.' }),
    reason: text,
    explanation: z.string().meta({ description: 'Why it was or was not charged, in one or two sentences.' }),
    clickedAt: TimeText.nullable(),
    publishedAt: TimeText.nullable().meta({
      description:
        'When its record was published to the broker. It is kept with the evidence; not every broker tells it.',
    }),
    settledAt: TimeText.nullable(),
    duplicates: z.int().min(0).nullable().meta({
      description:
        'How often a copy of it arrived after it was settled, in `EVIDENCE_RETENTION_DAYS`. A copy changes nothing. `null` without a spool id.',
    }),
    price: AmountText.nullable().meta({ description: 'Known of charged and rejected clicks.' }),
    charged: AmountText.nullable(),
    credited: AmountText.nullable(),
    adId: Id.nullable(),
    adName: text.meta({ description: '`null` also if the ad has no name.' }),
    campaignId: Id.nullable(),
    campaignName: text,
    advertiserId: Id.nullable(),
    advertiserName: text,
    publisher: text,
    nonce: text.meta({ description: 'Of an impression link; `null` for an evergreen link.' }),
    spoolId: text,
    sequence: z.int().min(0).nullable(),
    evidence: z
      .strictObject({
        network: text.meta({ description: 'Of the visitor: /24 for IPv4, /48 for IPv6.' }),
        userAgent: text,
        referrerHost: text,
        subIds: z.record(z.string(), z.string()).nullable(),
      })
      .nullable()
      .meta({ description: '`null` also if it was erased or is past `EVIDENCE_RETENTION_DAYS`.' }),
    history: z.array(z.strictObject({ at: TimeText, event: z.string() })),
  })
  .meta({ id: 'Click', description: 'What happened to one click. `null` where it is not known.' });

export const Credit = z
  .strictObject({
    clickId: z.string(),
    advertiserId: Id,
    amount: Amount,
    currency: Currency,
    entered: z
      .boolean()
      .meta({ description: '`false`: the click was credited before, and nothing was added.' }),
    remaining: Amount.meta({ description: 'What remains of the budget.' }),
  })
  .meta({ id: 'Credit' });

const tags = ['Clicks'];

export function clickRoutes(app: App, { pool, config }: Deps): void {
  const references = { keys: findLinkKeys(config), lifeMaxDays: config.LINK_LIFE_MAX_DAYS };

  app.get(
    '/v1/clicks/:reference',
    {
      config: { access: 'clicks.read', errors: ['unknown_click', 'bad_click_id', 'bad_link'] },
      schema: {
        ...{ tags, operationId: 'getClick', summary: 'Get what happened to a click' },
        description: 'Says whether the click was charged, why or why not, and when.',
        params: z.strictObject({
          reference: z
            .string()
            .min(1)
            .max(2_000)
            .meta({
              description:
                'Id of the click, nonce of an impression link, or the token of the link (what follows `/c/`).',
              examples: ['01a208fb-f934-70de-beaa-9335acbb4502'],
            }),
        }),
        response: { 200: Click },
      },
    },
    async ({ params, caller: { advertiserIds } }) => {
      const reference = parseClickReference(params.reference, references);
      const story = await readClickStory(pool, reference, config.CLICK_AGE_MAX_DAYS, advertiserIds);
      const { state, ...fields } = clickStoryJson(story);
      if (state === 'settled') return { state, ...fields };
      // What is under way cannot be attributed to an advertiser, and the explanation names spools.
      if (advertiserIds !== null)
        throw new TollwayError(
          'unknown_click',
          `Expected a settled click of your advertisers, got ${params.reference}`,
        );
      if (state === 'unknown') throw new TollwayError('unknown_click', story.explanation);
      return { state, ...fields };
    },
  );

  app.post(
    '/v1/clicks/:clickId/credit',
    {
      config: { access: 'clicks.credit', errors: ['unknown_click', 'not_charged', 'bad_time_zone'] },
      schema: {
        ...{ tags, operationId: 'creditClick', summary: 'Credit the charge of a click' },
        description:
          'Gives the charge back as an entry of the budget, once: a second request adds nothing and answers 200. The click keeps its row in the ledger.',
        params: z.strictObject({ clickId: ClickId }),
        response: { 200: Credit, 201: Credit },
      },
    },
    (request, reply) =>
      change(pool, request, reply, async (connection) => {
        const { clickId } = request.params;
        const { advertiser, entered, amountMicros } = await creditClick(
          connection,
          clickId,
          request.caller.advertiserIds,
        );
        reply.code(entered ? 201 : 200);
        const { id: advertiserId, currency, remainingMicros: remaining } = advertiser;
        return { clickId, advertiserId, amount: amountMicros, currency, entered, remaining };
      }),
  );
}
