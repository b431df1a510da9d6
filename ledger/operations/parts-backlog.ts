import { answeringParts, type Part, type PartOf } from './parts.ts';

/** The backlog of one partition or shard, from the reports of all processors. */
export type PartitionBacklog = {
  readonly broker: string;
  readonly name: string;
  readonly records: number;
  readonly oldestAgeSeconds: number;
  /** Where the next reader begins, in the format of the broker; `null`: at its first record, or the broker has no positions. */
  readonly position: string | null;
  /** The processors that read it. */
  readonly readers: readonly string[];
};

/** The clicks that wait in the brokers. */
export type PartsBacklog = {
  /** `null`: no processor answers, or the broker does not answer it. */
  readonly records: number | null;
  readonly oldestAgeSeconds: number | null;
  readonly partitions: readonly PartitionBacklog[];
};

/**
 * The backlog, from the processors that answer. With Kafka and the Postgres broker each of them reports all partitions, with Kinesis those that it
 * reads, so the numbers of a partition are the highest that one of them reports.
 */
export function backlogOf(parts: readonly Part[]): PartsBacklog {
  const processors = answeringParts(parts, 'processor');
  const partitions = mergePartitions(processors);
  const ages = processors.flatMap(({ numbers }) => numbers.lagOldestSeconds ?? []);
  const isCounted = processors.some(({ numbers }) => numbers.lagRecords !== null);
  return {
    records: isCounted ? partitions.reduce((sum, { records }) => sum + records, 0) : null,
    oldestAgeSeconds: ages.length === 0 ? null : Math.max(...ages),
    partitions,
  };
}

function mergePartitions(processors: readonly PartOf<'processor'>[]): PartitionBacklog[] {
  const merged = new Map<string, PartitionBacklog>();
  for (const { instance, numbers } of processors) {
    for (const { broker, partition: name, isAssigned, ...one } of numbers.partitions) {
      const key = `${broker} ${name}`;
      const before = merged.get(key);
      merged.set(key, {
        ...{ broker, name },
        records: Math.max(before?.records ?? 0, one.records),
        oldestAgeSeconds: Math.max(before?.oldestAgeSeconds ?? 0, one.oldestAgeSeconds),
        position: isAssigned || before === undefined ? one.position : before.position,
        readers: [...(before?.readers ?? []), ...(isAssigned ? [instance] : [])],
      });
    }
  }
  const byName = new Intl.Collator('en', { numeric: true });
  return [...merged.values()].sort(
    (a, b) => byName.compare(a.broker, b.broker) || byName.compare(a.name, b.name),
  );
}
