import { type KinesisClient, PutRecordsCommand } from '@aws-sdk/client-kinesis';
import { createBacklogs } from '../../brokers/create-event-sources.ts';
import { createStream, isOpen, listShards, openKinesis } from '../../brokers/kinesis/client.ts';
import { createKinesisPublisher } from '../../brokers/kinesis/publisher.ts';
import { type Config, parseConfig } from '../../common/config/config.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { type KinesisServer, startKinesis } from '../../emulators/kinesis/start.ts';
import { silent } from '../support/loggers.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { type Broker, between, type Driver, QUICK, type Server, SLOTS } from './broker.ts';

/** Credentials that the emulator accepts; the SDK reads them from the environment. */
export const AWS: Record<string, string> = {
  AWS_REGION: 'us-east-1',
  AWS_ACCESS_KEY_ID: 'test',
  AWS_SECRET_ACCESS_KEY: 'test',
};

export type KinesisForTests = Server & { readonly server: KinesisServer };

export const kinesisDriver: Driver = {
  name: 'kinesis',
  hasCheckpoints: true,
  canFreeze: true,
  missing: async () => null,
  start: () => startKinesisForTests(),
};

export async function startKinesisForTests(): Promise<KinesisForTests> {
  Object.assign(process.env, AWS);
  const server = await startKinesis();
  // The proxy breaks connections during requests, as a crash of the server does. The emulator itself can end, and save its data, only
  // when no request is in progress.
  const proxy = await startTcpProxy(server.endpoint);
  const die = async () => {
    await proxy.cut();
    await server.kill();
  };
  const rise = async () => {
    await server.start();
    await proxy.restore();
  };
  return {
    server,
    open: async (database, more = {}) => {
      const env: Record<string, string> = {
        ...QUICK,
        ...AWS,
        // The longest pause between two reads of an empty shard. The emulator takes milliseconds of CPU time for each read.
        BATCH_WINDOW_MS: '500',
        BROKER: 'kinesis',
        DATABASE_URL: database.url,
        KINESIS_ENDPOINT: proxy.url,
        KINESIS_STREAM: `clicks-${uuidV7()}`,
        KINESIS_SHARDS: String(SLOTS),
        ...more,
      };
      const config = parseConfig(env);
      await createStream(config);
      return brokerOf(config, env);
    },
    outage: between(die, rise),
    freeze: between(server.suspend, server.resume),
    stop: async () => {
      await proxy.close();
      await server.stop();
    },
  };
}

async function brokerOf(config: Config, env: Record<string, string>): Promise<Broker> {
  const { KINESIS_STREAM: StreamName } = config;
  const client: KinesisClient = openKinesis(config);
  const publisher = createKinesisPublisher(config);
  return {
    env,
    config,
    publisher,
    backlogs: await createBacklogs(config, silent),
    publishTo: async (slot, records) => {
      const open = (await listShards(client, config)).filter(isOpen);
      const ExplicitHashKey = open[slot]?.HashKeyRange?.StartingHashKey;
      const Records = records.map(({ key, value }) => ({
        Data: value ?? Buffer.alloc(0),
        PartitionKey: key ?? 'none',
        ExplicitHashKey,
      }));
      const { FailedRecordCount } = await client.send(new PutRecordsCommand({ StreamName, Records }));
      if (FailedRecordCount)
        throw new Error(`Expected all records to be taken, ${FailedRecordCount} were not`);
    },
    deletePositions: {
      'its checkpoints': async (pool) => void (await pool.query('delete from broker_checkpoint')),
    },
    place: () => new RegExp(`^${StreamName}/shardId-\\d+@\\d+$`),
    close: async () => {
      await publisher.close();
      client.destroy();
    },
  };
}
