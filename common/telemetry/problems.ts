/** Something that keeps a part from doing its work. */
export type Problem = {
  /** What is affected: `database`, `kafka`, `settlement in lane 1`, … */
  readonly what: string;
  /** Why, in words that name the setting or the server at fault. */
  readonly reason: string;
  /** How long it has been so, in ms; 0 where that is not known. */
  readonly forMs: number;
};

/** Problems that are open at the moment, each under what it affects. Times are measured with the monotonic clock. */
export class OpenProblems {
  private readonly open = new Map<string, { reason: string; since: number }>();

  /** Opens a problem that began `forMs` ago, or gives an open one its newest reason; it keeps its beginning. */
  report(what: string, reason: string, forMs = 0): void {
    const since = this.open.get(what)?.since ?? performance.now() - forMs;
    this.open.set(what, { reason, since });
  }

  clear(what: string): void {
    this.open.delete(what);
  }

  has(what: string): boolean {
    return this.open.has(what);
  }

  get size(): number {
    return this.open.size;
  }

  /** All that are open, in the order of their beginning. */
  list(): Problem[] {
    const now = performance.now();
    return [...this.open].map(([what, { reason, since }]) => ({ what, reason, forMs: now - since }));
  }
}

/** A problem as one line, for readiness and logs. */
export function describeProblem({ what, reason, forMs }: Problem): string {
  const seconds = Math.round(forMs / 1_000);
  return seconds < 1 ? `${what}: ${reason}` : `${what}: ${reason} (for ${seconds} s)`;
}
