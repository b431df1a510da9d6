import type { EachBatchPayload, KafkaMessage } from 'kafkajs';
import type { ReadRecord } from '../../contract/click-event.ts';
import type { BatchSink } from '../event-source.ts';
import type { AssignedPartition } from './assigned-partition.ts';
import { withHeartbeats } from './consumer-group.ts';
import { readMessages } from './kafkajs-messages.ts';

/** What the batches of kafkajs need of the source. */
export type EachBatchDeps = {
  readonly topic: string;
  readonly partitionOf: (partition: number) => AssignedPartition | undefined;
  /** Resolves when the partitions of the last assignment are open. */
  readonly opening: () => Promise<void>;
  readonly isStopping: () => boolean;
  readonly waitForCapacity: BatchSink['waitForCapacity'];
  /** Makes kafkajs read from the next offset of the partition. */
  readonly seek: (assigned: AssignedPartition) => void;
  /** Reports records that the broker deleted before `first`. */
  readonly reportGap: (assigned: AssignedPartition, first: number) => Promise<void>;
  /** Passes records on. `next` is the offset after the last one that was read. */
  readonly submit: (assigned: AssignedPartition, records: readonly ReadRecord[], next: number) => void;
  /** The partition ends before the offsets that were read from it. */
  readonly onCreatedAgain: (assigned: AssignedPartition) => void;
};

/**
 * Returns a function that accepts the batches of kafkajs and passes them on, without waiting until they are settled. kafkajs only fetches: a batch
 * counts if it starts at the next offset of its partition; else the function seeks that offset.
 */
export function createEachBatch(deps: EachBatchDeps): (payload: EachBatchPayload) => Promise<void> {
  return async (payload) => {
    const { batch, heartbeat, isRunning, isStale } = payload;
    // A partition that cannot be opened must not keep the others from being read.
    if (deps.partitionOf(batch.partition)?.tracker == null) await withHeartbeats(deps.opening(), heartbeat);
    const assigned = deps.partitionOf(batch.partition);
    const isOver = () =>
      deps.partitionOf(batch.partition) !== assigned || deps.isStopping() || !isRunning() || isStale();
    if (!assigned?.tracker || isOver()) return;
    await withHeartbeats(deps.waitForCapacity(assigned.abort.signal), heartbeat);
    if (isOver()) return;
    const first = Number(batch.firstOffset() ?? assigned.next);
    if (first > assigned.next) {
      if (assigned.sought !== assigned.next) {
        assigned.sought = assigned.next;
        return deps.seek(assigned);
      }
      await deps.reportGap(assigned, first);
      if (isOver()) return;
    }
    submitBatch(assigned, payload, deps);
  };
}

function submitBatch(
  assigned: AssignedPartition,
  { batch, resolveOffset }: EachBatchPayload,
  { topic, seek, submit, onCreatedAgain }: EachBatchDeps,
): void {
  const last = Number(batch.lastOffset());
  if (last < assigned.next) {
    // The partition ends before the offsets that were read from it: the topic was created again or truncated.
    if (Number(batch.highWatermark) < assigned.next) return onCreatedAgain(assigned);
    return seek(assigned);
  }
  const isNew = ({ offset }: KafkaMessage) => Number(offset) >= assigned.next;
  const hasOld = Number(batch.firstOffset()) < assigned.next;
  const messages = hasOld ? batch.messages.filter(isNew) : batch.messages;
  const records = readMessages(messages, topic, batch.partition);
  resolveOffset(String(last));
  submit(assigned, records, last + 1);
}
