import type * as z from 'zod';
import { shownSettings } from '../../../common/config/shown-settings.ts';
import { readVersion } from '../../../common/version.ts';
import { expectedParts } from '../../../ledger/operations/expected-parts.ts';
import type { OperationsState } from '../../../ledger/operations/operations-state.ts';
import { isAnswering, type Part } from '../../../ledger/operations/parts.ts';
import { backlogOf } from '../../../ledger/operations/parts-backlog.ts';
import { readProblems } from '../../../ledger/operations/read-problems.ts';
import type { WebhookBacklog } from '../../../ledger/webhooks/backlog.ts';
import type { App, Deps } from '../deps.ts';
import { Operations } from './operations-schemas.ts';

/** Adds the route of what an operator watches. */
export function operationsRoutes(app: App, { pool, config, reportingState }: Deps): void {
  const version = readVersion();
  const settings = shownSettings(config);
  const expected = expectedParts(config);
  app.get(
    '/v1/operations',
    {
      config: { access: 'status.read' },
      schema: {
        ...{
          tags: ['Operations'],
          operationId: 'getOperations',
          summary: 'Get the parts and what waits in them',
        },
        description:
          'The parts as they reported themselves in the last seconds, what is wrong now, the backlog, and the settings of this console.',
        response: { 200: Operations },
      },
    },
    async () => {
      const { state, problems } = await readProblems(pool, expected, reportingState?.() ?? null);
      return { ...toAnswer(state), problems: [...problems], version, settings };
    },
  );
}

function toAnswer(
  state: OperationsState,
): Omit<z.output<typeof Operations>, 'problems' | 'version' | 'settings'> {
  const { asOf, parts, maintenance, reportsAsOf, webhooks, webhooksFailing, deadLetters } = state;
  const { partitions, ...backlog } = backlogOf(parts);
  return {
    asOf,
    parts: parts.map(toPart),
    backlog: {
      ...backlog,
      partitions: partitions.map((partition) => ({ ...partition, readers: [...partition.readers] })),
    },
    spools: parts.flatMap(toSpool),
    maintenance,
    reports: { asOf: reportsAsOf },
    webhooks: { ...waitingEvents(webhooks), failing: webhooksFailing },
    deadLetters,
  };
}

function toPart(part: Part): z.output<typeof Operations>['parts'][number] {
  const texts = { problems: [...part.problems], warnings: [...part.warnings] };
  if (part.component !== 'processor') return { ...part, ...texts };
  const { partitions: _, ...numbers } = part.numbers;
  return { ...part, ...texts, numbers };
}

function toSpool(part: Part): z.output<typeof Operations>['spools'] {
  if (part.component !== 'ad-server') return [];
  const { instance, reportedAt, numbers } = part;
  const { accepted, relayed, unrecorded } = numbers;
  return [
    {
      ...{ instance, accepted, relayed, unrecorded },
      bytes: numbers.spoolBytes,
      bytesMax: numbers.spoolBytesMax,
      oldestAgeSeconds: numbers.spoolOldestSeconds,
      asOf: reportedAt,
      isAnswering: isAnswering(part),
    },
  ];
}

function waitingEvents(webhooks: readonly WebhookBacklog[]): { waiting: number; oldestAgeSeconds: number } {
  const active = webhooks.filter(({ state }) => state !== 'paused');
  return {
    waiting: active.reduce((sum, { deliveries }) => sum + deliveries, 0),
    oldestAgeSeconds: Math.max(0, ...active.map(({ oldestSeconds }) => oldestSeconds)),
  };
}
