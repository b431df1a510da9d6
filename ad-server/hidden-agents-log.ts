import type { Logger } from '../common/logger.ts';
import { ThrottledLog } from '../common/throttled-log.ts';
import type { AgentJudge } from './invalid-traffic.ts';

/** Makes the check that warns while an edge hides user agents, to be called every few seconds. */
export function createHiddenAgentsCheck(agents: AgentJudge, logger: Logger): () => void {
  const log = new ThrottledLog(logger, {
    failed:
      'An edge (such as CloudFront) sends its own name in place of the user agents of visitors: bots are charged like people. Let it forward the User-Agent header',
    recovered: 'The user agents of visitors arrive again: bots are recognised',
  });
  return () => {
    const { hidden, shown } = agents.takeCounts();
    if (hidden > 0) log.fail({ clicks: hidden });
    else if (shown > 0) log.recover();
  };
}
