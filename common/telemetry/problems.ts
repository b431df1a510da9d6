/** A condition that keeps a component from its work. */
export type Problem = {
  /** What is affected: `database`, `kafka`, `settlement in lane 1`, … */
  readonly what: string;
  /** Why, with the name of the setting or the server that causes it. */
  readonly reason: string;
  /** How long it has lasted, in ms; 0 if that is not known. */
  readonly forMs: number;
};

/** Current problems, one for each affected thing. Times are measured with the monotonic clock. */
export class OpenProblems {
  private readonly open = new Map<string, { reason: string; since: number }>();

  /** Opens a problem that began `forMs` ms ago, or updates the reason of an open one, which keeps its start time. */
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

  /** All open problems, in the order of their start. */
  list(): Problem[] {
    const now = performance.now();
    return [...this.open].map(([what, { reason, since }]) => ({ what, reason, forMs: now - since }));
  }
}

/** A problem as a text, for readiness and logs. */
export function describeProblem({ what, reason, forMs }: Problem): string {
  const seconds = Math.round(forMs / 1_000);
  return seconds < 1 ? `${what}: ${reason}` : `${what}: ${reason} (for ${seconds} s)`;
}
