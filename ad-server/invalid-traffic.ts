import { randomInt } from 'node:crypto';
import { isbot } from 'isbot';

/** User agents whose verdict is remembered: the pattern takes over a microsecond, and few agents make most clicks. */
const AGENTS_MAX = 2_000;
/** What is looked at of a user agent, in characters: a robot names itself before that. */
const AGENT_CHARACTERS_MAX = 512;
/** Clicks remembered in one generation for the double click. */
const GENERATION_MAX = 50_000;

const verdicts = new Map<string, boolean>();

/** Whether a user agent says of itself that it is a robot, or no browser at all (`curl`, `python-requests`). */
export function isRobot(sentUserAgent: string): boolean {
  const userAgent = sentUserAgent.slice(0, AGENT_CHARACTERS_MAX);
  const known = verdicts.get(userAgent);
  if (known !== undefined) return known;
  if (verdicts.size >= AGENTS_MAX) verdicts.clear();
  const verdict = isbot(userAgent);
  // A copy: the slice would keep the whole of a long header alive.
  verdicts.set(Buffer.from(userAgent, 'latin1').toString('latin1'), verdict);
  return verdict;
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
  /** Time of the click that counted, by a hash of visitor and link. */
  private young = new Map<number, number>();
  private old = new Map<number, number>();
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

/** Unknown outside, so that nobody can look for clicks that fall together with those of others. */
const [LOW_SEED, HIGH_SEED] = [randomInt(2 ** 32), randomInt(2 ** 32)];

/** Short, whatever a client sends: two hashes of 32 bits (as FNV-1a) with different seeds, so that memory is bounded. */
function keyOf(visitor: string, token: string): number {
  let low = LOW_SEED;
  let high = HIGH_SEED;
  const mix = (text: string) => {
    for (let at = 0; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      low = Math.imul(low ^ code, 0x01000193);
      high = Math.imul(high ^ code, 0x01000193) + 0x9e3779b9;
    }
  };
  mix(visitor);
  mix('\n');
  mix(token);
  // 53 bits of them: a safe integer.
  return (high >>> 11) * 0x1_0000_0000 + (low >>> 0);
}
