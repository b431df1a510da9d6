import { isbot } from 'isbot';

/** User agents whose verdict is remembered: the pattern takes over a microsecond, and few agents make most clicks. */
const AGENTS_MAX = 2_000;
/** Visitors and links remembered for the double click: at 10 000 clicks/s, ten seconds of them. */
const RECENT_MAX = 100_000;

const verdicts = new Map<string, boolean>();

/** Whether a user agent says of itself that it is a robot, or no browser at all (`curl`, `python-requests`). */
export function isRobot(userAgent: string): boolean {
  const known = verdicts.get(userAgent);
  if (known !== undefined) return known;
  if (verdicts.size >= AGENTS_MAX) verdicts.clear();
  const verdict = isbot(userAgent);
  verdicts.set(userAgent, verdict);
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
 * Remembers who clicked what a moment ago. The window runs from the click that counted, so that somebody who
 * keeps clicking counts once in every window. Memory is bounded: the oldest are forgotten first.
 */
export class DoubleClicks {
  private readonly windowMs: number;
  /** Time of the click that counted, by visitor and link; in order of that time. */
  private readonly recent = new Map<string, number>();

  constructor(windowMs: number) {
    this.windowMs = windowMs;
  }

  /** Whether this is the second click of a double click; if it is not, it is remembered as a first. */
  isSecond(visitor: string, token: string, nowMs: number): boolean {
    if (this.windowMs === 0) return false;
    const key = `${visitor}\n${token}`;
    const first = this.recent.get(key);
    if (first !== undefined && nowMs - first < this.windowMs) return true;
    this.recent.delete(key);
    this.recent.set(key, nowMs);
    this.forgetOld(nowMs);
    return false;
  }

  /** Forgets a first click that could not be recorded: the next one is the first. */
  forget(visitor: string, token: string): void {
    this.recent.delete(`${visitor}\n${token}`);
  }

  private forgetOld(nowMs: number): void {
    for (const [key, at] of this.recent) {
      if (this.recent.size <= RECENT_MAX && nowMs - at < this.windowMs) return;
      this.recent.delete(key);
    }
  }
}
