import { isbot } from 'isbot';
import type { Config } from '../../common/config/config.ts';
import { memoize } from '../../common/memoize.ts';
import { type AgentRule, createRuleMatcher } from './agent-rules.ts';

/** User agents in the cache. The pattern of isbot takes over a microsecond, and a few user agents make most clicks. */
const AGENTS_MAX = 2_000;
/** Characters of a user agent that are judged. Bots name themselves within them. */
const AGENT_CHARACTERS_MAX = 512;

/** CloudFront sends this in place of the visitor's user agent unless its policy forwards the header. */
const HIDDEN_AGENTS = new Set(['Amazon CloudFront']);

/** The verdict about a user agent. */
export type Agent = {
  /** A bot, or a program that is not a browser (`curl`, `python-requests`). */
  readonly isBot: boolean;
  /** A CDN in front of the ad server has replaced the header with its own name, because it is not configured to forward it. */
  readonly isHidden: boolean;
  /** A number in place of the text, which can be long, for the detection of double clicks. */
  readonly number: number;
};

export type AgentJudge = {
  /** Judges a user agent by its first characters. */
  readonly judge: (sent: string) => Agent;
  /** Replaces the rules of `AGENT_RULES_FILE`. */
  readonly setRules: (rules: readonly AgentRule[]) => void;
  /** Clicks judged since the last call: those with a hidden user agent, and all others. */
  readonly takeCounts: () => { readonly hidden: number; readonly shown: number };
};

/**
 * Creates a judge of user agents: the first matching rule decides, otherwise isbot. `missing` is the verdict for an empty or missing user
 * agent (`''`) and for `-`, which some programs and proxies send. A hidden user agent does not count as a bot.
 */
export function createAgentJudge(
  missing: Config['NO_USER_AGENT'] = 'person',
  rules: readonly AgentRule[] = [],
): AgentJudge {
  let agents = 0;
  let verdictOf = createRuleMatcher(rules);
  let hidden = 0;
  let shown = 0;
  const isBot = (text: string): boolean => {
    const verdict = text === '' || text === '-' ? missing : verdictOf(text);
    return verdict === null ? isbot(text) : verdict === 'bot';
  };
  const createCache = () =>
    memoize(AGENTS_MAX, (sent): Agent => {
      const text = sent.trim();
      const isHidden = HIDDEN_AGENTS.has(text);
      agents += 1;
      return { isBot: !isHidden && isBot(text), isHidden, number: agents };
    });
  let agentOf = createCache();
  return {
    judge: (sent) => {
      const agent = agentOf(sent.length > AGENT_CHARACTERS_MAX ? sent.slice(0, AGENT_CHARACTERS_MAX) : sent);
      if (agent.isHidden) hidden += 1;
      else shown += 1;
      return agent;
    },
    setRules: (replacement) => {
      verdictOf = createRuleMatcher(replacement);
      agentOf = createCache();
    },
    takeCounts: () => {
      const counts = { hidden, shown };
      hidden = 0;
      shown = 0;
      return counts;
    },
  };
}

/**
 * Whether a browser marks a request as something other than a navigation: an image, a script or a `fetch` that loads a click URL. Page
 * scripts cannot set the header. Without the header, a request counts as a navigation. https://www.w3.org/TR/fetch-metadata/
 */
export function isSubresource(headers: Readonly<Record<string, string | string[] | undefined>>): boolean {
  const mode = headers['sec-fetch-mode'];
  return mode !== undefined && mode !== 'navigate';
}

/** Whether a request is a prefetch, for a click that may never happen. */
export function isPrefetch(headers: Readonly<Record<string, string | string[] | undefined>>): boolean {
  return (
    startsWith(headers['sec-purpose'], 'prefetch') ||
    startsWith(headers.purpose, 'prefetch') ||
    startsWith(headers['x-purpose'], 'preview') ||
    startsWith(headers['x-moz'], 'prefetch')
  );
}

function startsWith(header: string | string[] | undefined, word: string): boolean {
  return typeof header === 'string' && header.toLowerCase().startsWith(word);
}
