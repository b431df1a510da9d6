import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import {
  CreateStreamCommand,
  DescribeStreamSummaryCommand,
  IncreaseStreamRetentionPeriodCommand,
  KinesisClient,
  ListShardsCommand,
  ResourceNotFoundException,
  type Shard,
  UpdateShardCountCommand,
} from '@aws-sdk/client-kinesis';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import type { Config } from '../../common/config/config.ts';
import type { ErrorCode } from '../../common/error-codes.ts';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { sleep } from '../../common/process.ts';

/** Connections kept open: a shard is read by one at a time, and several batches are written at once. */
const SOCKETS_MAX = 64;
const CONNECT_MS_MAX = 3_000;
const REQUEST_MS_MAX = 15_000;
/** Tries of the SDK itself; whoever calls has the patience and says what waits meanwhile. */
const ATTEMPTS_MAX = 2;
/** How often a stream that is being made is looked at, in ms, and for how long. */
const POLL_MS = 500;
const MAKE_MS_MAX = 120_000;

export type KinesisSettings = Pick<Config, 'KINESIS_STREAM' | 'KINESIS_ENDPOINT'>;

/**
 * The client. HTTP/1.1 with connections that are kept: by default the SDK speaks HTTP/2 and opens a session a call
 * (aws/aws-sdk-js-v3#8279). Region and credentials are found by the SDK.
 */
export function openKinesis({ KINESIS_ENDPOINT: endpoint }: KinesisSettings): KinesisClient {
  const agent = { keepAlive: true, maxSockets: SOCKETS_MAX };
  return new KinesisClient({
    ...(endpoint === undefined ? {} : { endpoint }),
    maxAttempts: ATTEMPTS_MAX,
    requestHandler: new NodeHttpHandler({
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent(agent),
      connectionTimeout: CONNECT_MS_MAX,
      requestTimeout: REQUEST_MS_MAX,
      // Otherwise it only warns, and a connection that died in silence is waited for without end.
      throwOnRequestTimeout: true,
    }),
  });
}

/** Names of errors that somebody has to put right; https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html */
const REFUSED =
  /^(UnrecognizedClient|InvalidClientTokenId|InvalidSignature|SignatureDoesNotMatch|IncompleteSignature|MissingAuthenticationToken|AccessDenied|NotAuthorized|OptInRequired|CredentialsProvider)/;

/**
 * An error of the SDK in words that name the setting at fault. `retryable` says whether the same may succeed later, without
 * anybody having changed a setting.
 */
export function explainKinesis(error: unknown, config: KinesisSettings): TollwayError {
  if (error instanceof TollwayError) return error;
  const { name = '' } = error as { name?: string };
  const said = errorMessage(error) || name;
  const explained = (code: ErrorCode, message: string, retryable: boolean) =>
    new TollwayError(code, message, { cause: error, retryable });
  if (error instanceof ResourceNotFoundException || name === 'ResourceNotFoundException') {
    return explained('kinesis_stream', missingStream(config), true);
  }
  if (REFUSED.test(name)) {
    const message = `AWS credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, a role, …): Kinesis refuses them: ${said}`;
    return explained('kinesis_login', message, false);
  }
  const { code = '' } = error as { code?: string };
  if (code !== '' || name === 'TimeoutError') {
    const where = config.KINESIS_ENDPOINT ?? 'the endpoint of AWS_REGION';
    return explained('kinesis_away', `KINESIS_ENDPOINT: ${where} does not answer: ${said || code}`, true);
  }
  return explained('kinesis', `Kinesis stream ${config.KINESIS_STREAM}: ${name}: ${said}`, true);
}

/** Whether a shard was only asked too often. */
export function isThrottled(error: unknown): boolean {
  return (error as { name?: string }).name === 'ProvisionedThroughputExceededException';
}

function missingStream({ KINESIS_STREAM: stream }: KinesisSettings): string {
  return `KINESIS_STREAM: there is no stream "${stream}": make it with npx tollway topics create`;
}

/** The SDK finds the region where it finds it, and says little where it does not. */
async function assertRegion(client: KinesisClient): Promise<void> {
  const region = await client.config.region().catch(() => '');
  if (/^[a-z0-9-]+$/i.test(region)) return;
  const message = 'AWS_REGION: expected the region of the stream, such as eu-west-1, and found none';
  throw new TollwayError('kinesis_region', message);
}

