import { promisify } from 'node:util';
import { gzip, zstdCompress } from 'node:zlib';
import type { Broker, ConnectionPool, Writer } from '@platformatic/kafka';
import type { Config } from '../../common/config/config.ts';
import { TollwayError } from '../../common/errors.ts';
import type { BrokerRecord } from '../../contract/click-event.ts';
import type { Publisher } from '../publisher.ts';
import { API_VERSION } from './assert-versions.ts';
import { REQUEST_MS_MAX } from './connection-settings.ts';
import { explainKafka } from './explain.ts';
import { PartitionRuns } from './partition-runs.ts';
import { closePool, loadPlatformatic, openPool, type Platformatic } from './platformatic.ts';
import { type Compression, encodeBatch, recordBytesMax } from './record-batch.ts';
import { type Leaders, TopicLeaders } from './topic-leaders.ts';

/** Most bytes of the records of one partition in a request: they are one record batch, and Kafka's default limit of a batch is 1 MB (`message.max.bytes`). */
const BATCH_BYTES_MAX = 900_000;
/** Every in-sync replica acknowledges. */
const ACKS_ALL = -1;
/** The number of Kafka's API for producers. */
const PRODUCE = 0;
const NO_LEADER = 'it has no leader';

const COMPRESSION: Readonly<Record<Config['KAFKA_COMPRESSION'], Compression | null>> = {
  none: null,
  gzip: { attribute: 1, compress: promisify(gzip) },
  zstd: { attribute: 4, compress: promisify(zstdCompress) },
};

/** The records of one request to the cluster, by partition. */
type RecordsOf = Map<number, BrokerRecord[]>;
type EncodedBatch = { readonly partition: number; readonly batch: Buffer };

/**
 * Publishes to Kafka over connections of @platformatic/kafka, with record batches that Tollway encodes; every in-sync replica acknowledges.
 * The library's own producer makes many objects for each header of each record. The records of a rejected call can have been written once
 * or several times. The ledger drops the copies, so calls can run concurrently. Throws `bad_settings`.
 */
export async function createPlatformaticPublisher(config: Config): Promise<Publisher> {
  const library = await loadPlatformatic();
  const pool = openPool(library, config, 'ad-server');
  const leaders = new TopicLeaders(library, pool, config.KAFKA_BROKERS, config.KAFKA_TOPIC);
  const send = createSend(library, pool, config);
  const runs = new PartitionRuns();

  const attempt = async <T>(work: (leaders: Leaders) => Promise<T>): Promise<T> => {
    try {
      return await work(await leaders.get());
    } catch (error) {
      leaders.forget();
      runs.end();
      throw explainKafka(error, config);
    }
  };
  return {
    publish: async (records) => {
      await attempt(async (known) => {
        for (const request of splitByPartition(records, () => runs.next(() => known.withLeader)))
          await send(request, known);
      });
      return [];
    },
    publishEverywhere: async (record) => {
      const leaderless = await attempt(async (known) => {
        await send(new Map(known.withLeader.map((partition) => [partition, [record]])), known);
        return known.partitions.find((partition) => !known.leaderOf.has(partition));
      });
      if (leaderless === undefined) return;
      // Clicks do not wait for this: the leaders that are known have just answered.
      leaders.refresh();
      throw unwritten(leaderless, NO_LEADER);
    },
    close: () => closePool(pool),
  };
}

/** Splits records into requests, so that no partition's records exceed the limit of a batch, unless one record does by itself. */
function splitByPartition(records: readonly BrokerRecord[], nextPartition: () => number): RecordsOf[] {
  const requests: RecordsOf[] = [];
  let current: RecordsOf = new Map();
  let bytesOf = new Map<number, number>();
  for (const record of records) {
    const partition = nextPartition();
    const size = recordBytesMax(record);
    let bytes = bytesOf.get(partition) ?? 0;
    if (bytes > 0 && bytes + size > BATCH_BYTES_MAX) {
      requests.push(current);
      current = new Map();
      bytesOf = new Map();
      bytes = 0;
    }
    bytesOf.set(partition, bytes + size);
    const batch = current.get(partition);
    if (batch) batch.push(record);
    else current.set(partition, [record]);
  }
  if (current.size > 0) requests.push(current);
  return requests;
}

/** Returns a function that sends records to the leaders of their partitions, one request to each broker, and waits for all acknowledgements. */
function createSend(library: Platformatic, pool: ConnectionPool, config: Config) {
  const { KAFKA_TOPIC: topic } = config;
  const compression = COMPRESSION[config.KAFKA_COMPRESSION];
  // In this form the library does not copy the bytes.
  const checksum = (bytes: Buffer) => library.crc32c(library.Writer.create().append(bytes).dynamicBuffer);
  return async (records: RecordsOf, { leaderOf }: Leaders): Promise<void> => {
    const byBroker = new Map<Broker, EncodedBatch[]>();
    for (const [partition, some] of records) {
      const broker = leaderOf.get(partition);
      if (broker === undefined) throw unwritten(partition, NO_LEADER);
      const batch = await encodeBatch(some, Date.now(), checksum, compression);
      const batches = byBroker.get(broker);
      if (batches) batches.push({ partition, batch });
      else byBroker.set(broker, [{ partition, batch }]);
    }
    await Promise.all(
      [...byBroker].map(async ([broker, batches]) => {
        const connection = await pool.get(broker);
        const written = await new Promise<ReadonlySet<number>>((resolve, reject) => {
          connection.send(
            PRODUCE,
            API_VERSION,
            () => encodeRequest(library, topic, batches),
            library.produceV9.parseResponse,
            true,
            true,
            (error, response) => (error ? reject(error) : resolve(partitionsOf(response))),
          );
        });
        for (const { partition } of batches)
          if (!written.has(partition)) throw unwritten(partition, 'its broker does not mention it');
      }),
    );
  };
}

function partitionsOf(response: ReturnType<Platformatic['produceV9']['parseResponse']> | undefined) {
  const partitions = response?.responses.flatMap(({ partitionResponses }) => partitionResponses) ?? [];
  return new Set(partitions.map(({ index }) => index));
}

function unwritten(partition: number, reason: string): TollwayError {
  return new TollwayError('kafka', `Partition ${partition} accepted no clicks: ${reason}`, {
    retryable: true,
  });
}

/** https://kafka.apache.org/41/protocol.html#The_Messages_Produce */
function encodeRequest(
  { Writer: writers }: Platformatic,
  topic: string,
  batches: readonly EncodedBatch[],
): Writer {
  return writers
    .create()
    .appendString(null)
    .appendInt16(ACKS_ALL)
    .appendInt32(REQUEST_MS_MAX)
    .appendArray([topic], (writer, name) =>
      writer.appendString(name).appendArray([...batches], (partitions, { partition, batch }) =>
        partitions
          .appendInt32(partition)
          .appendUnsignedVarInt(batch.length + 1)
          .append(batch),
      ),
    )
    .appendTaggedFields();
}
