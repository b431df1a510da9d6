import {
  type KinesisClient,
  PutRecordCommand,
  PutRecordsCommand,
  type PutRecordsRequestEntry,
} from '@aws-sdk/client-kinesis';
import type { Config } from '../../common/config/config.ts';
import type { BrokerRecord } from '../../contract/click-event.ts';
import type { Publisher } from '../publisher.ts';
import { splitRecords } from '../split-records.ts';
import { explainKinesis, isOpen, listShards, openKinesis } from './client.ts';

/** Limits of one `PutRecords`; https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html */
const CALL = { records: 500, bytes: 5_242_880, overhead: 0 };
/** How long the list of shards for watermarks is cached, in ms. */
const SHARDS_FRESH_MS = 30_000;

/**
 * Publishes to Kinesis, one record a click. Returns the records that a shard refused because of its throughput limit. Throws if a whole
 * call fails.
 */
export function createKinesisPublisher(config: Config): Publisher {
  const { KINESIS_STREAM: StreamName } = config;
  const client = openKinesis(config);
  let shards: { hashKeys: string[]; at: number } | null = null;

  const readHashKeys = async () => {
    if (shards === null || performance.now() - shards.at > SHARDS_FRESH_MS) {
      const open = (await listShards(client, config)).filter(isOpen);
      const hashKeys = open.flatMap(({ HashKeyRange: range }) => range?.StartingHashKey ?? []);
      shards = { hashKeys, at: performance.now() };
    }
    return shards.hashKeys;
  };
  return {
    publish: async (records) => {
      const results = await Promise.allSettled(
        splitRecords(records, CALL).map((call) => putRecords(client, StreamName, call)),
      );
      const refused = results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
      const failed = results.find((result) => result.status === 'rejected');
      // The caller sends the records of all calls again, and the ledger drops the copies.
      if (failed) throw explainKinesis(failed.reason, config);
      return refused;
    },
    publishEverywhere: async (record) => {
      const hashKeys = await readHashKeys();
      const put = (ExplicitHashKey: string) =>
        client.send(new PutRecordCommand({ StreamName, ExplicitHashKey, ...entryOf(record) }));
      await Promise.all(hashKeys.map(put)).catch((error: unknown) => {
        throw explainKinesis(error, config);
      });
    },
    close: async () => client.destroy(),
  };
}

/** Sends one call. Returns the records that were refused. */
async function putRecords(
  client: KinesisClient,
  StreamName: string,
  records: readonly BrokerRecord[],
): Promise<BrokerRecord[]> {
  const { Records: results = [], FailedRecordCount: failed } = await client.send(
    new PutRecordsCommand({ StreamName, Records: records.map(entryOf) }),
  );
  if (failed === 0) return [];
  // A record without a result counts as refused: a copy is harmless, a missing record is not.
  return records.filter((_, index) => results[index]?.SequenceNumber === undefined);
}

function entryOf({ key, value }: BrokerRecord): PutRecordsRequestEntry {
  return { Data: value ?? Buffer.alloc(0), PartitionKey: key ?? 'none' };
}
