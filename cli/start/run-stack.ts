import { join, resolve } from 'node:path';
import type { Config } from '../../common/config/config.ts';
import { readEnvironment } from '../../common/config/environment.ts';
import { findOrMakeLinkKeys } from '../../common/config/link-key-file.ts';
import { formatLinkKeys, type LinkKey } from '../../common/config/link-keys.ts';
import { misspeltSettings, warnOfMisspelt } from '../../common/config/misspelt-settings.ts';
import { parseSettings } from '../../common/config/parse-settings.ts';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { lockFile } from '../../common/file-lock.ts';
import { formatAmount } from '../../common/money.ts';
import { createServer } from '../../common/node-http.ts';
import { partAddresses } from '../../common/part-addresses.ts';
import { createClient, createPool, type Pool } from '../../common/postgres/postgres.ts';
import { type OnShutdown, runProcess, sleep } from '../../common/process.ts';
import { createLogger, type Logger } from '../../common/telemetry/logger.ts';
import { listen } from '../../common/telemetry/operations-server.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import { readVersion } from '../../common/version.ts';
import { createSigner, impressionLink } from '../../contract/link-token.ts';
import { createLoginLink, loginUrl } from '../../ledger/access/login-links.ts';
import { listAds } from '../../ledger/accounts/ads.ts';
import { listAdvertisers } from '../../ledger/accounts/advertisers.ts';
import { changeAs } from '../../ledger/actor.ts';
import { retentionOf } from '../../ledger/partitions.ts';
import { migrate } from '../../migrations/migrate.ts';
import { addSamples } from '../samples.ts';
import { assertBroker } from './assert-broker.ts';
import { type EmbeddedPostgres, makeDataDir, startEmbeddedPostgres } from './embedded-postgres.ts';
import { removeStack, type Stack, stackOf, writeStack } from './stack.ts';
import { type PartFiles, type SupervisedProcess, startProcess } from './supervised-process.ts';

/** Longest time for each part to drain, in ms; together less than ten seconds. */
const AD_SERVER_DRAIN_MS = 4_500;
const PROCESSOR_DRAIN_MS = 2_500;
const CONSOLE_DRAIN_MS = 1_500;
const PROCESSOR: PartFiles = {
  script: 'processor/main.ts',
  preloaded: ['processor/runtime.ts', 'processor/consume.ts'],
};
const AD_SERVER: PartFiles = { script: 'ad-server/main.ts', preloaded: ['ad-server/worker.ts'] };
const CONSOLE: PartFiles = { script: 'console/main.ts', preloaded: ['console/serve.ts'] };
const LINK_LIFE_MS = 30 * 86_400_000;
const LINKS_SHOWN = 3;
/** Time between two checks of a PostgreSQL that has closed our connection, in ms. */
const WATCH_MS = 200;

/** Starts all parts in one terminal, in order, restarts a part that dies, and ends them all at a signal. */
export function runStack(): Promise<void> {
  return runProcess(startParts, 'tollway');
}

async function startParts(onShutdown: OnShutdown, fail: (error: Error) => void): Promise<void> {
  const startedAt = performance.now();
  // The output is for a terminal: warnings only, and formatted for reading.
  const env = {
    LOG_FORMAT: process.stdout.isTTY ? 'pretty' : 'json',
    LOG_LEVEL: 'warn',
    ...readEnvironment(),
  };
  const given = parseSettings(env);
  const config: Config = { ...given, DATA_DIR: resolve(given.DATA_DIR) };
  const logger = createLogger('start', config);
  warnOfMisspelt(env, logger);
  await assertBroker(config, logger);
  makeDataDir(config.DATA_DIR);
  const lock = lockFile(join(config.DATA_DIR, 'start-lock'));
  if (lock === null)
    throw new TollwayError(
      'already_running',
      `Expected a data folder that no other npm start uses, got ${config.DATA_DIR}: Tollway runs on it already`,
    );
  onShutdown({
    name: 'lock',
    close: () => {
      lock.release();
      process.stdout.write('Stopped.\n');
    },
  });
  await assertPortsFree(config);
  const parts = startProcesses(config, { logger, onStartFailure: fail });

  const databaseUrl = config.DATABASE_URL ?? (await openEmbedded(config, logger, onShutdown));
  await migrate(databaseUrl, retentionOf(config), logger);
  const keys = findOrMakeLinkKeys(config);
  const partEnv = {
    ...env,
    // Warned about above. The parts read .env too and would warn again.
    ...Object.fromEntries(misspeltSettings(env).map(({ name }) => [name, ''])),
    DATABASE_URL: databaseUrl,
    LINK_KEYS: formatLinkKeys(keys),
    DATA_DIR: config.DATA_DIR,
  };
  // The parts drain in reverse order at shutdown, and the database stops after them.
  for (const { name, drainMs, process: part } of parts) {
    part.run(partEnv);
    onShutdown({ name, close: () => part.stop(drainMs) });
  }
  const welcomeLinks = await makeWelcomeLinks(databaseUrl, keys, config, logger);
  await Promise.all(parts.map(({ process: part }) => part.ready()));

  const stack = stackOf(config, databaseUrl, env);
  writeStack({ ...stack, pid: process.pid });
  onShutdown({ name: 'stack file', close: () => removeStack(config.DATA_DIR) });
  process.stdout.write(
    welcome(stack, welcomeLinks, config.DATABASE_URL === undefined, performance.now() - startedAt),
  );
}

