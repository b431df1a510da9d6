/** A server of the redirect benchmark: the ad server or a bare `node:http`, as its parent process requests. */

import { randomBytes } from 'node:crypto';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { createErrorPages } from '../../ad-server/http/error-pages.ts';
import { createAdServer } from '../../ad-server/http/server.ts';
import { createVisitorAddress } from '../../ad-server/http/visitor.ts';
import { DoubleClicks } from '../../ad-server/redirect/double-clicks.ts';
import { createAgentJudge } from '../../ad-server/redirect/invalid-traffic.ts';
import { createRedirect } from '../../ad-server/redirect/redirect.ts';
import type { Publisher } from '../../brokers/publisher.ts';
import type { LinkKey } from '../../common/config/link-keys.ts';
import { createLogger } from '../../common/telemetry/logger.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { listen } from '../../common/telemetry/operations-server.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { createSigner, createVerifier, impressionLink } from '../../contract/link-token.ts';
import type { CatalogAd } from '../../ledger/accounts/catalog-ads.ts';
import { Relay } from '../../producer/relay.ts';
import { Spool } from '../../producer/spool.ts';
import { listSegments } from '../../producer/spool-format.ts';
import { serveRequests } from './child-port.ts';
import { destination, type ServerRequest, type ServerStarted, usage } from './redirect-protocol.ts';

const ADS = 100;
/** The defaults of the settings. */
const SPOOL = { bytesMax: 1_073_741_824, segmentBytes: 8_388_608, sync: 'os', syncIntervalMs: 100 } as const;
const RELAY = { batchMax: 1_000, lingerMs: 20, watermarkIntervalMs: 2_000 };
const SWEEP_MS = 500;

serveRequests(async (message: ServerRequest) => (message.request === 'usage' ? usage() : start(message)));

async function start({ kind, folder, links }: ServerRequest & { request: 'start' }): Promise<ServerStarted> {
  const keys: LinkKey[] = [{ id: 'k1', state: 'signs', secret: randomBytes(32) }];
  const sign = createSigner(keys);
  const paths = Array.from({ length: links }, (_, index) => {
    return `/c/${sign(impressionLink((index % ADS) + 1, DAY_MS))}`;
  });
  const linksPath = join(folder, `links-${kind}`);
  writeFileSync(linksPath, paths.join('\n'));
  const server = kind === 'bare' ? createBareServer() : createTollwayServer(keys, join(folder, kind), kind);
  return { port: await listen(server, 0, '127.0.0.1', kind), linksPath };
}

/** Sends the same answer as the ad server, without any other work. */
function createBareServer(): Server {
  const clickId = uuidV7();
  const location = destination(clickId);
  return createServer((_, response) => {
    response.writeHead(302, [
      'Location',
      location,
      'Cache-Control',
      'no-store',
      'Tollway-Click',
      clickId,
      'Content-Length',
      '0',
    ]);
    response.end();
  });
}

/** The ad server as `worker.ts` assembles it, with a fixed ad catalog. */
function createTollwayServer(keys: readonly LinkKey[], root: string, kind: 'spool' | 'relay'): Server {
  const metrics = createMetrics();
  const logger = createLogger('bench', { LOG_LEVEL: 'warn', LOG_FORMAT: 'json' });
  const spool = new Spool({ root, ...SPOOL }, logger);
  if (kind === 'spool') sweep(spool);
  else {
    const discarding: Publisher = {
      publish: async () => [],
      publishEverywhere: async () => {},
      close: async () => {},
    };
    const onFreed = (bytes: number) => {
      spool.bytes -= bytes;
    };
    const relay = new Relay(spool, { publisher: discarding, options: RELAY, metrics, logger, onFreed });
    spool.onChange = () => relay.notify();
    void relay.run();
  }
  const ads = new Map<number, CatalogAd>();
  for (let id = 1; id <= ADS; id += 1) {
    ads.set(id, {
      id,
      campaignId: id,
      advertiserId: id,
      priceMicros: 250_000,
      urlTemplate: destination('{click_id}'),
      passParameters: [],
      paused: false,
      exhaustedUntil: null,
      held: false,
      pace: null,
      startsAt: null,
      endsAt: null,
      fallbackUrl: null,
    });
  }
  const redirect = createRedirect({
    verify: createVerifier(keys, 90 * DAY_MS),
    findAd: (adId) => ads.get(adId),
    visitorAddress: createVisitorAddress([]),
    judgeAgent: createAgentJudge().judge,
    doubleClicks: new DoubleClicks(1_000),
    elapsedMs: () => performance.now(),
    record: (click, recorded) => spool.append(click, recorded),
    whenFull: 'redirect',
    metrics,
  });
  const connections = { max: 20_000, maxPerSource: Number.POSITIVE_INFINITY, isExempt: () => false };
  const errorPages = createErrorPages(undefined);
  return createAdServer(redirect, metrics, { connections, errorPages, front: true }).server;
}

/** Deletes complete segments of the spool regularly, because there is no relay that deletes published ones. */
function sweep(spool: Spool): void {
  setInterval(() => {
    for (const segment of listSegments(spool.folder)) {
      if (segment.firstSequence === spool.openSegment) continue;
      spool.bytes -= statSync(segment.path).size;
      rmSync(segment.path);
    }
  }, SWEEP_MS).unref();
}
