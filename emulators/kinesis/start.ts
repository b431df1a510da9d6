import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { KinesisClient, ListStreamsCommand } from '@aws-sdk/client-kinesis';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { freePorts } from '../process/free-ports.ts';
import { type Guard, type GuardedProcess, openGuard, untilAnswers } from '../process/guarded-process.ts';

/** An emulated Kinesis for tests: the npm package `kinesis-local`, which handles a few hundred records/s and some 10 000 records in total. */
export type KinesisServer = {
  /** A URL for KINESIS_ENDPOINT, with plain HTTP/1.1. It accepts any region and credentials. */
  readonly endpoint: string;
  /**
   * Closes all connections at once and ends it. Acknowledged records are kept, as in Kinesis. The emulator has its data in memory and writes them
   * to disk when it ends, so this sends SIGTERM instead of SIGKILL.
   */
  readonly kill: () => Promise<void>;
  /** Starts it again on the same port, with the data of `kill`, and waits until it answers. */
  readonly start: () => Promise<void>;
  /** Freezes it: it accepts connections and does not answer. */
  readonly suspend: () => Promise<void>;
  readonly resume: () => Promise<void>;
  /** Ends it and removes its data. */
  readonly stop: () => Promise<void>;
};

/** Timeout for writing its data to disk, in ms. */
const KILL_MS_MAX = 30_000;
/** How long a stream is CREATING or UPDATING: short, but long enough for clients to see the state. */
const TRANSITION = '50ms';

/** Starts a server in a temporary folder. Throws an error with the end of its log if it does not start. */
export async function startKinesis(): Promise<KinesisServer> {
  const guard = await openGuard(join(tmpdir(), 'tollway-kinesis-'));
  try {
    return await startIn(guard);
  } catch (error) {
    await guard.end();
    throw error;
  }
}

async function startIn(guard: Guard): Promise<KinesisServer> {
  const program = createRequire(import.meta.url).resolve('kinesis-local/main.js');
  const [port = 0, tlsPort = 0] = await freePorts(2);
  const env = settings(guard.folder, dirname(program), port, tlsPort);
  const hangUp = pathToFileURL(join(import.meta.dirname, 'hang-up.ts')).href;
  const endpoint = `http://127.0.0.1:${port}`;

  let server: GuardedProcess;
  const start = async () => {
    server = await guard.run(process.execPath, ['--import', hangUp, program], env);
    await untilKinesisAnswers(endpoint, server);
  };
  const kill = async () => {
    // A frozen process does not handle SIGTERM.
    server.signal('SIGCONT');
    server.signal('SIGTERM');
    await endedWithin(KILL_MS_MAX, server);
  };
  await start();
  return {
    endpoint,
    kill,
    start,
    suspend: () => server.suspend(),
    resume: async () => server.signal('SIGCONT'),
    stop: guard.end,
  };
}

/** See https://github.com/etspaceman/kinesis-mock#service-configuration. */
function settings(folder: string, packageFolder: string, port: number, tlsPort: number) {
  const transitions = [
    'CREATE_STREAM',
    'DELETE_STREAM',
    'MERGE_SHARDS',
    'SPLIT_SHARD',
    'UPDATE_SHARD_COUNT',
    'UPDATE_STREAM_MODE',
    'REGISTER_STREAM_CONSUMER',
    'DEREGISTER_STREAM_CONSUMER',
  ];
  return {
    KINESIS_MOCK_PLAIN_PORT: String(port),
    // TLS cannot be disabled.
    KINESIS_MOCK_TLS_PORT: String(tlsPort),
    KINESIS_MOCK_CERT_PATH: join(packageFolder, 'server.json'),
    ...Object.fromEntries(transitions.map((name) => [`${name}_DURATION`, TRANSITION])),
    SHARD_LIMIT: '1000',
    LOG_LEVEL: 'ERROR',
    SHOULD_PERSIST_DATA: 'true',
    PERSIST_PATH: join(folder, 'data'),
    // It only needs to write at its end. Each write contains all data.
    PERSIST_INTERVAL: '24h',
  };
}

async function untilKinesisAnswers(endpoint: string, server: GuardedProcess): Promise<void> {
  const client = new KinesisClient({
    endpoint,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    requestHandler: new NodeHttpHandler({ connectionTimeout: 2_000, requestTimeout: 5_000 }),
    maxAttempts: 1,
  });
  try {
    await untilAnswers(
      'Kinesis',
      () => client.send(new ListStreamsCommand({})),
      async () => (server.hasEnded() ? server.logTail() : null),
    );
  } finally {
    client.destroy();
  }
}

async function endedWithin(maxMs: number, server: GuardedProcess): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Kinesis did not end within ${maxMs} ms`)), maxMs);
  });
  try {
    await Promise.race([server.ended, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}
