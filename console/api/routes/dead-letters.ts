import * as z from 'zod';
import {
  type DeadLetter as DeadLetterRow,
  discardDeadLetter,
  listDeadLetters,
  readDeadLetter,
} from '../../../ledger/charge/dead-letters.ts';
import { redrive } from '../../../processor/charge/redrive.ts';
import type { App, Deps } from '../deps.ts';
import { change } from '../idempotency.ts';
import { listQuery, pageOf, readBigPage } from '../pagination.ts';
import { BigId, Id, Time } from '../schemas.ts';

export const DeadLetter = z
  .strictObject({
    id: BigId,
    reason: z.string().meta({ examples: ['unknown_ad'] }),
    detail: z.string().meta({ description: 'What was expected and what the record has.' }),
    clickId: z.string().nullable().meta({ description: '`null` if it could not be read.' }),
    adId: Id.nullable().meta({ description: 'As the record says: there may be no such ad.' }),
    adName: z.string().nullable().meta({ description: '`null` if the ad has no name or does not exist.' }),
    advertiserId: Id.nullable().meta({ description: 'As the record says.' }),
    advertiserName: z.string().nullable().meta({ description: '`null` if it does not exist.' }),
    recordKey: z.string().nullable(),
    settledAt: Time,
    discardedAt: Time.nullable(),
  })
  .meta({ id: 'DeadLetter', description: 'Record that was rejected, until it is redriven or discarded.' });

export const DeadLetterWithRecord = DeadLetter.extend({
  raw: z.string().nullable().meta({ description: 'Bytes of the record in base64; `null` after a discard.' }),
}).meta({ id: 'DeadLetterWithRecord' });

const Redrive = z
  .strictObject({
    outcome: z.string().meta({
      description:
        '`charged`, `over_budget`, `invalid`, `rejected` (it keeps its dead letter) or `duplicate`.',
    }),
    reason: z.string().nullable(),
  })
  .meta({ id: 'Redrive' });

const path = z.strictObject({ deadLetterId: BigId });

function toDeadLetter({ raw: _, ...fields }: DeadLetterRow): z.output<typeof DeadLetter> {
  return fields;
}

const tags = ['Dead letters'];

export function deadLetterRoutes(app: App, deps: Deps): void {
  addReads(app, deps);
  addActions(app, deps);
}

function addReads(app: App, { pool }: Deps): void {
  app.get(
    '/v1/dead-letters',
    {
      config: { access: 'dead-letters.read' },
      schema: {
        ...{ tags, operationId: 'listDeadLetters', summary: 'List rejected records' },
        description: 'Those that are neither redriven nor discarded, oldest first.',
        querystring: listQuery({}),
        response: { 200: pageOf('DeadLetterList', DeadLetter) },
      },
    },
    async ({ query }) => {
      const { items, nextCursor } = await readBigPage(query, (range) => listDeadLetters(pool, range));
      return { items: items.map(toDeadLetter), nextCursor };
    },
  );

  app.get(
    '/v1/dead-letters/:deadLetterId',
    {
      config: { access: 'dead-letters.read', errors: ['unknown_dead_letter'] },
      schema: {
        ...{ tags, operationId: 'getDeadLetter', summary: 'Get a rejected record with its bytes' },
        params: path,
        response: { 200: DeadLetterWithRecord },
      },
    },
    async ({ params }) => {
      const letter = await readDeadLetter(pool, params.deadLetterId);
      return { ...toDeadLetter(letter), raw: letter.raw?.toString('base64') ?? null };
    },
  );
}

function addActions(app: App, { pool }: Deps): void {
  app.post(
    '/v1/dead-letters/:deadLetterId/redrive',
    {
      config: {
        access: 'dead-letters.write',
        errors: [
          ...(['unknown_dead_letter', 'already_discarded', 'is_watermark'] as const),
          ...(['no_partition_yet', 'lost_race', 'bad_time_zone'] as const),
        ],
      },
      schema: {
        ...{ tags, operationId: 'redriveDeadLetter', summary: 'Settle a rejected record again' },
        description:
          'Do it after the cause of the rejection was removed. A record that is rejected again keeps its dead letter.',
        params: path,
        response: { 200: Redrive },
      },
    },
    (request, reply) =>
      change(pool, request, reply, (connection) => redrive(connection, request.params.deadLetterId)),
  );

  app.post(
    '/v1/dead-letters/:deadLetterId/discard',
    {
      config: { access: 'dead-letters.write', errors: ['unknown_dead_letter'] },
      schema: {
        ...{ tags, operationId: 'discardDeadLetter', summary: 'Delete the bytes of a rejected record' },
        description: 'The click stays rejected and cannot be redriven any more.',
        params: path,
        response: { 200: DeadLetter },
      },
    },
    (request, reply) =>
      change(pool, request, reply, async (connection) => {
        await discardDeadLetter(connection, request.params.deadLetterId);
        return toDeadLetter(await readDeadLetter(connection, request.params.deadLetterId));
      }),
  );
}
