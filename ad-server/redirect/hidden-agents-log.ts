import type { Logger } from '../../common/telemetry/logger.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import type { AgentJudge } from './invalid-traffic.ts';

/** Makes a check that warns while a CDN replaces user agents. Call it every few seconds. */
export function createHiddenAgentsCheck(agents: AgentJudge, logger: Logger): () => void {
  const log = new ThrottledLog(logger, {
    failed:
      'A CDN (such as CloudFront) replaces the User-Agent header with its own name, so bots are charged. Configure it to forward the header',
    recovered: 'The CDN forwards User-Agent headers again; bots are detected',
  });
  return () => {
    const { hidden, shown } = agents.takeCounts();
    if (hidden > 0) log.fail({ clicks: hidden });
    else if (shown > 0) log.recover();
  };
}
