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
/** Time between two attempts to read an ad or to publish a click, in ms. */
const RETRY_MS = 20;
/** Longest wait for an update of a cached ad, in ms. After that, the cached one is used. */
const REFRESH_MS_MAX = 250;
/** Time between two reports of metrics, in ms. A report for each click would cost more than the click itself. */
const REPORT_MS = 10_000;

/** The redirect as a function. */
export type RedirectFunction = {
  readonly answer: (request: ClickRequest) => Promise<HttpAnswer>;
  /** Whether the database has refused the login. The password may have changed, so the secret must be read again. */
  readonly isRefused: () => boolean;
  readonly close: () => Promise<void>;
};

/**
 * Opens the redirect as a function, with the ad server's link verification, traffic judgement and event. A function has no disk for a
 * spool: the click is published before the response and has no spool id. If the broker does not confirm it within `REDIRECT_WAIT_MS`,
 * `SPOOL_FULL` decides. Throws `bad_settings`, or what reading the settings or creating the publisher throws.
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
  let isLoginRefused = false;
  const publishLog = new ThrottledLog(logger, {
    failed: 'The broker did not confirm a click in time. The click may be lost. Check the broker',
    recovered: 'The broker confirms clicks in time again',
  });
  const refreshLog = new ThrottledLog(logger, {
    failed: 'An ad cannot be read. Cached ads are still redirected. Check the connection to the database',
    recovered: 'Ads are read again',
  });
  const noteAuthFailure = (error: unknown) => {
    isLoginRefused ||= /^28/.test(errorCode(error) ?? '');
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
      // The click id as the key distributes clicks over partitions and shards, and identifies a record whose value is damaged.
      const record = { key: clickId, value: Buffer.from(click) };
      const publish = async () => {
        const refused = await publisher.publish([record]);
        return refused.length === 0 ? null : 'the broker refuses the click for now';
      };
      void retryInTime(publish, waitMs, noteAuthFailure).then((problem) => {
        if (problem !== null) {
          publishLog.fail({ clickId, problem });
          // Report at once, because a function can be ended as soon as it has answered.
          reportedAt = Number.NEGATIVE_INFINITY;
        } else publishLog.recover();
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
        const isCached = ads.get(link.adId) !== undefined;
        const problem = await retryInTime(
          refresh,
          isCached ? Math.min(waitMs, REFRESH_MS_MAX) : waitMs,
          noteAuthFailure,
        );
        if (problem !== null) {
          ads.extendTtl();
          refreshLog.fail({ adId: link.adId, problem });
        } else refreshLog.recover();
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
    isRefused: () => isLoginRefused,
    close: async () => {
      metrics.flush();
      await Promise.allSettled([publisher.close(), terminatePool(pool)]);
    },
  };
}

/**
 * Retries `work` until it succeeds or `waitMs` is over, because the first connection after a freeze can be broken. `work` resolves to `null`,
 * or to a problem, or throws. Resolves to `null` or to the last problem, and does not throw. An attempt in progress at the end continues: a
 * click that was sent and not confirmed can still arrive.
 */
async function retryInTime(
  work: () => Promise<string | null>,
  waitMs: number,
  onError: (error: unknown) => void,
): Promise<string | null> {
  let problem: string | null = `no answer within ${waitMs} ms`;
  let isOver = false;
  const attempts = async () => {
    while (!isOver && problem !== null) {
      try {
        problem = await work();
      } catch (error) {
        onError(error);
        problem = errorMessage(error);
      }
      if (problem !== null) await sleep(RETRY_MS);
    }
  };
  await Promise.race([attempts(), sleep(waitMs)]);
  isOver = true;
  return problem;
}
