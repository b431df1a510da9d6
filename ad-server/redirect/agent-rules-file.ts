import { errorMessage } from '../../common/errors.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import { parseAgentRules, readRulesFile, readRulesFileSync } from './agent-rules.ts';
import type { AgentJudge } from './invalid-traffic.ts';

/** Time between two reads of the file, in ms. */
const READ_MS = 1_000;

/**
 * Applies the rules of a file now and whenever it changes. While the file is missing or invalid, logs that and keeps the previous rules.
 * Reads the file on a timer, never for a request. Returns a function that stops the timer. Throws `bad_agent_rules` if the file cannot be
 * read now.
 */
export function followAgentRules(
  path: string,
  agents: AgentJudge,
  logger: Logger,
  readMs = READ_MS,
): () => void {
  let applied = readRulesFileSync(path);
  agents.setRules(parseAgentRules(path, applied));
  let timer: NodeJS.Timeout;
  let isClosed = false;
  const log = new ThrottledLog(logger, {
    failed: 'AGENT_RULES_FILE cannot be read. The ad server keeps using the previous rules. Correct the file',
    recovered: 'AGENT_RULES_FILE can be read again. The ad server uses its rules',
    level: 'error',
  });
  const reload = async (): Promise<void> => {
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
    if (!isClosed) scheduleReload();
  };
  // The next read is scheduled after this one has ended, so that a slow disk cannot restore older rules.
  const scheduleReload = () => {
    timer = setTimeout(() => void reload(), readMs);
    timer.unref();
  };
  scheduleReload();
  return () => {
    isClosed = true;
    clearTimeout(timer);
  };
}
