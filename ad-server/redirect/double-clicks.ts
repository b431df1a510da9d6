import { randomInt } from 'node:crypto';
import { TAG_CHARACTERS } from '../../contract/link-token.ts';

/** Maximum clicks in one generation. */
const GENERATION_MAX = 50_000;
/** Slots of its table: a power of two, more than twice the maximum, so that runs of used slots are short. */
const SLOTS = 131_072;

/**
 * Detects double clicks: the same visitor and the same link within a window. The window starts at the click that counts, so a visitor who
 * keeps clicking counts once per window.
 *
 * Times can arrive out of order. Two clicks are a double click when their times are less than a window apart, in either order. A first click
 * is stored until a click arrives that is more than a window later.
 *
 * Two generations: when the latest time is a window after the first time of the young generation, or the young generation is full, the old
 * one is cleared. Earlier times do not clear it, so a clock that was set back or a late log line does not lose stored clicks.
 * Each generation is a fixed table of 53-bit fingerprints: 2 MB that never grow, whatever clients send, and no work for the garbage
 * collector.
 */
export class DoubleClicks {
  private readonly windowMs: number;
  private young = new Generation();
  private old = new Generation();
  private youngSince = 0;

  constructor(windowMs: number) {
    this.windowMs = windowMs;
  }

  /**
   * Whether this is the second click of a double click. If not, stores it as a first click. `atMs` is the time of the click in ms, on any
   * clock: only differences matter.
   */
  isSecond(visitor: string, token: string, atMs: number): boolean {
    if (this.windowMs === 0) return false;
    if (atMs - this.youngSince >= this.windowMs || this.young.size >= GENERATION_MAX)
      this.startGeneration(atMs);
    const key = fingerprint(visitor, token);
    const first = this.young.get(key) ?? this.old.get(key);
    if (first !== undefined && Math.abs(atMs - first) < this.windowMs) return true;
    this.young.set(key, atMs);
    return false;
  }

  /** Removes a first click that could not be recorded, so that the next click is a first one. */
  forget(visitor: string, token: string): void {
    const key = fingerprint(visitor, token);
    for (const generation of [this.young, this.old]) {
      if (generation.get(key) !== undefined) generation.set(key, Number.POSITIVE_INFINITY);
    }
  }

  private startGeneration(atMs: number): void {
    [this.old, this.young] = [this.young, this.old];
    this.young.clear();
    this.youngSince = Math.max(this.youngSince, atMs);
  }
}

/** Times by fingerprint, in a hash table with open addressing that is never full. The time is stored beside its key, in the same cache line. */
class Generation {
  size = 0;
  private readonly table = new Float64Array(2 * SLOTS);

  get(key: number): number | undefined {
    if (this.size === 0) return undefined;
    const at = this.slotOf(key);
    return this.table[at] === key ? this.table[at + 1] : undefined;
  }

  set(key: number, timeMs: number): void {
    const at = this.slotOf(key);
    if (this.table[at] !== key) this.size += 1;
    this.table[at] = key;
    this.table[at + 1] = timeMs;
  }

  clear(): void {
    if (this.size > 0) this.table.fill(0);
    this.size = 0;
  }

  /** The index of a key in the table, or of the free slot for it. */
  private slotOf(key: number): number {
    // The lowest bits of the key, because the remainder of so large a number is slower than the rest of the look-up.
    let slot = key & (SLOTS - 1);
    while (this.table[2 * slot] !== 0 && this.table[2 * slot] !== key) slot = (slot + 1) & (SLOTS - 1);
    return 2 * slot;
  }
}

/** Secret seeds, so that a client cannot construct clicks that collide with those of others. */
const [LOW_SEED, HIGH_SEED] = [randomInt(2 ** 32), randomInt(2 ** 32)];

/** 53 bits of two hashes (like FNV-1a) with different seeds, never 0. Of the token, only the tag at its end is hashed: it depends on the rest. */
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
