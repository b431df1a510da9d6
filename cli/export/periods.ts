/** The length of the period of each file. */
export type PeriodLength = {
  /** Its name: `hour`, `day`. */
  readonly by: string;
  readonly ms: number;
  /** Characters of an RFC 3339 time that name a period: 10 for `2026-01-31`, 13 for `2026-01-31T12`. */
  readonly nameCharacters: number;
};

/** Hours and days of UTC. */
export const PERIOD_LENGTHS = {
  hour: { by: 'hour', ms: 3_600_000, nameCharacters: 13 },
  day: { by: 'day', ms: 86_400_000, nameCharacters: 10 },
} as const satisfies Readonly<Record<string, PeriodLength>>;

/** A period of settlement times, [since, until). */
export type Period = { readonly name: string; readonly since: Date; readonly until: Date };

/** Returns the period that contains a time. Names of consecutive periods are in ascending order. */
export function periodAt({ ms, nameCharacters }: PeriodLength, time: Date): Period {
  const since = new Date(Math.floor(time.getTime() / ms) * ms);
  // No file system and no shell has trouble with a hyphen.
  const name = since.toISOString().slice(0, nameCharacters).replaceAll(':', '-');
  return { name, since, until: new Date(since.getTime() + ms) };
}
