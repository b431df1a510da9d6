import { GetRecordsCommand, type KinesisClient } from '@aws-sdk/client-kinesis';
import type { Config } from '../../common/config/config.ts';
import { backoffMs, sleep } from '../../common/process.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { readRecord } from '../../contract/read-record.ts';
import type { BrokerBacklog } from '../backlog.ts';
import { readCheckpoints, resetCheckpoints } from '../checkpoints.ts';
import { explainKinesis, isThrottled, listShards, openKinesis, readStream } from './client.ts';
import {
  END,
  FIRST_RECORD,
  iteratorAt,
  kinesisSourceName,
  mayHaveDeleted,
  readUntil,
  sincePosition,
} from './positions.ts';

/** Time between two reads, in ms. A shard allows five reads a second for all its readers; this leaves two to the processors. */
const READ_MS = 334;
/** Maximum number of records of one read: a page of 10 MB would use up the shard's throughput of five seconds. */
const PAGE_RECORDS = 2_000;
const ATTEMPTS_MAX = 30;

/** The backlog of a Kinesis stream. */
export function createKinesisBacklog(config: Config): BrokerBacklog {
  const withClient = async <T>(work: (client: KinesisClient) => Promise<T>): Promise<T> => {
    const client = openKinesis(config);
    try {
      return await work(client);
    } catch (error) {
      const isSdk = typeof error === 'object' && error !== null && '$metadata' in error;
      throw isSdk ? explainKinesis(error, config) : error;
    } finally {
      client.destroy();
    }
  };
  return {
    isInSnapshot: false,
    readWaiting: (connection, take) =>
      withClient(async (client) => {
        // The shards are read after the snapshot: every click that the snapshot counts as accepted was published before.
        const source = kinesisSourceName(await readStream(client, config));
        const stored = await readCheckpoints(connection, source);
        for (const { ShardId: shard = '' } of await listShards(client, config)) {
          const position = stored.get(shard) ?? FIRST_RECORD;
          if (position !== END) await readShard(client, config, shard, position, take);
        }
      }),
    rewind: (pool, since) =>
      withClient(async (client) => {
        const stream = await readStream(client, config);
        const source = kinesisSourceName(stream);
        await resetCheckpoints(pool, source, (_, position) => {
          // A checkpoint before that time stays, so that no record is skipped.
          const until = readUntil(position);
          return position === END || (until !== null && until > since) ? sincePosition(since) : null;
        });
        return { records: null, short: mayHaveDeleted(stream, since, Date.now()) };
      }),
  };
}

async function readShard(
  client: KinesisClient,
  config: Config,
  shard: string,
  position: string,
  take: (records: readonly ReadRecord[]) => Promise<void>,
): Promise<void> {
  const { KINESIS_STREAM: stream } = config;
  let iterator = await iteratorAt(client, stream, shard, position);
  while (iterator !== undefined) {
    const page: Awaited<ReturnType<typeof readPage>> = await readPage(client, iterator);
    const records = (page.Records ?? []).map(({ Data, PartitionKey, SequenceNumber }) =>
      readRecord(
        { key: PartitionKey ?? null, value: Data === undefined ? null : Buffer.from(Data) },
        `${stream}/${shard}@${SequenceNumber}`,
      ),
    );
    if (records.length > 0) await take(records);
    if (page.MillisBehindLatest === 0) return;
    iterator = page.NextShardIterator;
    await sleep(READ_MS);
  }
}

/** Reads a page. Waits while Kinesis throttles the shard, so that processors come first. */
async function readPage(client: KinesisClient, ShardIterator: string) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await client.send(new GetRecordsCommand({ ShardIterator, Limit: PAGE_RECORDS }));
    } catch (error) {
      if (!isThrottled(error) || attempt === ATTEMPTS_MAX) throw error;
      await sleep(backoffMs(attempt));
    }
  }
}
