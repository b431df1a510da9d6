import { isbot } from 'isbot';
import { rememberRecent } from '../common/recent.ts';

/** User agents that are remembered, twice over: the pattern takes over a microsecond, and few agents make most clicks. */
const AGENTS_MAX = 2_000;
/** What is looked at of a user agent, in characters: a robot names itself before that. */
const AGENT_CHARACTERS_MAX = 512;

/** What is known of a user agent. */
export type Agent = {
  /** It says of itself that it is a robot, or no browser at all (`curl`, `python-requests`). */
  readonly isRobot: boolean;
  /** Stands for its text, which may be long, in the memory of double clicks. */
  readonly number: number;
};

let agentsSeen = 0;
const recentAgent = rememberRecent(
  AGENTS_MAX,
  (text): Agent => ({ isRobot: isbot(text), number: ++agentsSeen }),
);

/** Judges a user agent by its first characters; `''` stands for none, which is not held against anybody. */
export function judgeAgent(sent: string): Agent {
  return recentAgent(sent.length > AGENT_CHARACTERS_MAX ? sent.slice(0, AGENT_CHARACTERS_MAX) : sent);
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
