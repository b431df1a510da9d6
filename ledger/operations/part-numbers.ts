/**
 * The numbers that a process reports, by component. Counts are those since the process began, those with `Recently` of the last ten minutes,
 * rates and quantiles those of the last 10 s.
 * `null`: not known, or not reported by that version.
 */
export type PartNumbers = {
  readonly 'ad-server': AdServerNumbers;
  readonly processor: ProcessorNumbers;
  readonly console: ConsoleNumbers;
};
export type Component = keyof PartNumbers;

const AD_SERVER_COUNTS = [
  'workers',
  'accepted',
  'relayed',
  'unrecorded',
  'unrecordedRecently',
  'linksAnsweredRecently',
  'linksRefusedRecently',
  'requestsRecently',
  'linksNotFoundRecently',
  'redirectsPerSecond',
  'redirectP99Seconds',
  'spoolBytes',
  'spoolBytesMax',
  'spoolOldestSeconds',
  'catalogAgeSeconds',
  'catalogAds',
  'clockOffsetSeconds',
] as const;
export type AdServerNumbers = Counts<typeof AD_SERVER_COUNTS>;

const PROCESSOR_COUNTS = [
  'lanes',
  'charged',
  'overBudget',
  'invalid',
  'rejected',
  'duplicates',
  'settledPerSecond',
  'clickToChargeP50Seconds',
  'clickToChargeP99Seconds',
  'clicksAside',
  'lagRecords',
  'lagOldestSeconds',
] as const;
export type ProcessorNumbers = Counts<typeof PROCESSOR_COUNTS> & {
  /** Whether it cannot settle all clicks. */
  readonly isBlocked: boolean;
  /** The backlog by partition or shard of each broker. */
  readonly partitions: readonly ReportedPartition[];
};

/** The backlog of one partition or shard, as one processor finds it. */
export type ReportedPartition = {
  readonly broker: string;
  readonly partition: string;
  readonly records: number;
  readonly oldestAgeSeconds: number;
  readonly position: string | null;
  /** Whether this processor reads it. */
  readonly isAssigned: boolean;
};

const CONSOLE_COUNTS = [
  'requestsPerSecond',
  'requestP99Seconds',
  'webhooksWaiting',
  'webhooksOldestSeconds',
] as const;
export type ConsoleNumbers = Counts<typeof CONSOLE_COUNTS>;

type Counts<Names extends readonly string[]> = { readonly [Name in Names[number]]: number | null };

/** Reads the numbers of a row, whose version can be older or newer than this one. */
export const parseNumbers: { readonly [C in Component]: (json: unknown) => PartNumbers[C] } = {
  'ad-server': (json) => counts(AD_SERVER_COUNTS, json),
  processor: (json) => ({
    ...counts(PROCESSOR_COUNTS, json),
    isBlocked: field(json, 'isBlocked') === true,
    partitions: partitions(field(json, 'partitions')),
  }),
  console: (json) => counts(CONSOLE_COUNTS, json),
};

function counts<const Names extends readonly string[]>(names: Names, json: unknown): Counts<Names> {
  // Every name gets a value, so the object has the type.
  return Object.fromEntries(names.map((name) => [name, count(json, name)])) as Counts<Names>;
}

function count(json: unknown, name: string): number | null {
  const value = field(json, name);
  return typeof value === 'number' ? Math.max(0, value) : null;
}

function field(json: unknown, name: string): unknown {
  return typeof json === 'object' && json !== null ? (json as Record<string, unknown>)[name] : undefined;
}

function partitions(json: unknown): ReportedPartition[] {
  return (Array.isArray(json) ? json : []).map((one) => ({
    broker: String(field(one, 'broker')),
    partition: String(field(one, 'partition')),
    records: count(one, 'records') ?? 0,
    oldestAgeSeconds: count(one, 'oldestAgeSeconds') ?? 0,
    position: typeof field(one, 'position') === 'string' ? String(field(one, 'position')) : null,
    isAssigned: field(one, 'isAssigned') === true,
  }));
}
