import { join } from 'node:path';
import { createPublisher } from '../brokers/create-publisher.ts';
import type { Publisher } from '../brokers/publisher.ts';
import type { Config } from '../common/config/config.ts';
import { TollwayError } from '../common/errors.ts';
import { createPool } from '../common/postgres/postgres.ts';
import type { OnShutdown } from '../common/process.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { Metrics } from '../common/telemetry/metrics.ts';
import type { Problem } from '../common/telemetry/problems.ts';
import { flushTraces } from '../common/telemetry/tracing.ts';
import { DAY_MS } from '../common/unix-time.ts';
import { createVerifier } from '../contract/link-token.ts';
import { Spool } from '../producer/spool.ts';
import { SpoolUsage } from '../producer/spool-usage.ts';
import { AdCatalog } from './catalog/ad-catalog.ts';
import { createErrorPages } from './http/error-pages.ts';
import { createAdServer } from './http/server.ts';
import { createVisitorAddress } from './http/visitor.ts';
import { openPublicPort, publicConnections } from './public-port.ts';
import { followAgentRules } from './redirect/agent-rules-file.ts';
import { DoubleClicks } from './redirect/double-clicks.ts';
import { createHiddenAgentsCheck } from './redirect/hidden-agents-log.ts';
import { type AgentJudge, createAgentJudge } from './redirect/invalid-traffic.ts';
import { createRedirect } from './redirect/redirect.ts';
import { type Relays, startRelays } from './relays.ts';

/** Longest wait for an answer of the database, in ms. After that, the relay publishes the batch again. */
const QUERY_MS_MAX = 30_000;
/**
 * Connections for publishing: one for the clicks of the own spool, one for its watermark, and one for an adopted spool, whose watermark is
 * sent after its clicks.
 */
const CONNECTIONS = 3;

/** Time between two updates of the gauges, in ms. */
const WATCH_MS = 1_000;

/** A running ad server process. */
export type Worker = {
  readonly port: number;
  /** Why it must get no traffic; empty when it is ready. */
  readonly problems: () => readonly Problem[];
  /** Problems that do not affect redirects. */
  readonly warnings: () => readonly Problem[];
};

/** The folder of an ad server's spools in `DATA_DIR`. */
function spoolRoot(dataDir: string): string {
  return join(dataDir, 'spool');
}

type WorkerDeps = {
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly onShutdown: OnShutdown;
  readonly fail: (error: unknown) => void;
};

/**
 * Starts the components of one ad server process: publisher, spool, relays, catalog, redirect, public port. Each component is started
 * before the one that passes clicks to it. Passes each resource to `onShutdown`, which closes them in reverse order. Throws `bad_settings`,
 * or what a component throws.
 */
export async function startWorker(config: Config, deps: WorkerDeps): Promise<Worker> {
  const { metrics, logger, onShutdown, fail } = deps;
  const { keys, databaseUrl } = requiredSettings(config);
  const errorPages = createErrorPages(config.ERROR_PAGE_FILE);
  onShutdown({ name: 'traces', close: flushTraces });
  const publisher = await openPublisher(config, databaseUrl, deps);
  const spool = openSpool(config, logger);
  const root = spoolRoot(config.DATA_DIR);
  const usage = new SpoolUsage(root, spool.spoolId);
  await usage.measure();
  const relays = startRelays(config, { root, spool, usage, publisher, metrics, logger, fail });
  onShutdown({ name: 'relay', close: relays.close });
  const catalog = startCatalog(config, databaseUrl, deps);
  const agents = openAgentJudge(config, deps);
  const redirect = createRedirect({
    verify: createVerifier(keys, config.LINK_LIFE_MAX_DAYS * DAY_MS),
    findAd: (adId) => catalog.get(adId),
    visitorAddress: createVisitorAddress(config.TRUSTED_PROXIES),
    judgeAgent: agents.judge,
    doubleClicks: new DoubleClicks(config.DOUBLE_CLICK_MS),
    elapsedMs: () => performance.now(),
    record: (click, recorded) => spool.append(click, recorded),
    whenFull: config.SPOOL_FULL,
    metrics,
  });
  const adServer = createAdServer(redirect, metrics, {
    connections: publicConnections(config, logger),
    errorPages,
    front: config.HTTP_FRONT === 'on',
  });
  const checkHiddenAgents = createHiddenAgentsCheck(agents, logger);
  const setGauges = createGauges(metrics, relays, catalog);
  const watch = setInterval(() => {
    void relays.measureSpools();
    spool.probe();
    adServer.measure();
    catalog.warnIfOld();
    checkHiddenAgents();
    setGauges();
  }, WATCH_MS);
  onShutdown({ name: 'watch', close: () => clearInterval(watch) });
  const { port, isClosing } = await openPublicPort(adServer, config, onShutdown);
  return {
    port,
    problems: () => problemsOf(catalog, spool, isClosing()),
    warnings: () => [...relays.problems(), ...relays.blockedSpools(), ...catalog.clock.problems()],
  };
}

