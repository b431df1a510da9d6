import { errorMessage } from '../../common/errors.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import { parseAgentRules, readRulesFile, readRulesFileSync } from './agent-rules.ts';
import type { AgentJudge } from './invalid-traffic.ts';

/** Time between two looks at the file, in ms. */
const LOOK_MS = 1_000;

/**
 * Has user agents judged by the rules of a file, now and whenever it changes. While the file is away or wrong, that is logged and the rules
 * before stay. Reads the file on a timer, never for a request. Returns what ends that. Throws `bad_agent_rules` where the file
 * cannot be read now.
 */
export function followAgentRules(
  path: string,
  agents: AgentJudge,
  logger: Logger,
  lookMs = LOOK_MS,
): () => void {
  let applied = readRulesFileSync(path);
  agents.setRules(parseAgentRules(path, applied));
  let timer: NodeJS.Timeout;
  let closed = false;
  const log = new ThrottledLog(logger, {
    failed: 'AGENT_RULES_FILE cannot be read. The ad server keeps using the previous rules. Correct the file',
    recovered: 'AGENT_RULES_FILE can be read again. The ad server uses its rules',
    level: 'error',
  });
  const look = async (): Promise<void> => {
    try {
      const content = await readRulesFile(path);
      if (content !== applied) {
        const rules = parseAgentRules(path, content);
        agents.setRules(rules);
        applied = content;
        logger.info(
          { path, rules: rules.length },
          'AGENT_RULES_FILE has changed. The ad server uses the new rules',
        );
      }
      log.recover({ path });
    } catch (error) {
      log.fail({ path, problem: errorMessage(error) });
    }
    if (!closed) next();
  };
  // The next look begins after this one has ended, so that a slow disk cannot bring back older rules.
  const next = () => {
    timer = setTimeout(() => void look(), lookMs);
    timer.unref();
  };
  next();
  return () => {
    closed = true;
    clearTimeout(timer);
  };
}
