import { join } from 'node:path';
import { createPublisher } from '../brokers/create-publisher.ts';
import type { Config } from '../common/config/config.ts';
import { TollwayError } from '../common/errors.ts';
import { connectionLimits, openFilesMax } from '../common/open-files.ts';
import { createPool } from '../common/postgres/postgres.ts';
import { type OnShutdown, sleep } from '../common/process.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { Metrics } from '../common/telemetry/metrics.ts';
import { listen } from '../common/telemetry/operations-server.ts';
import type { Problem } from '../common/telemetry/problems.ts';
import { createVerifier } from '../contract/link-token.ts';
import { Spool } from '../producer/spool.ts';
import { AdCatalog } from './catalog/ad-catalog.ts';
import { createErrorPages } from './http/error-pages.ts';
import { createAdServer, type PublicConnections } from './http/server.ts';
import { createProxyCheck, createVisitorAddress } from './http/visitor.ts';
import { followAgentRules } from './redirect/agent-rules-file.ts';
import { DoubleClicks } from './redirect/double-clicks.ts';
import { createHiddenAgentsCheck } from './redirect/hidden-agents-log.ts';
import { createAgentJudge } from './redirect/invalid-traffic.ts';
import { createRedirect } from './redirect/redirect.ts';
import { startRelays } from './relays.ts';

const DAY_MS = 86_400_000;
/** Longest wait for an answer of the database, in ms. After that, the relay publishes the batch again. */
const QUERY_MS_MAX = 30_000;
/** Connections for publishing. The relay of the own spool and the relay of adopted spools need one each. */
const CONNECTIONS = 3;

/** A lower connection limit is logged as a warning, because visitors would displace each other's connections. */
const CONNECTIONS_FEW = 500;

/** A running ad server process. */
export type Worker = {
  readonly port: number;
  /** Why it must get no traffic; empty when it is ready. */
  readonly problems: () => readonly Problem[];
  /** Problems that do not affect redirects. */
  readonly warnings: () => readonly Problem[];
};

/** The folder of an ad server's spools in `DATA_DIR`. */
export function spoolRoot(dataDir: string): string {
  return join(dataDir, 'spool');
}

/** The connection limits of the public port, from the limit of open files and the settings. Logs them. */
function publicConnections(config: Config, logger: Logger): PublicConnections {
  const openFiles = openFilesMax();
  const { public: max } = connectionLimits(openFiles);
  const { CONNECTIONS_PER_ADDRESS: perAddress } = config;
  const maxPerSource = perAddress === 0 ? Number.POSITIVE_INFINITY : Math.min(perAddress, Math.ceil(max / 2));
  const level = max < CONNECTIONS_FEW ? 'warn' : 'info';
  logger[level](
    {
      connectionsMax: max,
      connectionsPerAddress: perAddress === 0 ? null : maxPerSource,
      openFilesMax: openFiles,
    },
    `At most ${max} connections on the public port. When the limit is reached, the longest-idle connection is closed. The limit follows from ulimit -n`,
  );
  return { max, maxPerSource, isExempt: createProxyCheck(config.TRUSTED_PROXIES) };
}

/**
 * Starts the components of one ad server process, against the direction of a click: publisher, relay, spool, catalog, redirect, port.
 * Passes each resource to `onShutdown`, which closes them in
 * reverse order.
 */
