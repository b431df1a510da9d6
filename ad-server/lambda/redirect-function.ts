import { createPublisher } from '../../brokers/create-publisher.ts';
import { readFunctionConfig } from '../../common/config/function-config.ts';
import { errorCode, TollwayError } from '../../common/errors.ts';
import { createPool, terminatePool } from '../../common/postgres/postgres.ts';
import { createEmbeddedMetrics, type EmbeddedMetrics } from '../../common/telemetry/embedded-metrics.ts';
import { createFunctionLogger } from '../../common/telemetry/logger.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { findLink } from '../../contract/find-link.ts';
import { createVerifier } from '../../contract/link-token.ts';
import { AdLookup } from '../catalog/ad-lookup.ts';
import { type HttpAnswer, httpAnswer } from '../http/answers.ts';
import { createErrorPages } from '../http/error-pages.ts';
import { createVisitorAddress } from '../http/visitor.ts';
import { rulesOf } from '../redirect/agent-rules.ts';
import { DoubleClicks } from '../redirect/double-clicks.ts';
import { createHiddenAgentsCheck } from '../redirect/hidden-agents-log.ts';
import { createAgentJudge } from '../redirect/invalid-traffic.ts';
import { type Answer, type ClickRequest, createRedirect } from '../redirect/redirect.ts';
import { createClickRecorder } from './record-click.ts';
import { createAdRefresh } from './refresh-ad.ts';

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
  // Each call publishes one click, for which kafkajs is fast enough, and the bundle is half as large without the other client.
  const publisher = await createPublisher({ ...config, KAFKA_CLIENT: 'kafkajs' }, pool, logger);
  const login = new LoginState();
  const ads = new AdLookup(pool, config.CATALOG_POLL_MS);
  const refreshAd = createAdRefresh(ads, waitMs, logger, login.note);
  const verify = createVerifier(keys, config.LINK_LIFE_MAX_DAYS * DAY_MS);
  // A function may be frozen between clicks, so it reads the rules once, when it is opened.
  const agents = createAgentJudge(config.NO_USER_AGENT, rulesOf(config));
  const reports = new Reports(metrics, createHiddenAgentsCheck(agents, logger));
  const redirect = createRedirect({
    verify,
    findAd: (adId) => ads.get(adId),
    visitorAddress: createVisitorAddress(config.TRUSTED_PROXIES),
    judgeAgent: agents.judge,
    doubleClicks: new DoubleClicks(config.DOUBLE_CLICK_MS),
    elapsedMs: Date.now,
    record: createClickRecorder(publisher, waitMs, {
      logger,
      onError: login.note,
      onUnconfirmed: reports.expedite,
    }),
    whenFull: config.SPOOL_FULL,
    metrics,
  });

  return {
    answer: async (request) => {
      const startedAt = performance.now();
      const link = findLink(request.url, verify)?.link;
      if (link !== undefined) await refreshAd(link.adId);
      const answer = await new Promise<Answer>((resolve) => redirect(request, resolve));
      metrics.redirects.inc({ answer: answer.is });
      metrics.redirectDuration.observe((performance.now() - startedAt) / 1_000);
      reports.reportIfDue();
      return httpAnswer(answer, errorPages);
    },
    isRefused: () => login.isRefused,
    close: async () => {
      metrics.flush();
      await Promise.allSettled([publisher.close(), terminatePool(pool)]);
    },
  };
}

/** Notes whether the database has refused the login. */
class LoginState {
  isRefused = false;

  // SQLSTATE class 28: invalid authorization.
  readonly note = (error: unknown): void => {
    this.isRefused ||= /^28/.test(errorCode(error) ?? '');
  };
}

/** Reports metrics and hidden user agents after an answer, at most every `REPORT_MS`. Timers do not run while the function is frozen. */
class Reports {
  private readonly metrics: EmbeddedMetrics;
  private readonly checkHiddenAgents: () => void;
  private reportedAt = Number.NEGATIVE_INFINITY;

  constructor(metrics: EmbeddedMetrics, checkHiddenAgents: () => void) {
    this.metrics = metrics;
    this.checkHiddenAgents = checkHiddenAgents;
  }

  /** Makes the next report due at once, because a function can be ended as soon as it has answered. */
  readonly expedite = (): void => {
    this.reportedAt = Number.NEGATIVE_INFINITY;
  };

  reportIfDue(): void {
    if (performance.now() - this.reportedAt < REPORT_MS) return;
    this.reportedAt = performance.now();
    this.metrics.flush();
    this.checkHiddenAgents();
  }
}
