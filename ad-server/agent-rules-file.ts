import { readFile } from 'node:fs/promises';
import { errorMessage } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import { parseAgentRules, readRulesFile } from './agent-rules.ts';
import type { AgentJudge } from './invalid-traffic.ts';

/** Time between two looks at the file, in ms. */
const LOOK_MS = 1_000;

/**
 * Has user agents judged by the rules of a file, now and whenever it changes. A change that cannot be read is logged once, and the rules
 * before it stay. Returns what ends that. Throws `bad_agent_rules` where the file cannot be read now.
 */
export function followAgentRules(path: string, agents: AgentJudge, logger: Logger): () => void {
  let seen = readRulesFile(path);
  agents.setRules(parseAgentRules(path, seen));
  const look = async (): Promise<void> => {
    // A file that is gone is a change too.
    const content = await readFile(path, 'utf8').catch((error: unknown) => errorMessage(error));
    if (content === seen) return;
    seen = content;
    try {
      const rules = parseAgentRules(path, content);
      agents.setRules(rules);
      logger.info({ path, rules: rules.length }, 'The rules for user agents were read again');
    } catch (error) {
      logger.error(
        { path, problem: errorMessage(error) },
        'The changed rules for user agents cannot be read; clicks are judged by the rules before the change',
      );
    }
  };
  // The text is compared, and not the time of the file: no change falls between two looks.
  const timer = setInterval(() => void look(), LOOK_MS);
  timer.unref();
  return () => clearInterval(timer);
}