/** A part, its name in the log of the shutdown, and the longest time for it to drain, in ms. */
type Part = { readonly name: string; readonly drainMs: number; readonly process: SupervisedProcess };

type ProcessDeps = { readonly logger: Logger; readonly onStartFailure: (error: Error) => void };

/** Starts the processes of the parts, which load their modules while the database starts. */
function startProcesses(config: Config, deps: ProcessDeps): Part[] {
  const { processorOpsUrl, adServerOpsUrl, consoleOpsUrl } = partAddresses(config);
  const processor = startProcess('processor', PROCESSOR, processorOpsUrl, {
    ...deps,
    whileAway: 'Clicks wait in the spool or the broker until it charges again',
    hasLowPriority: true,
  });
  const adServer = startProcess('ad server', AD_SERVER, adServerOpsUrl, {
    ...deps,
    whileAway:
      'Links do not redirect until it is back. Clicks accepted before are in the spool and are charged after the restart',
    hasLowPriority: false,
    workers: config.AD_SERVER_WORKERS,
  });
  const httpApi = startProcess('console', CONSOLE, consoleOpsUrl, {
    ...deps,
    whileAway: 'The HTTP API answers again after the restart. Clicks are not affected',
    hasLowPriority: true,
  });
  return [
    { name: 'processor', drainMs: PROCESSOR_DRAIN_MS, process: processor },
    { name: 'ad server', drainMs: AD_SERVER_DRAIN_MS, process: adServer },
    { name: 'console', drainMs: CONSOLE_DRAIN_MS, process: httpApi },
  ];
}

async function assertPortsFree(config: Config): Promise<void> {
  for (const [port, host, setting] of [
    [config.AD_SERVER_PORT, config.AD_SERVER_HOST, 'AD_SERVER_PORT'],
    [config.AD_SERVER_OPS_PORT, config.OPS_HOST, 'AD_SERVER_OPS_PORT'],
    [config.PROCESSOR_OPS_PORT, config.OPS_HOST, 'PROCESSOR_OPS_PORT'],
    [config.CONSOLE_PORT, config.CONSOLE_HOST, 'CONSOLE_PORT'],
    [config.CONSOLE_OPS_PORT, config.OPS_HOST, 'CONSOLE_OPS_PORT'],
  ] as const) {
    const server = createServer();
    await listen(server, port, host, setting);
    await new Promise((closed) => server.close(closed));
  }
}

/** Starts the embedded PostgreSQL and restarts it if it dies, which a broken connection shows. */
async function openEmbedded(config: Config, logger: Logger, onShutdown: OnShutdown): Promise<string> {
  const postgres = await startEmbeddedPostgres(config.DATA_DIR, logger, { hasLowPriority: true });
  let stopping = false;
  onShutdown({
    name: 'embedded PostgreSQL',
    close: () => {
      stopping = true;
      return postgres.stop();
    },
  });
  const watch = async (): Promise<void> => {
    while (!stopping) {
      const client = createClient(postgres.url, 'start');
      const ended = new Promise<void>((end) => {
        client.on('error', () => {});
        client.on('end', end);
      });
      await client.connect().then(
        () => ended,
        () => {},
      );
      if (stopping) return;
      // The server may have closed only this connection.
      if (await restartIfDead(postgres, logger, () => stopping))
        logger.error(
          'The embedded PostgreSQL had died and was started again. Clicks waited in the spool or the broker and are charged now',
        );
      await sleep(WATCH_MS);
    }
  };
  void watch();
  return postgres.url;
}

