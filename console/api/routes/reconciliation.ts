import * as z from 'zod';
import { createBacklogs } from '../../../brokers/create-event-sources.ts';
import { reconciliationJson } from '../../../ledger/output-json.ts';
import { reconcile } from '../../../ledger/reconciliation/reconcile.ts';
import type { App, LongDeps } from '../deps.ts';
import type { RouteErrorCode } from '../problem.ts';
import { AmountText, Currency, FlagParameter, Id } from '../schemas.ts';

const Count = z.int().min(0);

const Spool = z
  .strictObject({
    spoolId: z.string(),
    accepted: Count.meta({ description: 'By its watermark, and the clicks above it that are known.' }),
    charged: Count,
    overBudget: Count,
    invalid: Count,
    rejected: Count,
    inFlight: Count,
    missing: Count,
    gaps: z.array(z.strictObject({ start: Count, end: Count })).meta({
      description: 'The missing sequences: `start` inclusive, `end` exclusive.',
    }),
    balanced: z.boolean(),
  })
  .meta({ id: 'SpoolReconciliation' });

const Balance = z
  .strictObject({
    id: Id,
    name: z.string(),
    currency: Currency,
    budget: AmountText,
    entered: AmountText.meta({ description: 'Sum of the budget entries.' }),
    spent: AmountText,
    remaining: AmountText,
    charged: AmountText.nullable().meta({
      description: 'Sum of the charges in the ledger; `null` without `deep`.',
    }),
    balanced: z.boolean(),
  })
  .meta({ id: 'AdvertiserReconciliation' });

export const Reconciliation = z
  .strictObject({
    accepted: Count,
    charged: Count,
    overBudget: Count,
    invalid: Count,
    rejected: Count,
    inFlight: Count.meta({ description: 'Accepted and in the broker, not settled yet.' }),
    missing: Count.meta({ description: 'Accepted, and neither settled nor in the broker.' }),
    unattributed: Count.meta({ description: 'Settled clicks without a spool id.' }),
    balanced: z.boolean(),
    spools: z.array(Spool),
    advertisers: z.array(Balance),
    problems: z.array(z.string()).meta({ description: 'One sentence for each disagreement.' }),
  })
  .meta({ id: 'Reconciliation', description: 'Whether the books balance, in one snapshot of the database.' });

/** The broker cannot be asked which clicks wait in it. */
const BROKER_ERRORS: readonly RouteErrorCode[] = [
  ...(['kafka', 'kafka_away', 'kafka_compression', 'kafka_login', 'kafka_rights', 'kafka_tls'] as const),
  ...([
    'kafka_topic',
    'kinesis',
    'kinesis_away',
    'kinesis_login',
    'kinesis_region',
    'kinesis_stream',
  ] as const),
];

export function reconciliationRoutes(app: App, { longPool, longRequests, config, logger }: LongDeps): void {
  app.get(
    '/v1/reconciliation',
    {
      config: { access: 'reconciliation.read', errors: ['busy', 'query_too_long', ...BROKER_ERRORS] },
      schema: {
        ...{ tags: ['Operations'], operationId: 'reconcile', summary: 'Check that the books balance' },
        description: 'Also counts the clicks that wait in the broker, which can take seconds.',
        querystring: z.strictObject({
          deep: FlagParameter.default(false).meta({
            description:
              'Also recounts every row of the ledger and compares all stored sums. It can take minutes.',
          }),
        }),
        response: { 200: Reconciliation },
      },
    },
    ({ query: { deep }, authentication: { limitedAs } }) =>
      longRequests.run({ kind: 'reconciliation', limitedAs }, async () => {
        const brokers = await createBacklogs(config, logger);
        return reconciliationJson(await reconcile(longPool, { deep, brokers }));
      }),
  );
}
