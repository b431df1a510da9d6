import { isbot } from 'isbot';
import type { Config } from '../../common/config/config.ts';
import { memoize } from '../../common/memoize.ts';
import { type AgentRule, createRuleMatcher } from './agent-rules.ts';

/** User agents that are remembered, twice over: the pattern takes over a microsecond, and few agents make most clicks. */
const AGENTS_MAX = 2_000;
/** What is looked at of a user agent, in characters: a robot names itself before that. */
const AGENT_CHARACTERS_MAX = 512;

/** What CloudFront sends in place of the visitor's user agent unless its policy forwards that. */
const HIDDEN_AGENTS = new Set(['Amazon CloudFront']);

/** What is known of a user agent. */
export type Agent = {
  /** It says of itself that it is a robot, or no browser at all (`curl`, `python-requests`). */
  readonly isRobot: boolean;
  /** An edge in front of the ad server has put its own name in place of the visitor's: a fault of its configuration. */
  readonly isHidden: boolean;
  /** Stands for its text, which may be long, in the memory of double clicks. */
  readonly number: number;
};

export type AgentJudge = {
  /** Judges a user agent by its first characters. */
  readonly judge: (sent: string) => Agent;
  /** Judges by other rules from now on. */
  readonly setRules: (rules: readonly AgentRule[]) => void;
  /** Clicks judged since the last call: those whose agent an edge has hidden, and all others. */
  readonly takeCounts: () => { readonly hidden: number; readonly shown: number };
};

/**
 * Makes a judge of user agents: the rules decide, and isbot where none fits. An empty agent, a missing one (`''`) and `-`, as some
 * programs and proxies write it, are all judged as `missing` says. A hidden agent is not held against the visitor.
 */
export function createAgentJudge(
  missing: Config['NO_USER_AGENT'] = 'person',
  rules: readonly AgentRule[] = [],
): AgentJudge {
  let seen = 0;
  let verdictOf = createRuleMatcher(rules);
  let hidden = 0;
  let shown = 0;
  const isRobot = (text: string): boolean => {
    const verdict = text === '' || text === '-' ? missing : verdictOf(text);
    return verdict === null ? isbot(text) : verdict === 'bot';
  };
  const remember = () =>
    memoize(AGENTS_MAX, (sent): Agent => {
      const text = sent.trim();
      const isHidden = HIDDEN_AGENTS.has(text);
      seen += 1;
      return { isRobot: !isHidden && isRobot(text), isHidden, number: seen };
    });
  let recentAgent = remember();
  return {
    judge: (sent) => {
      const agent = recentAgent(
        sent.length > AGENT_CHARACTERS_MAX ? sent.slice(0, AGENT_CHARACTERS_MAX) : sent,
      );
      if (agent.isHidden) hidden += 1;
      else shown += 1;
      return agent;
    },
    setRules: (changed) => {
      verdictOf = createRuleMatcher(changed);
      recentAgent = remember();
    },
    takeCounts: () => {
      const taken = { hidden, shown };
      hidden = 0;
      shown = 0;
      return taken;
    },
  };
}

/**
 * Whether a browser says that a request is not a navigation: an image, a script or a `fetch` that loads a click URL. Page scripts
 * cannot set the header; browsers without it, and other clients, are not judged by it. https://www.w3.org/TR/fetch-metadata/
 */
export function isSubresource(headers: Readonly<Record<string, string | string[] | undefined>>): boolean {
  const mode = headers['sec-fetch-mode'];
  return mode !== undefined && mode !== 'navigate';
}

/** Whether a request only fetches ahead of a person who may never click. */
export function isPrefetch(headers: Readonly<Record<string, string | string[] | undefined>>): boolean {
  return (
    starts(headers['sec-purpose'], 'prefetch') ||
    starts(headers.purpose, 'prefetch') ||
    starts(headers['x-purpose'], 'preview') ||
    starts(headers['x-moz'], 'prefetch')
  );
}

function starts(header: string | string[] | undefined, word: string): boolean {
  return typeof header === 'string' && header.toLowerCase().startsWith(word);
}