export async function startWorker(
  config: Config,
  deps: {
    metrics: Metrics;
    logger: Logger;
    onShutdown: OnShutdown;
    fail: (error: unknown) => void;
  },
): Promise<Worker> {
  const { metrics, logger, onShutdown, fail } = deps;
  const { LINK_KEYS: keys, DATABASE_URL: databaseUrl } = config;
  if (keys === undefined)
    throw new TollwayError('bad_settings', 'LINK_KEYS: expected the keys of the links, got nothing');
  if (databaseUrl === undefined)
    throw new TollwayError('bad_settings', 'DATABASE_URL: expected a database, got nothing');
  const errorPages = createErrorPages(config.ERROR_PAGE_FILE);

  const pool = createPool(
    databaseUrl,
    'relay',
    CONNECTIONS,
    (error) => logger.debug({ err: error }, 'A connection broke'),
    QUERY_MS_MAX,
  );
  onShutdown({ name: 'database connections', close: () => pool.end() });
  const publisher = await createPublisher(config, pool, logger);
  onShutdown({ name: 'publisher', close: () => publisher.close() });

  const root = spoolRoot(config.DATA_DIR);
  const spool = new Spool(
    {
      root,
      bytesMax: Math.floor(config.SPOOL_MAX_BYTES / config.AD_SERVER_WORKERS),
      segmentBytes: config.SPOOL_SEGMENT_BYTES,
      sync: config.SPOOL_SYNC,
      syncIntervalMs: config.SPOOL_SYNC_INTERVAL_MS,
    },
    logger,
  );
  const relays = startRelays(config, { root, spool, publisher, metrics, logger, fail });
  onShutdown({ name: 'relay', close: relays.close });

  const catalog = new AdCatalog(
    {
      databaseUrl,
      snapshotPath: join(config.DATA_DIR, 'ad-catalog'),
      pollMs: config.CATALOG_POLL_MS,
      ageWarnMs: config.CATALOG_AGE_WARN_MS,
    },
    { metrics, logger },
  );
  catalog.start();
  onShutdown({ name: 'ad catalog', close: () => catalog.close() });

  const agents = createAgentJudge(config.NO_USER_AGENT);
  const checkHiddenAgents = createHiddenAgentsCheck(agents, logger);
  const rules = config.AGENT_RULES_FILE;
  if (rules !== undefined) {
    const stop = followAgentRules(rules, agents, logger);
    onShutdown({ name: 'agent rules', close: stop });
  }

  const { server, measure } = createAdServer(
    createRedirect({
      verify: createVerifier(keys, config.LINK_LIFE_MAX_DAYS * DAY_MS),
      findAd: (adId) => catalog.get(adId),
      visitorAddress: createVisitorAddress(config.TRUSTED_PROXIES),
      judgeAgent: agents.judge,
      doubleClicks: new DoubleClicks(config.DOUBLE_CLICK_MS),
      elapsedMs: () => performance.now(),
      record: (click, recorded) => spool.append(click, recorded),
      whenFull: config.SPOOL_FULL,
      metrics,
    }),
    metrics,
    publicConnections(config, logger),
    errorPages,
  );
  const startedAt = performance.now();
  const watch = setInterval(() => {
    spool.probe();
    measure();
    catalog.warnIfOld();
    checkHiddenAgents();
    if (relays.problems().length > 0) metrics.brokerUp.set(0);
    metrics.spoolBytes.set(spool.bytes);
    metrics.spoolOldestAge.set(relays.oldestClickAgeMs() / 1_000);
    metrics.catalogAge.set((catalog.ageMs() ?? performance.now() - startedAt) / 1_000);
    metrics.catalogAds.set(catalog.size);
  }, 1_000);
  onShutdown({ name: 'watch', close: () => clearInterval(watch) });

  // On Linux the kernel distributes connections among the workers. If the primary distributed them, a connection passed to a worker that
  // ends would never be answered.
  const reusePort = config.AD_SERVER_WORKERS > 1 && process.platform === 'linux';
  const port = await listen(server, config.AD_SERVER_PORT, config.AD_SERVER_HOST, 'AD_SERVER_PORT', {
    reusePort,
  });
  let closing = false;
  onShutdown({
    name: 'public port',
    close: () => {
      closing = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // Keep-alive connections are closed after the response in progress.
      server.closeIdleConnections();
      return Promise.race([closed, sleep(1_000).then(() => server.closeAllConnections())]);
    },
  });

  return {
    port,
    problems: () => [
      ...(catalog.ageMs() === null ? [problem('ad catalog', 'not loaded yet')] : []),
      ...(spool.problem === null ? [] : [problem('spool', `refuses clicks: ${spool.problem}`)]),
      ...(closing ? [problem('ad server', 'is shutting down')] : []),
    ],
    warnings: relays.problems,
  };
}

/** A problem with an unknown start time. */
function problem(what: string, reason: string): Problem {
  return { what, reason, forMs: 0 };
}
