import type { Connection, Reader } from '@platformatic/kafka';
import { REQUEST_MS_MAX } from './connection-settings.ts';
import type { Platformatic } from './platformatic.ts';

/** The number of Kafka's API for fetches. Version 11 is known since Kafka 2.3. https://kafka.apache.org/41/protocol.html#The_Messages_Fetch */
export const FETCH = 1;
export const FETCH_VERSION = 11;
/** Without a fetch session: each request names every partition. */
const NO_SESSION = [0, -1] as const;
/** Records of transactions that are open are not returned, and those that were aborted are named. */
const READ_COMMITTED = 1;
const NO_LEADER_EPOCH = -1;

/** Limits of a request, in bytes. The broker waits for `bytesMin` at most `waitMs`, which is at most half of the wait for an answer. */
export type FetchLimits = {
  readonly waitMs: number;
  readonly bytesMin: number;
  readonly bytesMax: number;
  readonly partitionBytesMax: number;
};

/** The records of the producer from this offset on, up to the marker of the abort, are not committed. */
export type AbortedTransaction = { readonly producerId: bigint; readonly firstOffset: number };

/** What a broker has sent of one partition. */
export type FetchedPartition = {
  readonly partition: number;
  /** 0: no error. https://kafka.apache.org/41/protocol.html#protocol_error_codes */
  readonly errorCode: number;
  /** The offset after the last record of the partition, also of those that were not sent. */
  readonly highWatermark: number;
  readonly aborted: readonly AbortedTransaction[];
  /** Record batches. The last one can be cut off. */
  readonly batches: Buffer;
};

/**
 * Fetches partitions from their offsets on, by partition. It does not decode the records: the library would make several objects for each.
 * Throws errors of the library; those of a partition are in its `errorCode`.
 */
export function fetchPartitions(
  library: Platformatic,
  connection: Connection,
  topic: string,
  offsets: ReadonlyMap<number, number>,
  limits: FetchLimits,
): Promise<FetchedPartition[]> {
  const partitions = [...offsets].map(([partition, offset]) => ({
    partition,
    currentLeaderEpoch: NO_LEADER_EPOCH,
    fetchOffset: BigInt(offset),
    lastFetchedEpoch: NO_LEADER_EPOCH,
    partitionMaxBytes: limits.partitionBytesMax,
  }));
  const waitMs = Math.min(limits.waitMs, REQUEST_MS_MAX / 2);
  const { createRequest } = library.fetchV11;
  const encode = () =>
    createRequest(
      waitMs,
      limits.bytesMin,
      limits.bytesMax,
      READ_COMMITTED,
      ...NO_SESSION,
      [{ topicId: topic, partitions }],
      [],
      '',
    );
  const parse = (_: number, apiKey: number, apiVersion: number, reader: Reader) => {
    reader.readInt32(); // The time for which the broker throttles this client.
    const errorCode = reader.readInt16();
    if (errorCode !== 0) throw new library.ResponseError(apiKey, apiVersion, { '/': [errorCode, null] }, {});
    reader.readInt32(); // The session.
    return readAnswer(reader);
  };
  return new Promise((resolve, reject) => {
    connection.send(FETCH, FETCH_VERSION, encode, parse, false, false, (error, answer) =>
      error ? reject(error) : resolve(answer ?? []),
    );
  });
}

function readAnswer(reader: Reader): FetchedPartition[] {
  const topics = reader.readArray(
    (ofTopic) => {
      ofTopic.readString(false);
      return ofTopic.readArray(readPartition, false, false);
    },
    false,
    false,
  );
  return topics.flat();
}

function readPartition(reader: Reader): FetchedPartition {
  const partition = reader.readInt32();
  const errorCode = reader.readInt16();
  const highWatermark = Number(reader.readInt64());
  reader.readInt64(); // The offset up to which transactions have ended.
  reader.readInt64(); // The first offset of the partition.
  const aborted = reader.readNullableArray(
    (one) => ({ producerId: one.readInt64(), firstOffset: Number(one.readInt64()) }),
    false,
    false,
  );
  reader.readInt32(); // The replica to read from.
  const batches = reader.readNullableBytes(false) ?? Buffer.alloc(0);
  return { partition, errorCode, highWatermark, aborted: aborted ?? [], batches };
}
