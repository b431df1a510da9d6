import type * as z from 'zod/mini';
import { counted } from '../counted.ts';
import { TollwayError } from '../errors.ts';
import { parseLinkKeys } from './link-keys.ts';
import {
  brokers,
  choice,
  groupName,
  host,
  hosts,
  linkBase,
  optional,
  parsed,
  proxies,
  type Setting,
  startPosition,
  topicName,
  url,
  whole,
} from './setting.ts';

export type { StartPosition } from './setting.ts';

/** Every setting there is. docs/configuration.md is checked against it by a test. */
export const settings = {
  AD_SERVER_HOST: parsed('0.0.0.0', 'address', 'Where the public port listens.', host),
  AD_SERVER_PORT: whole(8080, 'port', 1, 65_535, 'The public port: redirects.'),
  AD_SERVER_OPS_PORT: whole(8081, 'port', 1, 65_535, 'Health, readiness and metrics of the ad server.'),
  PROCESSOR_OPS_PORT: whole(8082, 'port', 1, 65_535, 'Health, readiness and metrics of the processor.'),
  OPS_HOST: parsed('127.0.0.1', 'address', 'Where both operations ports listen.', host),
  OPS_ALLOWED_HOSTS: parsed(
    '',
    'names, …',
    'Host names with a dot that clients use for the operations ports, such as `processor-1.example.com`. Any other is refused.',
    hosts,
  ),
  PUBLIC_URL: parsed(
    'http://localhost:8080',
    'URL',
    'What printed links begin with. Unset, it follows `AD_SERVER_PORT`.',
    linkBase,
  ),
  DATA_DIR: parsed(
    '.tollway',
    'folder',
    'Spools, the embedded database, link keys. A local disk.',
    (text) => text,
  ),
  DATABASE_URL: optional(
    'URL',
    'The PostgreSQL of the ledger. Unset, `npm start` runs an embedded one and the other commands find it in `DATA_DIR`.',
    url(['postgres:', 'postgresql:']),
  ),
  DATABASE_SECRET: optional(
    'ARN',
    'For functions: a secret of AWS Secrets Manager, `{"username": …, "password": …}` as RDS keeps it, for `DATABASE_URL`.',
    (text) => text,
  ),
  BROKER: choice(
    'postgres',
    ['postgres', 'kafka', 'kinesis'],
    'What carries the clicks. `postgres` is the database of the ledger itself.',
  ),
  KAFKA_BROKERS: parsed(
    'localhost:9092',
    '`host:port`, …',
    'Where Kafka is found: some of its brokers.',
    brokers,
  ),
  KAFKA_TOPIC: parsed('tollway-clicks', 'name', 'The topic of the clicks.', topicName),
  KAFKA_GROUP: parsed('tollway', 'name', 'The consumer group of the processors.', groupName),
  KAFKA_PARTITIONS: whole(
    8,
    'partitions',
    1,
    1_000,
    'Partitions that `topics create` makes sure of, and that the topic is expected to have at least. So many processors can share the work.',
  ),
  KAFKA_COMPRESSION: choice(
    'none',
    ['none', 'gzip', 'zstd'],
    'How clicks are compressed on their way to Kafka and in it. `zstd` takes a sixth of the space.',
  ),
  KAFKA_TLS: choice('off', ['off', 'on'], 'Whether connections to Kafka are encrypted.'),
  KAFKA_TLS_CA: optional(
    'file',
    'PEM file of the authorities that are trusted. Unset, those of Node.',
    (text) => text,
  ),
  KAFKA_TLS_CERT: optional(
    'file',
    'PEM file of the client certificate, for brokers that want one.',
    (text) => text,
  ),
  KAFKA_TLS_KEY: optional('file', 'PEM file of its key.', (text) => text),
  KAFKA_SASL: choice('off', ['off', 'plain', 'scram-sha-256', 'scram-sha-512'], 'How to log in to Kafka.'),
  KAFKA_USERNAME: optional('text', 'Who logs in.', (text) => text),
  KAFKA_PASSWORD: optional('text', 'The password.', (text) => text),
  KINESIS_STREAM: parsed('tollway-clicks', 'name', 'The stream of the clicks.', topicName),
  KINESIS_ENDPOINT: optional(
    'URL',
    'Another address than that of AWS. Region and credentials are found as the AWS SDK finds them (`AWS_REGION`, …).',
    url(['http:', 'https:']),
  ),
  KINESIS_SHARDS: whole(4, 'shards', 1, 10_000, 'Shards that `topics create` makes sure of.'),
  START_POSITION: parsed(
    'earliest',
    'earliest \\| latest \\| time',
    'Where the very first start of all begins to read Kafka or Kinesis; a time such as `2026-01-31T12:00:00Z`. After that, and for partitions that come later, it means nothing.',
    startPosition,
  ),
  LINK_KEYS: optional(
    '`id:state:secret`, …',
    'Keys of the links; state `signs` or `verifies`, secret in base64url of at least 16 bytes. A stand-alone ad server needs them; `npm start` makes and keeps one.',
    parseLinkKeys,
  ),
  LINK_LIFE_MAX_DAYS: whole(
    90,
    'days',
    1,
    400,
    'The longest life of an impression link, whatever it says itself.',
  ),
  AD_SERVER_WORKERS: whole(
    1,
    'processes',
    1,
    64,
    'Ad server processes on the one public port, each with its own spool.',
  ),
  TRUSTED_PROXIES: parsed(
    '',
    'networks',
    'Proxies whose `X-Forwarded-For` is trusted, such as `10.0.0.0/8,::1`.',
    proxies,
  ),
  CONNECTIONS_PER_ADDRESS: whole(
    1_000,
    'connections',
    0,
    20_000,
    'Maximum connections from one IPv4 address or IPv6 /64 on the public port. It is never more than half of the port limit. `TRUSTED_PROXIES` may have any number. 0 turns it off.',
  ),
  DOUBLE_CLICK_MS: whole(
    1_000,
    'ms',
    0,
    60_000,
    'The same link by the same visitor within this time is `invalid: double_click`. 0 turns it off.',
  ),
  AGENT_RULES_FILE: optional(
    'file',
    'Exceptions for user agents, a line each: `person TEXT` or `bot TEXT`. A user agent that contains TEXT (case-insensitive) gets this verdict. At most 1000 lines. Ad servers read the file again when it changes, functions when they start.',
    (text) => text,
  ),
  NO_USER_AGENT: choice(
    'person',
    ['person', 'bot'],
    'How a click without a user agent (missing, empty or `-`) is judged.',
  ),
  CATALOG_POLL_MS: whole(
    10_000,
    'ms',
    100,
    600_000,
    'How often the ad catalog is read anew, should a notification be lost.',
  ),
  CATALOG_AGE_WARN_MS: whole(60_000, 'ms', 1_000, 86_400_000, 'A catalog older than this is warned of.'),
  SPOOL_MAX_BYTES: whole(
    1_073_741_824,
    'bytes',
    65_536,
    1_099_511_627_776,
    'Most that the spools of one ad server hold on disk, over all its workers.',
  ),
  SPOOL_SEGMENT_BYTES: whole(
    8_388_608,
    'bytes',
    4_096,
    1_073_741_824,
    'Size at which a spool begins its next segment file.',
  ),
  SPOOL_SYNC: choice(
    'os',
    ['os', 'interval', 'each'],
    'When a click is forced to disk: by the system, every `SPOOL_SYNC_INTERVAL_MS`, or before each redirect.',
  ),
  SPOOL_SYNC_INTERVAL_MS: whole(100, 'ms', 1, 60_000, 'Time between two syncs with `SPOOL_SYNC=interval`.'),
  SPOOL_FULL: choice(
    'redirect',
    ['redirect', 'refuse'],
    'When the spool is full or broken: redirect without recording (counted), or answer 503.',
  ),
  RELAY_BATCH_MAX: whole(1_000, 'clicks', 1, 10_000, 'Most clicks the relay publishes at once.'),
  RELAY_LINGER_MS: whole(20, 'ms', 0, 10_000, 'How long the relay lets clicks gather before it publishes.'),
  WATERMARK_INTERVAL_MS: whole(2_000, 'ms', 100, 60_000, 'Time between two watermarks of a spool.'),
  BATCH_SIZE: whole(8_000, 'clicks', 1, 10_000, 'Most clicks the handler is given at once.'),
  BATCH_WINDOW_MS: whole(100, 'ms', 1, 60_000, 'How long clicks may gather for a batch.'),
  PARALLELIZATION: whole(
    2,
    'lanes',
    1,
    32,
    'Handlers at work at once in one processor; clicks are dealt to them by advertiser.',
  ),
  RETRY_ATTEMPTS: whole(
    1,
    'attempts',
    0,
    10_000,
    'Retries of a record that fails by itself while other clicks are settled, before it becomes a dead letter. A failure of a server is retried without limit and does not count.',
  ),
  CLICK_AGE_MAX_DAYS: whole(
    14,
    'days',
    1,
    365,
    'A click that arrives later than this is `rejected: too_old`.',
  ),
  BROKER_RETENTION_DAYS: whole(
    7,
    'days',
    1,
    365,
    'How long the broker keeps what is settled: how far `rewind` reaches. For Kafka and Kinesis, what `topics create` asks for.',
  ),
  LEDGER_RETENTION_DAYS: whole(
    400,
    'days',
    2,
    4_000,
    'How long the ledger keeps a day before it is closed into sums.',
  ),
  REDIRECT_WAIT_MS: whole(
    1_000,
    'ms',
    50,
    20_000,
    'How long the redirect function waits for the broker, and for an ad it does not know yet; then `SPOOL_FULL` decides.',
  ),
  REQUEST_TIMEOUT_MS: whole(
    30_000,
    'ms',
    2_000,
    3_600_000,
    'How long the CloudEvents function works on one request before it answers 503.',
  ),
  LOG_LEVEL: choice(
    'info',
    ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
    'Least severity that is logged.',
  ),
  LOG_FORMAT: choice('json', ['json', 'pretty'], 'Logs for machines or for people.'),
} satisfies Record<string, Setting<unknown>>;

