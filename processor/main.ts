import { parseConfig } from '../common/config.ts';
import { readEnvironment } from '../common/environment.ts';
import { runProcess, sleep } from '../common/lifecycle.ts';
import { createLogger } from '../common/logger.ts';
import { createMetrics } from '../common/metrics.ts';
import { serveOperations } from '../common/ops-server.ts';
import { databaseAnswers } from '../common/postgres.ts';
import { createSources } from './create-sources.ts';
import { openHome } from './home.ts';
import { keepLedger } from './keep-ledger.ts';
import { observeBooks } from './observe.ts';

/** Longest wait for an answer of the database, in ms. */
const QUERY_MS_MAX = 60_000;
/** Connections besides those of the lanes: the sources' claims, and observation. */
const MORE_CONNECTIONS = 4;
/** Time what was taken gets to be settled at the end, in ms. What is left comes again. */
const SETTLE_MS = 6_000;

/** The long-lived consumer. */
await runProcess(async (open, fail) => {
  const config = parseConfig(readEnvironment());
  const lanes = config.PARALLELIZATION;
  const home = openHome(
    'processor',
    config,
    { lanes, connections: lanes + MORE_CONNECTIONS, queryMsMax: QUERY_MS_MAX },
    { metrics: createMetrics('processor'), logger: createLogger('processor', config), onInvariant: fail },
  );
  const { pool, host, metrics, logger } = home;
  open({ name: 'database connections', close: () => pool.end() });
  const keeper = keepLedger(home);
  open({ name: 'maintenance', close: keeper.stop });

  const sources = await createSources(home.config, pool, host, home);
  const operations = {
    problems: async () => [
      ...((await databaseAnswers(pool)) ? [] : ['the database does not answer']),
      ...[...sources.values()].flatMap((source) => source.problem() ?? []),
    ],
    metrics: async () => {
      await observeBooks(pool, sources, metrics);
      return metrics.registry.metrics();
    },
  };
  const ops = await serveOperations(operations, config.PROCESSOR_OPS_PORT, config.OPS_HOST);
  open({ name: 'operations port', close: () => void ops.close() });
  open({
    name: 'event sources',
    close: async () => {
      const stop = () => Promise.all([...sources.values()].map((source) => source.stop()));
      await Promise.race([stop(), sleep(SETTLE_MS)]);
      host.abort();
      await stop();
    },
  });
  for (const source of sources.values()) keeper.ready.then(() => source.run()).catch(fail);
  logger.info(
    { broker: config.BROKER, lanes },
    `Charging what ${config.BROKER} brings, ${lanes} handlers at work`,
  );
}, 'processor');
