import { createPool, terminatePool } from '../../common/postgres/postgres.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { ProcessMetrics } from '../../common/telemetry/metrics.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import type { TargetRule } from '../../ledger/webhooks/target-url.ts';
import { type Resolve, resolvePrivate, resolvePublic } from './address-check.ts';
import { runBacklogGauges } from './backlog-gauges.ts';
import { WebhookDispatcher } from './dispatcher.ts';
import { listenForDeliveries } from './listen.ts';
import { send } from './send.ts';

/** Connections for the deliveries. They are apart from those of the API, so neither waits for the other. */
const CONNECTIONS = 6;
/** Longest wait for an answer of the database, in ms: shorter than a lease. */
const QUERY_MS_MAX = 10_000;

export type WebhookDeps = {
  readonly databaseUrl: string;
  readonly rule: TargetRule;
  readonly metrics: ProcessMetrics;
  readonly logger: Logger;
  /** Default: DNS, and with private targets the resolver of the host. */
  readonly resolve?: Resolve;
};

/** Sends the events of webhooks in the background. `stop` waits for the attempts in progress. */
export function startWebhooks({ databaseUrl, rule, metrics, logger, resolve }: WebhookDeps): {
  stop: () => Promise<void>;
} {
  const resolver = resolve ?? (rule === 'private' ? resolvePrivate : resolvePublic);
  const onError = (err: Error) => logger.debug({ err }, 'A connection broke');
  const pool = createPool(databaseUrl, 'webhooks', CONNECTIONS, onError, QUERY_MS_MAX, QUERY_MS_MAX);
  const log = new ThrottledLog(logger, {
    failed:
      'Events of webhooks cannot be read or recorded; the console retries. Clicks are not affected. Check the connection to the database',
    recovered: 'Events of webhooks are read and recorded again',
  });
  const dispatcher = new WebhookDispatcher({
    pool,
    logger,
    metrics,
    databaseLog: log,
    send: (target, message, signal) => send(target, message, { rule, resolve: resolver, signal }),
  });
  const stopping = new AbortController();
  const context = { stop: stopping.signal, log };
  const background = Promise.all([
    listenForDeliveries(databaseUrl, () => dispatcher.wake(), context),
    runBacklogGauges(pool, metrics, context),
  ]);
  dispatcher.start();
  return {
    stop: async () => {
      stopping.abort();
      await dispatcher.stop();
      await background;
      await terminatePool(pool);
    },
  };
}