/** What there is to know of a stream. */
export type Stream = {
  /** Tells it from another of the same name, before or after it. */
  readonly id: string;
  readonly retentionMs: number;
  /** When it was made, or `null` where that is not said. */
  readonly madeAt: Date | null;
};

/** Reads what there is to know of the stream. Throws `kinesis_stream` if there is none. */
export async function readStream(client: KinesisClient, config: KinesisSettings): Promise<Stream> {
  try {
    await assertRegion(client);
    const { StreamDescriptionSummary: stream } = await client.send(
      new DescribeStreamSummaryCommand({ StreamName: config.KINESIS_STREAM }),
    );
    return {
      id: `${config.KINESIS_STREAM} ${stream?.StreamCreationTimestamp?.toISOString() ?? ''}`,
      retentionMs: (stream?.RetentionPeriodHours ?? 24) * 3_600_000,
      madeAt: stream?.StreamCreationTimestamp ?? null,
    };
  } catch (error) {
    throw explainKinesis(error, config);
  }
}

/** All shards that the stream has records of, open and closed. */
export async function listShards(client: KinesisClient, config: KinesisSettings): Promise<Shard[]> {
  const shards: Shard[] = [];
  let next: string | undefined;
  try {
    do {
      const page = await client.send(
        new ListShardsCommand(
          next === undefined ? { StreamName: config.KINESIS_STREAM } : { NextToken: next },
        ),
      );
      shards.push(...(page.Shards ?? []));
      next = page.NextToken;
    } while (next !== undefined);
  } catch (error) {
    throw explainKinesis(error, config);
  }
  return shards;
}

/** Whether a shard still takes records. */
export function isOpen(shard: Shard): boolean {
  return shard.SequenceNumberRange?.EndingSequenceNumber === undefined;
}

/** What `createStream` found or made. */
export type StreamMade = { readonly shards: number; readonly made: 'all' | 'shards' | 'nothing' };

/** Makes the stream, or adds the shards it lacks, and has it keep records for `BROKER_RETENTION_DAYS`. */
export async function createStream(config: Config): Promise<StreamMade> {
  const client = openKinesis(config);
  const { KINESIS_STREAM: StreamName, KINESIS_SHARDS: wanted } = config;
  try {
    await assertRegion(client);
    const there = await client
      .send(new DescribeStreamSummaryCommand({ StreamName }))
      .catch((error: unknown) => {
        if (explainKinesis(error, config).code === 'kinesis_stream') return null;
        throw error;
      });
    if (there) {
      const shards = there.StreamDescriptionSummary?.OpenShardCount ?? 0;
      if (shards >= wanted) return { shards, made: 'nothing' };
      await client.send(
        new UpdateShardCountCommand({ StreamName, TargetShardCount: wanted, ScalingType: 'UNIFORM_SCALING' }),
      );
      await untilActive(client, StreamName);
      return { shards: wanted, made: 'shards' };
    }
    await client.send(new CreateStreamCommand({ StreamName, ShardCount: wanted }));
    await untilActive(client, StreamName);
    const hours = config.BROKER_RETENTION_DAYS * 24;
    // A day is what a stream keeps anyway.
    if (hours > 24) {
      await client.send(
        new IncreaseStreamRetentionPeriodCommand({ StreamName, RetentionPeriodHours: hours }),
      );
      await untilActive(client, StreamName);
    }
    return { shards: wanted, made: 'all' };
  } catch (error) {
    throw explainKinesis(error, config);
  } finally {
    client.destroy();
  }
}

async function untilActive(client: KinesisClient, StreamName: string): Promise<void> {
  for (const deadline = performance.now() + MAKE_MS_MAX; performance.now() < deadline; await sleep(POLL_MS)) {
    const { StreamDescriptionSummary: stream } = await client.send(
      new DescribeStreamSummaryCommand({ StreamName }),
    );
    if (stream?.StreamStatus === 'ACTIVE') return;
  }
  throw new TollwayError(
    'kinesis',
    `KINESIS_STREAM: ${StreamName} is not active after ${MAKE_MS_MAX / 1_000} s`,
  );
}
