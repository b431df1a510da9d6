import { createEmbeddedMetrics } from '../common/embedded-metrics.ts';
import { errorMessage, TollwayError } from '../common/errors.ts';
import { readFunctionConfig } from '../common/function-config.ts';
import { sleep } from '../common/lifecycle.ts';
import { createFunctionLogger } from '../common/logger.ts';
import { createPool, cutPool } from '../common/postgres.ts';
import type { BrokerRecord } from '../producer/click-event.ts';
import { createPublisher } from '../producer/create-publisher.ts';
import type { Publisher } from '../producer/publisher.ts';
import { AdLookup } from './ad-lookup.ts';
import { DoubleClicks } from './double-clicks.ts';
import { createVerifier } from './link.ts';
import { type Answer, type ClickRequest, createRedirect, tokenOf } from './redirect.ts';
import { createVisitorAddress } from './visitor.ts';

const DAY_MS = 86_400_000;
/** Time between two tries to publish a click, in ms. */
const RETRY_MS = 20;
/** Time between two reports of metrics, in ms: a report a click would cost more than the click. */
const REPORT_MS = 10_000;

/** The redirect in a function. */
export type RedirectFunction = {
  readonly answer: (request: ClickRequest) => Promise<Answer>;
  readonly close: () => Promise<void>;
};

/**
 * Opens what a redirect in a function consists of: the same link verification, the same judgement, the same event as the
 * ad server's. But there is no disk to spool on: the click is published before the answer, and has no origin.
 * Where the broker does not confirm it within `REDIRECT_WAIT_MS`, `SPOOL_FULL` decides.
 */
export async function openRedirectFunction(
  name: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<RedirectFunction> {
  const config = await readFunctionConfig(name, env);
  const { LINK_KEYS: keys, REDIRECT_WAIT_MS: waitMs } = config;
  if (keys === undefined)
    throw new TollwayError('bad_settings', `${name}: LINK_KEYS: expected the keys of the links, got nothing`);
  const logger = createFunctionLogger(name, config);
  const metrics = createEmbeddedMetrics(name);
  const pool = createPool(config.DATABASE_URL, name, 2, () => {}, waitMs);
  const publisher = await createPublisher(config, pool, logger);
  const ads = new AdLookup(pool, config.CATALOG_POLL_MS);
  const verify = createVerifier(keys, config.LINK_LIFE_MAX_DAYS * DAY_MS);
  const redirect = createRedirect({
    verify,
    findAd: (adId) => ads.get(adId),
    visitorAddress: createVisitorAddress(config.TRUSTED_PROXIES),
    doubleClicks: new DoubleClicks(config.DOUBLE_CLICK_MS),
    record: (click, recorded, clickId) => {
      // The key is no origin's: it spreads clicks over partitions and shards, and names them where their bytes are garbage.
      const record = { key: clickId, value: Buffer.from(click) };
      void publishInTime(publisher, record, waitMs).then((problem) => {
        if (problem !== null) logger.warn({ clickId, problem }, 'A click was not confirmed in time');
        recorded(problem === null ? 0 : null);
      });
    },
    whenFull: config.SPOOL_FULL,
    metrics,
  });
  let reportedAt = 0;

  return {
    answer: async (request) => {
      const startedAt = performance.now();
      const token = tokenOf(request.url);
      const link = token === null ? null : verify(token);
      if (link !== null) {
        await Promise.race([ads.learn(link.adId), sleep(waitMs)]).catch((error: unknown) => {
          logger.warn({ problem: errorMessage(error) }, 'An ad cannot be read');
        });
      }
      const answer = await new Promise<Answer>((resolve) => redirect(request, resolve));
      metrics.redirects.inc({ answer: answer.is });
      metrics.redirectDuration.observe((performance.now() - startedAt) / 1_000);
      if (Date.now() - reportedAt >= REPORT_MS) {
        reportedAt = Date.now();
        metrics.flush();
      }
      return answer;
    },
    close: async () => {
      metrics.flush();
      await Promise.allSettled([publisher.close(), cutPool(pool)]);
    },
  };
}

/**
 * Publishes a click, again and again until the time is over: it is the same click each time. Answers what stood in the
 * way, or `null`. What was sent and not confirmed may arrive all the same.
 */
async function publishInTime(
  publisher: Publisher,
  record: BrokerRecord,
  waitMs: number,
): Promise<string | null> {
  let problem: string | null = `no answer within ${waitMs} ms`;
  let over = false;
  const tries = async () => {
    while (!over && problem !== null) {
      try {
        const refused = await publisher.publish([record]);
        problem = refused.length === 0 ? null : 'the broker refuses it for now';
      } catch (error) {
        problem = errorMessage(error);
      }
      if (problem !== null) await sleep(RETRY_MS);
    }
  };
  await Promise.race([tries(), sleep(waitMs)]);
  over = true;
  return problem;
}
