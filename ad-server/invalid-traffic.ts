import { isbot } from 'isbot';
import { TAG_CHARACTERS } from './link.ts';

/** User agents that are remembered: the pattern takes over a microsecond, and few agents make most clicks. */
const AGENTS_MAX = 2_000;
/** What is looked at of a user agent, in characters: a robot names itself before that. */
const AGENT_CHARACTERS_MAX = 512;
/** Clicks remembered in one generation for the double click. */
const GENERATION_MAX = 50_000;

/** What is known of a user agent. */
export type Agent = {
  /** It says of itself that it is a robot, or no browser at all (`curl`, `python-requests`). */
  readonly isRobot: boolean;
  /** Stands for its text, which may be long, in the memory of double clicks. */
  readonly number: number;
};

const agents = new Map<string, Agent>();
let agentsSeen = 0;

/** Judges a user agent by its first characters; `''` stands for none, which is not held against anybody. */
export function judgeAgent(sent: string): Agent {
  const text = sent.length > AGENT_CHARACTERS_MAX ? sent.slice(0, AGENT_CHARACTERS_MAX) : sent;
  const known = agents.get(text);
  if (known !== undefined) return known;
  if (agents.size >= AGENTS_MAX) agents.clear();
  agentsSeen += 1;
  const agent = { isRobot: isbot(text), number: agentsSeen };
  // A copy: a slice would keep the whole of a long header alive.
  agents.set(Buffer.from(text, 'latin1').toString('latin1'), agent);
  return agent;
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

/**
 * Remembers who clicked what a moment ago. The window runs from the click that counted, so that somebody who keeps
 * clicking counts once in every window. Two generations: when the young one is a window old, or full, the old one is
 * forgotten as a whole; so memory is bounded and nothing is ever deleted one by one.
 */
export class DoubleClicks {
  private readonly windowMs: number;
  /** Time of the click that counted, by visitor and link. */
  private young = new Map<string, number>();
  private old = new Map<string, number>();
  private bornAt = 0;

  constructor(windowMs: number) {
    this.windowMs = windowMs;
  }

  /** Whether this is the second click of a double click; if it is not, it is remembered as a first. */
  isSecond(visitor: string, token: string, nowMs: number): boolean {
    if (this.windowMs === 0) return false;
    this.age(nowMs);
    const key = keyOf(visitor, token);
    const first = this.young.get(key) ?? this.old.get(key);
    // A clock that was set back makes a first click lie in the future: then this one is the first.
    if (first !== undefined && nowMs >= first && nowMs - first < this.windowMs) return true;
    this.young.set(key, nowMs);
    return false;
  }

  /** Forgets a first click that could not be recorded: the next one is the first. */
  forget(visitor: string, token: string): void {
    const key = keyOf(visitor, token);
    this.young.delete(key);
    this.old.delete(key);
  }

  private age(nowMs: number): void {
    const grown =
      nowMs < this.bornAt || nowMs - this.bornAt >= this.windowMs || this.young.size >= GENERATION_MAX;
    if (!grown) return;
    this.old = this.young;
    this.young = new Map();
    this.bornAt = nowMs;
  }
}

/** A link's last characters are its tag: they tell it from all others as well as the whole token does. */
function keyOf(visitor: string, token: string): string {
  return `${token.slice(-TAG_CHARACTERS)} ${visitor}`;
}