/** Restarts a server that has died, and retries until it runs. Returns whether it had died. */
async function restartIfDead(
  postgres: EmbeddedPostgres,
  logger: Logger,
  isStopping: () => boolean,
): Promise<boolean> {
  const log = new ThrottledLog(logger, {
    failed: 'The embedded PostgreSQL does not start; clicks wait in the spool',
    recovered: 'The embedded PostgreSQL was started again',
    level: 'error',
  });
  while (!isStopping()) {
    try {
      const isRestarted = await postgres.restartIfDead();
      log.recover();
      return isRestarted;
    } catch (error) {
      log.fail({ problem: errorMessage(error) });
      await sleep(WATCH_MS);
    }
  }
  return false;
}

type LinkToClick = { readonly ad: string; readonly price: string; readonly url: string };

/** The links that the start prints: to the console, logged in, and to click. */
type WelcomeLinks = { readonly loginUrl: string; readonly toClick: readonly LinkToClick[] };

/** Adds the samples to an empty database and makes the links. */
async function makeWelcomeLinks(
  databaseUrl: string,
  keys: readonly LinkKey[],
  config: Config,
  logger: Logger,
): Promise<WelcomeLinks> {
  const pool = createPool(databaseUrl, 'start', 1, (error) =>
    logger.debug({ err: error }, 'A connection broke'),
  );
  try {
    const link = await changeAs(pool, { type: 'system', component: 'start' }, async (connection) => {
      await addSamples(connection);
      return createLoginLink(connection);
    });
    const { consoleUrl } = partAddresses(config);
    return { loginUrl: loginUrl(consoleUrl, link), toClick: await linksToClick(pool, keys, config) };
  } finally {
    await pool.end();
  }
}

async function linksToClick(pool: Pool, keys: readonly LinkKey[], config: Config): Promise<LinkToClick[]> {
  const sign = createSigner(keys);
  const advertisers = new Map((await listAdvertisers(pool)).map((advertiser) => [advertiser.id, advertiser]));
  const ads = (await listAds(pool, { status: 'active' })).slice(0, LINKS_SHOWN);
  return ads.map((ad) => {
    const { currency = '' } = advertisers.get(ad.advertiserId) ?? {};
    const url = `${config.PUBLIC_URL}/c/${sign(impressionLink(ad.id, LINK_LIFE_MS))}`;
    const named = ad.name === null ? `Ad ${ad.id}` : `${ad.name} (ad ${ad.id})`;
    return {
      ad: `${named} of ${ad.advertiserName}`,
      price: `${formatAmount(ad.priceMicros)} ${currency}`,
      url,
    };
  });
}

function welcome(stack: Stack, links: WelcomeLinks, embedded: boolean, tookMs: number): string {
  const database = embedded ? `embedded PostgreSQL in ${stack.dataDir}` : 'your PostgreSQL (DATABASE_URL)';
  const shown = links.toClick.map(({ ad, price, url }) => `  ${ad}, ${price} a click\n    ${url}\n`);
  return `
Tollway ${readVersion()} is ready (${(tookMs / 1_000).toFixed(1)} s).

  Console      ${links.loginUrl}
  Redirects    ${stack.adServerUrl}
  HTTP API     ${stack.consoleUrl}/reference
  Operations   ${stack.adServerOpsUrl}/metrics   ad server
               ${stack.processorOpsUrl}/metrics   processor
               ${stack.consoleOpsUrl}/metrics   console
  Database     ${database}
  Broker       ${stack.broker}

The link to the console logs one browser in. Links to click, each charged once:

${shown.join('')}
Then, in another terminal:

  npx tollway login              print another link to the console
  npx tollway advertiser list    list the budgets and what is left of them
  npx tollway link 1             print another link
  npx tollway reconcile          check that the books balance

Ctrl-C drains and stops.
`;
}
