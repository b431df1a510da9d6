import { randomInt } from 'node:crypto';
import { TAG_CHARACTERS } from '../../contract/link-token.ts';

/** Clicks remembered in one generation. */
const GENERATION_MAX = 50_000;
/** Slots of its table: a power of two, over twice as many, so that runs stay short. */
const SLOTS = 131_072;

/**
 * Remembers who clicked what a moment ago. The window runs from the click that counted, so that somebody who keeps
 * clicking counts once in every window.
 *
 * Times may come out of order. Two clicks are a double click when their times are less than a window apart, whichever comes first;
 * a first click is remembered until a click comes that is more than a window later than it.
 *
 * Two generations: when the latest time is a window after the young one's first, or the young one is full, the old one is forgotten as a
 * whole. A time that lies further back changes nothing in that: a clock that was set back, or one late line of a log, wipes no memory.
 * Each generation is a table of fingerprints of 53 bits, made once: 2 MB that never grow, whatever clients send, and nothing for the
 * garbage collector.
 */
export class DoubleClicks {
  private readonly windowMs: number;
  private young = new Generation();
  private old = new Generation();
  private bornAt = 0;

  constructor(windowMs: number) {
    this.windowMs = windowMs;
  }

  /**
   * Whether this is the second click of a double click; if it is not, it is remembered as a first. `atMs` is the time of the click, in ms by
   * any clock: only differences count.
   */
  isSecond(visitor: string, token: string, atMs: number): boolean {
    if (this.windowMs === 0) return false;
    if (atMs - this.bornAt >= this.windowMs || this.young.size >= GENERATION_MAX) this.age(atMs);
    const key = fingerprint(visitor, token);
    const first = this.young.get(key) ?? this.old.get(key);
    if (first !== undefined && Math.abs(atMs - first) < this.windowMs) return true;
    this.young.set(key, atMs);
    return false;
  }

  /** Forgets a first click that could not be recorded: the next one is the first. */
  forget(visitor: string, token: string): void {
    const key = fingerprint(visitor, token);
    for (const generation of [this.young, this.old]) {
      if (generation.get(key) !== undefined) generation.set(key, Number.POSITIVE_INFINITY);
    }
  }

  private age(atMs: number): void {
    [this.old, this.young] = [this.young, this.old];
    this.young.clear();
    this.bornAt = Math.max(this.bornAt, atMs);
  }
}

/** Times by fingerprint, in a table with open addressing; it never fills up. A time stands beside its key: one look at memory for both. */
class Generation {
  size = 0;
  private readonly table = new Float64Array(2 * SLOTS);

  get(key: number): number | undefined {
    if (this.size === 0) return undefined;
    const at = this.placeOf(key);
    return this.table[at] === key ? this.table[at + 1] : undefined;
  }

  set(key: number, timeMs: number): void {
    const at = this.placeOf(key);
    if (this.table[at] !== key) this.size += 1;
    this.table[at] = key;
    this.table[at + 1] = timeMs;
  }

  clear(): void {
    if (this.size > 0) this.table.fill(0);
    this.size = 0;
  }

  /** Where a key is, or would be. */
  private placeOf(key: number): number {
    // The key's lowest bits: a remainder of so large a number would cost more than all the rest.
    let slot = key & (SLOTS - 1);
    while (this.table[2 * slot] !== 0 && this.table[2 * slot] !== key) slot = (slot + 1) & (SLOTS - 1);
    return 2 * slot;
  }
}

/** Unknown outside, so that nobody can look for clicks that fall together with those of others. */
const [LOW_SEED, HIGH_SEED] = [randomInt(2 ** 32), randomInt(2 ** 32)];

/** 53 bits of two hashes (as FNV-1a) with different seeds, never 0. A link's last characters are its tag: all of it is in them. */
function fingerprint(visitor: string, token: string): number {
  let low = LOW_SEED;
  let high = HIGH_SEED;
  for (let at = Math.max(0, token.length - TAG_CHARACTERS); at < token.length; at += 1) {
    const code = token.charCodeAt(at);
    low = Math.imul(low ^ code, 0x01000193);
    high = Math.imul(high ^ code, 0x5bd1e995) ^ (high >>> 15);
  }
  for (let at = 0; at < visitor.length; at += 1) {
    const code = visitor.charCodeAt(at) + 0x10000;
    low = Math.imul(low ^ code, 0x01000193);
    high = Math.imul(high ^ code, 0x5bd1e995) ^ (high >>> 15);
  }
  return (high >>> 11) * 0x1_0000_0000 + (low >>> 0) + 1;
}