/** The settings that have no default. Throws `bad_settings` if one is missing. */
function requiredSettings({ LINK_KEYS: keys, DATABASE_URL: databaseUrl }: Config) {
  if (keys === undefined)
    throw new TollwayError('bad_settings', 'LINK_KEYS: expected the keys of the links, got nothing');
  if (databaseUrl === undefined)
    throw new TollwayError('bad_settings', 'DATABASE_URL: expected a database, got nothing');
  return { keys, databaseUrl };
}

async function openPublisher(
  config: Config,
  databaseUrl: string,
  { logger, onShutdown }: WorkerDeps,
): Promise<Publisher> {
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
  return publisher;
}

/** Opens a new spool. All spools of the folder share `SPOOL_MAX_BYTES`. */
function openSpool(config: Config, logger: Logger): Spool {
  return new Spool(
    {
      root: spoolRoot(config.DATA_DIR),
      bytesMax: config.SPOOL_MAX_BYTES,
      segmentBytes: config.SPOOL_SEGMENT_BYTES,
      sync: config.SPOOL_SYNC,
      syncIntervalMs: config.SPOOL_SYNC_INTERVAL_MS,
    },
    logger,
  );
}

function startCatalog(
  config: Config,
  databaseUrl: string,
  { metrics, logger, onShutdown }: WorkerDeps,
): AdCatalog {
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
  return catalog;
}

/** Creates the judge of user agents, which follows `AGENT_RULES_FILE` if it is set. */
function openAgentJudge(config: Config, { logger, onShutdown }: WorkerDeps): AgentJudge {
  const agents = createAgentJudge(config.NO_USER_AGENT);
  const rules = config.AGENT_RULES_FILE;
  if (rules !== undefined) {
    const stop = followAgentRules(rules, agents, logger);
    onShutdown({ name: 'agent rules', close: stop });
  }
  return agents;
}

/** Makes a function that updates the gauges of spool, relays and catalog. A catalog that is not loaded counts as old as the process. */
function createGauges(metrics: Metrics, relays: Relays, catalog: AdCatalog): () => void {
  const startedAt = performance.now();
  return () => {
    if (relays.problems().length > 0) metrics.brokerUp.set(0);
    metrics.spoolBytes.set(relays.shareOfBytes());
    metrics.spoolOldestAge.set(relays.oldestClickAgeMs() / 1_000);
    metrics.catalogAge.set((catalog.ageMs() ?? performance.now() - startedAt) / 1_000);
    metrics.catalogAds.set(catalog.size);
    if (catalog.clock.offsetMs !== null) metrics.clockOffset.set(catalog.clock.offsetMs / 1_000);
  };
}

function problemsOf(catalog: AdCatalog, spool: Spool, isClosing: boolean): readonly Problem[] {
  return [
    ...(catalog.ageMs() === null ? [problem('ad catalog', 'not loaded yet')] : []),
    ...(spool.problem === null ? [] : [problem('spool', `refuses clicks: ${spool.problem}`)]),
    ...(isClosing ? [problem('ad server', 'is shutting down')] : []),
  ];
}

/** A problem with an unknown start time. */
function problem(what: string, reason: string): Problem {
  return { what, reason, forMs: 0 };
}
