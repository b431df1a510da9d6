import { createPublisher } from '../../brokers/create-publisher.ts';
import { readFunctionConfig } from '../../common/config/function-config.ts';
import { errorCode, errorMessage, TollwayError } from '../../common/errors.ts';
import { createPool, terminatePool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { createEmbeddedMetrics } from '../../common/telemetry/embedded-metrics.ts';
import { createFunctionLogger } from '../../common/telemetry/logger.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import { createVerifier } from '../../contract/link-token.ts';
import { AdLookup } from '../catalog/ad-lookup.ts';
import { type HttpAnswer, httpAnswer } from '../http/answers.ts';
import { createErrorPages } from '../http/error-pages.ts';
import { createVisitorAddress } from '../http/visitor.ts';
import { findLink } from '../links/find-link.ts';
import { rulesOf } from '../redirect/agent-rules.ts';
import { DoubleClicks } from '../redirect/double-clicks.ts';
import { createHiddenAgentsCheck } from '../redirect/hidden-agents-log.ts';
import { createAgentJudge } from '../redirect/invalid-traffic.ts';
import { type Answer, type ClickRequest, createRedirect } from '../redirect/redirect.ts';

const DAY_MS = 86_400_000;
/** Time between two tries to read an ad or to publish a click, in ms. */
const RETRY_MS = 20;
/** Longest wait for news of an ad that is known, in ms: it can be believed for a while longer. */
const NEWS_MS_MAX = 250;
/** Time between two reports of metrics, in ms: a report a click would cost more than the click. */
const REPORT_MS = 10_000;

/** The redirect in a function. */
export type RedirectFunction = {
  readonly answer: (request: ClickRequest) => Promise<HttpAnswer>;
  /** Whether the database has refused who we say we are: a password was changed, and has to be asked for anew. */
  readonly isRefused: () => boolean;
  readonly close: () => Promise<void>;
};

/**
 * Opens what a redirect in a function consists of: the same link verification, the same judgement, the same event as the
 * ad server's. But there is no disk to spool on: the click is published before the answer, and has no spool id.
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
  const errorPages = createErrorPages(config.ERROR_PAGE_FILE);
  const logger = createFunctionLogger(name, config);
  const metrics = createEmbeddedMetrics(env.AWS_LAMBDA_FUNCTION_NAME ?? name);
  const pool = createPool(config.DATABASE_URL, name, 2, () => {}, waitMs, waitMs);
  const publisher = await createPublisher(config, pool, logger);
  const ads = new AdLookup(pool, config.CATALOG_POLL_MS);
  let reportedAt = Number.NEGATIVE_INFINITY;
  let refused = false;
  const confirming = new ThrottledLog(logger, {
    failed: 'A click was not confirmed in time; it may be lost',
    recovered: 'The broker confirms clicks in time again',
  });
  const refreshing = new ThrottledLog(logger, {
    failed: 'An ad cannot be read; ads that are known are served as they were',
    recovered: 'Ads are read again',
  });
  const noteAuthFailure = (error: unknown) => {
    refused ||= /^28/.test(errorCode(error) ?? '');
  };
  const verify = createVerifier(keys, config.LINK_LIFE_MAX_DAYS * DAY_MS);
  // A function may be frozen between clicks, so it reads the rules once, when it is opened.
  const agents = createAgentJudge(config.NO_USER_AGENT, rulesOf(config));
  const checkHiddenAgents = createHiddenAgentsCheck(agents, logger);
  const redirect = createRedirect({
    verify,
    findAd: (adId) => ads.get(adId),
    visitorAddress: createVisitorAddress(config.TRUSTED_PROXIES),
    judgeAgent: agents.judge,
    doubleClicks: new DoubleClicks(config.DOUBLE_CLICK_MS),
    elapsedMs: Date.now,
    record: (click, recorded, clickId) => {
      // The key is no spool id's: it spreads clicks over partitions and shards, and names them where their bytes are garbage.
      const record = { key: clickId, value: Buffer.from(click) };
      const publish = async () => {
        const left = await publisher.publish([record]);
        return left.length === 0 ? null : 'the broker refuses it for now';
      };
      void tryInTime(publish, waitMs, noteAuthFailure).then((problem) => {
        if (problem !== null) {
          confirming.fail({ clickId, problem });
          // A function may be ended as soon as it has answered: what is lost is reported at once.
          reportedAt = Number.NEGATIVE_INFINITY;
        } else confirming.recover();
        recorded(problem === null ? 0 : null);
      });
    },
    whenFull: config.SPOOL_FULL,
    metrics,
  });

  return {
    answer: async (request) => {
      const startedAt = performance.now();
      const link = findLink(request.url, verify)?.link;
      if (link !== undefined) {
        const refresh = () => ads.refresh(link.adId).then(() => null);
        const isKnown = ads.get(link.adId) !== undefined;
        const problem = await tryInTime(
          refresh,
          isKnown ? Math.min(waitMs, NEWS_MS_MAX) : waitMs,
          noteAuthFailure,
        );
        if (problem !== null) {
          ads.extendTtl();
          refreshing.fail({ adId: link.adId, problem });
        } else refreshing.recover();
      }
      const answer = await new Promise<Answer>((resolve) => redirect(request, resolve));
      metrics.redirects.inc({ answer: answer.is });
      metrics.redirectDuration.observe((performance.now() - startedAt) / 1_000);
      if (performance.now() - reportedAt >= REPORT_MS) {
        reportedAt = performance.now();
        metrics.flush();
        checkHiddenAgents();
      }
      return httpAnswer(answer, errorPages);
    },
    isRefused: () => refused,
    close: async () => {
      metrics.flush();
      await Promise.allSettled([publisher.close(), terminatePool(pool)]);
    },
  };
}

/**
 * Tries something again and again until it succeeds or the time is over: the first connection after a freeze may be broken.
 * `work` answers what stands in the way, or `null`, or throws; so does this, without throwing. A try that is under way when the
 * time is over goes on: a click that was sent and not confirmed may arrive all the same.
 */
async function tryInTime(
  work: () => Promise<string | null>,
  waitMs: number,
  onError: (error: unknown) => void,
): Promise<string | null> {
  let problem: string | null = `no answer within ${waitMs} ms`;
  let over = false;
  const tries = async () => {
    while (!over && problem !== null) {
      try {
        problem = await work();
      } catch (error) {
        onError(error);
        problem = errorMessage(error);
      }
      if (problem !== null) await sleep(RETRY_MS);
    }
  };
  await Promise.race([tries(), sleep(waitMs)]);
  over = true;
  return problem;
}