/** All settings under their own names, parsed and frozen. */
export type Config = Readonly<{ [K in keyof typeof settings]: z.output<(typeof settings)[K]['schema']> }>;

/**
 * Reads all settings from an environment. An empty variable counts as unset.
 * Throws one `bad_settings` that lists every problem.
 */
export function parseConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const config: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [name, setting] of Object.entries(settings)) {
    const result = setting.schema.safeParse(env[name] === '' ? undefined : env[name]);
    if (result.success) config[name] = result.data;
    else problems.push(...result.error.issues.map((issue) => `${name}: ${issue.message}`));
  }
  problems.push(...contradictions(config));
  if (!env.PUBLIC_URL) config.PUBLIC_URL = `http://localhost:${config.AD_SERVER_PORT}`;
  if (problems.length > 0) {
    throw new TollwayError(
      'bad_settings',
      `The environment has ${counted(problems.length, 'problem')}:\n  ${problems.join('\n  ')}`,
    );
  }
  // The loop above filled every name with the output of its own schema.
  return Object.freeze(config as Config);
}

/** Settings that are each in range and do not fit each other. What could not be read is left out. */
function contradictions(config: Readonly<Record<string, unknown>>): string[] {
  const problems: string[] = [];
  const mustNotExceed = (lower: keyof Config, upper: keyof Config, why: string, share = 1) => {
    const most = Math.floor(Number(config[upper]) / share);
    if (Number(config[lower]) > most) {
      problems.push(
        `${lower}: expected at most ${upper}${share > 1 ? ` / ${share}` : ''} (${most}), got ${config[lower]}: ${why}`,
      );
    }
  };
  const together = (given: keyof Config, wanted: readonly (keyof Config)[]) => {
    const missing = wanted.filter((name) => config[name] === undefined);
    if (config[given] !== undefined && config[given] !== 'off' && missing.length > 0)
      problems.push(`${missing.join(', ')}: expected with ${given}, got nothing`);
  };
  together('KAFKA_SASL', ['KAFKA_USERNAME', 'KAFKA_PASSWORD']);
  together('KAFKA_TLS_CERT', ['KAFKA_TLS_KEY']);
  together('KAFKA_TLS_KEY', ['KAFKA_TLS_CERT']);
  for (const name of ['KAFKA_TLS_CA', 'KAFKA_TLS_CERT', 'KAFKA_TLS_KEY'] as const) {
    if (config[name] !== undefined && config.KAFKA_TLS === 'off')
      problems.push(`${name}: expected with KAFKA_TLS=on`);
  }
  for (const name of ['KAFKA_USERNAME', 'KAFKA_PASSWORD'] as const) {
    if (config[name] !== undefined && config.KAFKA_SASL === 'off')
      problems.push(`${name}: expected with a KAFKA_SASL`);
  }
  mustNotExceed(
    'BROKER_RETENTION_DAYS',
    'CLICK_AGE_MAX_DAYS',
    'what the broker still holds must not be too old to charge',
  );
  mustNotExceed(
    'CLICK_AGE_MAX_DAYS',
    'LEDGER_RETENTION_DAYS',
    'what the ledger has forgotten must never be charged again',
  );
  const workers = Number(config.AD_SERVER_WORKERS ?? 1);
  mustNotExceed(
    'SPOOL_SEGMENT_BYTES',
    'SPOOL_MAX_BYTES',
    'a segment has to fit into the spool of each worker',
    workers,
  );
  return problems;
}
