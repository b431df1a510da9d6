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
import { failureKind } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { withoutCredentials } from '../../common/without-credentials.ts';

/** Maximum number of connections: one for each shard that is read, and several for concurrent writes. */
const SOCKETS_MAX = 64;
const CONNECT_MS_MAX = 3_000;
const REQUEST_MS_MAX = 15_000;
/** Attempts of the SDK. The caller retries and reports what is blocked. */
const ATTEMPTS_MAX = 2;
/** Polling interval and maximum wait for a stream that is being created, in ms. */
const POLL_MS = 500;
const CREATE_MS_MAX = 120_000;

export type KinesisSettings = Pick<Config, 'KINESIS_STREAM' | 'KINESIS_ENDPOINT'>;

/** The endpoint, for problems and logs: without credentials. */
export function endpointName({ KINESIS_ENDPOINT: endpoint }: KinesisSettings): string {
  return endpoint === undefined ? 'the endpoint of AWS_REGION' : withoutCredentials(endpoint);
}

/**
 * Creates a client with HTTP/1.1 and persistent connections. By default the SDK uses HTTP/2 and opens a session for each call
 * (aws/aws-sdk-js-v3#8279). The SDK finds region and credentials.
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
      // Without it the SDK only warns, and waits forever for a connection that broke unnoticed.
      throwOnRequestTimeout: true,
    }),
  });
}

/** Names of errors that only other credentials or rights can cure; https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html */
const REFUSED =
  /^(UnrecognizedClient|InvalidClientTokenId|InvalidSignature|SignatureDoesNotMatch|IncompleteSignature|MissingAuthenticationToken|AccessDenied|NotAuthorized|OptInRequired|CredentialsProvider)/;

/**
 * Turns an error of the SDK into one that names the setting at fault. `retryable`: a later attempt can succeed with the same settings.
 */
export function explainKinesis(error: unknown, config: KinesisSettings): TollwayError {
  if (error instanceof TollwayError) return error;
  const { name = '' } = error as { name?: string };
  const detail = errorMessage(error) || name;
  const explained = (code: ErrorCode, message: string, retryable: boolean) =>
    new TollwayError(code, message, { cause: error, retryable });
  if (error instanceof ResourceNotFoundException || name === 'ResourceNotFoundException') {
    return explained('kinesis_stream', missingStream(config), true);
  }
  if (REFUSED.test(name)) {
    const message = `AWS credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, a role, …): Kinesis refuses them: ${detail}`;
    return explained('kinesis_login', message, false);
  }
  const { code = '' } = error as { code?: string };
  if (code !== '' || name === 'TimeoutError') {
    const where = endpointName(config);
    return explained('kinesis_away', `KINESIS_ENDPOINT: ${where} does not answer: ${detail || code}`, true);
  }
  return explained('kinesis', `Kinesis stream ${config.KINESIS_STREAM}: ${name}: ${detail}`, true);
}

/** Explains an error of Kinesis or of the database. */
export function explainFailure(error: unknown, config: KinesisSettings): TollwayError {
  const isSdk = typeof error === 'object' && error !== null && ('$metadata' in error || '$fault' in error);
  if (error instanceof TollwayError || isSdk || failureKind(error) !== 'transient')
    return explainKinesis(error, config);
  // Socket errors look the same from Kinesis and from the database.
  const message = `Kinesis or the database: ${errorMessage(error)}`;
  return new TollwayError('dependency_failed', message, { cause: error, retryable: true });
}

/** Whether Kinesis refused a read because the shard's throughput was exceeded. */
export function isThrottled(error: unknown): boolean {
  return (error as { name?: string }).name === 'ProvisionedThroughputExceededException';
}

function missingStream({ KINESIS_STREAM: stream }: KinesisSettings): string {
  return `KINESIS_STREAM: there is no stream "${stream}". Create it with npx tollway topics create`;
}

/** Throws `kinesis_region` if the SDK finds no region; the SDK's own error does not name the setting. */
async function assertRegion(client: KinesisClient): Promise<void> {
  const region = await client.config.region().catch(() => '');
  if (/^[a-z0-9-]+$/i.test(region)) return;
  const message = 'AWS_REGION: expected the region of the stream, such as eu-west-1, got nothing';
  throw new TollwayError('kinesis_region', message);
}

/** The description of a stream. */
export type Stream = {
  /** Name and time of creation, which tell it from an earlier or later stream of the same name. */
  readonly id: string;
  readonly retentionMs: number;
  /** When it was created, or `null` if unknown. */
  readonly createdAt: Date | null;
};

/** Reads the description of the stream. Throws `kinesis_stream` if it does not exist or is being deleted. */
export async function readStream(client: KinesisClient, config: KinesisSettings): Promise<Stream> {
  try {
    await assertRegion(client);
    const { StreamDescriptionSummary: stream } = await client.send(
      new DescribeStreamSummaryCommand({ StreamName: config.KINESIS_STREAM }),
    );
    if (stream?.StreamStatus === 'DELETING')
      throw new TollwayError('kinesis_stream', missingStream(config), { retryable: true });
    return {
      id: `${config.KINESIS_STREAM} ${stream?.StreamCreationTimestamp?.toISOString() ?? ''}`,
      retentionMs: (stream?.RetentionPeriodHours ?? 24) * 3_600_000,
      createdAt: stream?.StreamCreationTimestamp ?? null,
    };
  } catch (error) {
    throw explainKinesis(error, config);
  }
}

/** All shards of the stream, open and closed, until their records expire. */
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

/** Whether a shard accepts new records. */
export function isOpen(shard: Shard): boolean {
  return shard.SequenceNumberRange?.EndingSequenceNumber === undefined;
}

/** The result of `createStream`: the shards of the stream, and what was created. */
export type StreamMade = { readonly shards: number; readonly made: 'all' | 'shards' | 'nothing' };

/** Creates the stream with a retention of `BROKER_RETENTION_DAYS`, or adds missing shards to an existing one. */
export async function createStream(config: Config): Promise<StreamMade> {
  const client = openKinesis(config);
  const { KINESIS_STREAM: StreamName, KINESIS_SHARDS: wanted } = config;
  try {
    await assertRegion(client);
    const existing = await client
      .send(new DescribeStreamSummaryCommand({ StreamName }))
      .catch((error: unknown) => {
        if (explainKinesis(error, config).code === 'kinesis_stream') return null;
        throw error;
      });
    if (existing) {
      const shards = existing.StreamDescriptionSummary?.OpenShardCount ?? 0;
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
    // The retention of a new stream is 24 hours.
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
  const deadline = performance.now() + CREATE_MS_MAX;
  for (; performance.now() < deadline; await sleep(POLL_MS)) {
    const { StreamDescriptionSummary: stream } = await client.send(
      new DescribeStreamSummaryCommand({ StreamName }),
    );
    if (stream?.StreamStatus === 'ACTIVE') return;
  }
  throw new TollwayError(
    'kinesis',
    `KINESIS_STREAM: ${StreamName} is not active after ${CREATE_MS_MAX / 1_000} s`,
  );
}
