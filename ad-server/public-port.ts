import type { Config } from '../common/config/config.ts';
import { connectionLimits, openFilesMax } from '../common/open-files.ts';
import { type OnShutdown, sleep } from '../common/process.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import { listen } from '../common/telemetry/operations-server.ts';
import type { AdServer, PublicConnections } from './http/server.ts';
import { createProxyCheck } from './http/visitor.ts';

/** A lower connection limit is logged as a warning, because visitors would displace each other's connections. */
const CONNECTIONS_FEW = 500;
/** Time at shutdown for responses in progress, in ms. After that, their connections are closed. */
const CLOSE_MS_MAX = 1_000;

/** The port that visitors reach, open until the shutdown. */
export type PublicPort = {
  readonly port: number;
  readonly isClosing: () => boolean;
};

/** The connection limits of the public port, from the limit of open files and the settings. Logs them. */
export function publicConnections(config: Config, logger: Logger): PublicConnections {
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

/** Listens on `AD_SERVER_PORT`. At shutdown, responses in progress are completed. Throws what `listen` throws. */
export async function openPublicPort(
  adServer: AdServer,
  config: Config,
  onShutdown: OnShutdown,
): Promise<PublicPort> {
  // On Linux the kernel distributes connections among the workers. If the primary distributed them, a connection passed to a worker that
  // ends would never be answered.
  const reusePort = config.AD_SERVER_WORKERS > 1 && process.platform === 'linux';
  const { AD_SERVER_PORT: wanted, AD_SERVER_HOST: host } = config;
  const port = await listen(adServer.server, wanted, host, 'AD_SERVER_PORT', { reusePort });
  let isClosing = false;
  onShutdown({
    name: 'public port',
    close: () => {
      isClosing = true;
      return closeAdServer(adServer);
    },
  });
  return { port, isClosing: () => isClosing };
}

/** Accepts no more connections, and closes those that are open once their responses in progress are completed, after 1 s in any case. */
export function closeAdServer({
  server,
  closeIdleConnections,
  closeAllConnections,
}: AdServer): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  closeIdleConnections();
  return Promise.race([closed, sleep(CLOSE_MS_MAX).then(closeAllConnections)]);
}
