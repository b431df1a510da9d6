import { counted } from '../counted.ts';
import { errorMessage, TollwayError } from '../errors.ts';
import { contradictions } from './contradictions.ts';
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

/** All settings. A test compares docs/configuration.md with this list. */
export const settings = {
  AD_SERVER_HOST: parsed('0.0.0.0', 'address', 'Address that the public port listens on.', host),
  AD_SERVER_PORT: whole(8080, 'port', 1, 65_535, 'Public port of the ad server, for redirects.'),
  AD_SERVER_OPS_PORT: whole(8081, 'port', 1, 65_535, 'Health, readiness and metrics of the ad server.'),
  PROCESSOR_OPS_PORT: whole(8082, 'port', 1, 65_535, 'Health, readiness and metrics of the processor.'),
  CONSOLE_HOST: parsed(
    '127.0.0.1',
    'address',
    'Address that the HTTP API listens on. It has no TLS: put a proxy with TLS before it where others can reach it.',
    host,
  ),
  CONSOLE_PORT: whole(8083, 'port', 1, 65_535, 'Port of the HTTP API and its reference.'),
  CONSOLE_OPS_PORT: whole(8084, 'port', 1, 65_535, 'Health, readiness and metrics of the console.'),
  CONSOLE_REQUESTS_PER_SECOND: whole(
    100,
    'requests/s',
    1,
    100_000,
    'Requests that one API key can send to one console per second, on average over 10 s. Further ones get 429.',
  ),
  WEBHOOK_PRIVATE_TARGETS: choice(
    'off',
    ['off', 'on'],
    'Whether webhooks can have targets in private networks and on this machine.',
  ),
  OPS_HOST: parsed('127.0.0.1', 'address', 'Address that the operations ports listen on.', host),
  OPS_ALLOWED_HOSTS: parsed(
    '',
    'names, …',
    'Host names with a dot that clients use for the operations ports, such as `processor-1.example.com`. Requests with other names are refused.',
    hosts,
  ),
  METRICS_ADVERTISERS_MAX: whole(
    1_000,
    'advertisers',
    1,
    100_000,
    'Advertisers, and campaigns with a cap, that have metrics of their own: those with the highest spend. The others are summed by currency as `other`.',
  ),
  PUBLIC_URL: parsed(
    'http://localhost:8080',
    'URL',
    'Beginning of printed links. Unset, it follows `AD_SERVER_PORT`.',
    linkBase,
  ),
  DATA_DIR: parsed(
    '.tollway',
    'folder',
    'Folder of the spools, the embedded database and the link keys. It must be on a local disk.',
    (text) => text,
  ),
  DATABASE_URL: optional(
    'URL',
    'PostgreSQL database of the ledger. Unset, `npm start` runs an embedded PostgreSQL, and the other commands find it through `DATA_DIR`.',
    url(['postgres:', 'postgresql:']),
  ),
  DATABASE_SECRET: optional(
    'ARN',
    'For functions: the AWS Secrets Manager secret with user and password for `DATABASE_URL`, in the format of RDS: `{"username": …, "password": …}`.',
    (text) => text,
  ),
  BROKER: choice(
    'postgres',
    ['postgres', 'kafka', 'kinesis'],
    'Broker of the clicks. `postgres` uses the database of the ledger.',
  ),
  KAFKA_CLIENT: choice(
    'platformatic',
    ['kafkajs', 'platformatic'],
    'Client library with which ad servers publish to Kafka and processors fetch from it. `platformatic` takes a fraction of the CPU time and needs Node 22.22 or newer and Kafka 2.4 or newer. Functions use kafkajs.',
  ),
  KAFKA_BROKERS: parsed('localhost:9092', '`host:port`, …', 'Bootstrap servers of Kafka.', brokers),
  KAFKA_TOPIC: parsed('tollway-clicks', 'name', 'Topic of the clicks.', topicName),
  KAFKA_GROUP: parsed('tollway', 'name', 'Consumer group of the processors.', groupName),
  KAFKA_PARTITIONS: whole(
    8,
    'partitions',
    1,
    1_000,
    'Minimum partitions of the topic. `topics create` creates them, or adds those that are missing. At most this many processors share the work.',
  ),
  KAFKA_COMPRESSION: choice(
    'none',
    ['none', 'gzip', 'zstd'],
    'Compression of the clicks sent to Kafka and stored there. `zstd` needs a sixth of the space.',
  ),
  KAFKA_TLS: choice('off', ['off', 'on'], 'Whether connections to Kafka are encrypted.'),
  KAFKA_TLS_CA: optional(
    'file',
    'PEM file of the trusted certificate authorities. Unset, those of Node.',
    (text) => text,
  ),
  KAFKA_TLS_CERT: optional(
    'file',
    'PEM file of the client certificate, for brokers that require one.',
    (text) => text,
  ),
  KAFKA_TLS_KEY: optional('file', "PEM file of the client certificate's key.", (text) => text),
  KAFKA_SASL: choice('off', ['off', 'plain', 'scram-sha-256', 'scram-sha-512'], 'SASL mechanism for Kafka.'),
  KAFKA_USERNAME: optional('text', 'User name for SASL.', (text) => text),
  KAFKA_PASSWORD: optional('text', 'Password for SASL.', (text) => text),
  KINESIS_STREAM: parsed('tollway-clicks', 'name', 'Stream of the clicks.', topicName),
  KINESIS_ENDPOINT: optional(
    'URL',
    'Endpoint of Kinesis if it is not the one of AWS. Region and credentials come from the usual sources of the AWS SDK (`AWS_REGION`, …).',
    url(['http:', 'https:']),
  ),
  KINESIS_SHARDS: whole(
    4,
    'shards',
    1,
    10_000,
    'Minimum shards of the stream. `topics create` creates them, or adds those that are missing.',
  ),
  START_POSITION: parsed(
    'earliest',
    'earliest \\| latest \\| time',
    'Position in Kafka or Kinesis where the very first processor begins to read; a time such as `2026-01-31T12:00:00Z`. Ignored after the first start, and for partitions that are added later.',
    startPosition,
  ),
  LINK_KEYS: optional(
    '`id:state:secret`, …',
    'Keys of the links. The state is `signs` or `verifies`; the secret is base64url of at least 16 bytes. A stand-alone ad server requires it; `npm start` creates a key in `DATA_DIR`.',
    parseLinkKeys,
  ),
  LINK_LIFE_MAX_DAYS: whole(
    90,
    'days',
    1,
    400,
    'Maximum life of an impression link, from its creation. A link with a later expiry time is valid for this time only.',
  ),
  AD_SERVER_WORKERS: whole(
    1,
    'processes',
    1,
    64,
    'Ad server processes that share the public port, each with its own spool.',
  ),
  TRUSTED_PROXIES: parsed(
    '',
    'networks',
    'Proxies whose `X-Forwarded-For` is trusted, such as `10.0.0.0/8,::1`.',
    proxies,
  ),
  HTTP_FRONT: choice(
    'on',
    ['on', 'off'],
    'Whether plain requests for links are answered before they reach `node:http`, with less CPU time. The answers are the same.',
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
    'A click on the same link by the same visitor within this time is `invalid: double_click`. 0 turns it off. Each worker remembers its latest 50 000 first clicks at least: with more in this time, such as 833 a second for 60000, it can miss some.',
  ),
  AGENT_RULES_FILE: optional(
    'file',
    'Exceptions for user agents, one per line: `person TEXT` or `bot TEXT`. A user agent that contains TEXT (case-insensitive) gets this verdict. At most 1000 lines. Ad servers read the file again when it changes, functions when they start.',
    (text) => text,
  ),
  NO_USER_AGENT: choice(
    'person',
    ['person', 'bot'],
    'Verdict for a click without a user agent (missing, empty or `-`).',
  ),
  ERROR_PAGE_FILE: optional(
    'file',
    'HTML template of the error pages on the public port, UTF-8, at most 64 KiB. It must contain `{message}` and can contain `{title}` and `{status}`. Ad servers and functions read it once, at their start.',
    (text) => text,
  ),
  CATALOG_POLL_MS: whole(
    10_000,
    'ms',
    100,
    600_000,
    'Time between two complete reads of the ad catalog, in case a notification is lost.',
  ),
  CATALOG_AGE_WARN_MS: whole(
    60_000,
    'ms',
    1_000,
    86_400_000,
    'Age of the ad catalog at which the ad server logs a warning.',
  ),
  SPOOL_MAX_BYTES: whole(
    1_073_741_824,
    'bytes',
    65_536,
    1_099_511_627_776,
    "Maximum bytes on disk of all spools in `DATA_DIR`, without those that cannot be read. The workers measure each other's spools every second.",
  ),
  SPOOL_SEGMENT_BYTES: whole(
    8_388_608,
    'bytes',
    4_096,
    1_073_741_824,
    'Size at which a spool starts a new segment file.',
  ),
  SPOOL_SYNC: choice(
    'os',
    ['os', 'interval', 'each'],
    'When clicks are synced to disk: by the operating system, every `SPOOL_SYNC_INTERVAL_MS`, or before each redirect.',
  ),
  SPOOL_SYNC_INTERVAL_MS: whole(100, 'ms', 1, 60_000, 'Time between two syncs with `SPOOL_SYNC=interval`.'),
  SPOOL_FULL: choice(
    'redirect',
    ['redirect', 'refuse'],
    'When the spool is full or broken: redirect without recording the click (a metric counts it), or answer 503.',
  ),
  RELAY_BATCH_MAX: whole(1_000, 'clicks', 1, 10_000, 'Maximum clicks in one batch of the relay.'),
  RELAY_LINGER_MS: whole(
    20,
    'ms',
    0,
    10_000,
    'Time that the relay waits for more clicks before it publishes a batch.',
  ),
  WATERMARK_INTERVAL_MS: whole(2_000, 'ms', 100, 60_000, 'Time between two watermarks of a spool.'),
  BATCH_SIZE: whole(8_000, 'clicks', 1, 10_000, 'Maximum clicks in one batch of the handler.'),
  BATCH_WINDOW_MS: whole(100, 'ms', 1, 60_000, 'Maximum time that clicks wait for a batch to fill.'),
  PARALLELIZATION: whole(
    2,
    'lanes',
    1,
    32,
    'Batches that one processor charges at a time. Clicks are assigned to lanes by advertiser.',
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
    'Maximum age of a click at its charge. An older click is `rejected: too_old`.',
  ),
  BROKER_RETENTION_DAYS: whole(
    7,
    'days',
    1,
    365,
    'Time that the broker keeps settled records, which limits `rewind`. For Kafka and Kinesis, the retention that `topics create` sets.',
  ),
  LEDGER_RETENTION_DAYS: whole(
    400,
    'days',
    2,
    4_000,
    'Days that the ledger keeps the rows of a day before it replaces them with sums.',
  ),
  EVIDENCE_RETENTION_DAYS: whole(
    90,
    'days',
    0,
    4_000,
    "Days that the network, user agent, referrer host and sub-ids of a click are kept, at most `LEDGER_RETENTION_DAYS`. With 0, they are not stored in the ledger's database.",
  ),
  REDIRECT_WAIT_MS: whole(
    1_000,
    'ms',
    50,
    20_000,
    'Maximum time that the redirect function waits for the broker, or for an ad that is not cached. After that, `SPOOL_FULL` applies.',
  ),
  REQUEST_TIMEOUT_MS: whole(
    30_000,
    'ms',
    2_000,
    3_600_000,
    'Maximum time for one request to the CloudEvents function. After that, it answers 503.',
  ),
  LOG_LEVEL: choice(
    'info',
    ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
    'Lowest severity that is logged.',
  ),
  LOG_FORMAT: choice('json', ['json', 'pretty'], 'Format of the log: JSON lines, or text for a terminal.'),
} satisfies Record<string, Setting<unknown>>;

/** All settings by name, parsed and frozen. */
export type Config = Readonly<{ [K in keyof typeof settings]: ReturnType<(typeof settings)[K]['parse']> }>;

/**
 * Parses all settings from an environment. An empty variable counts as unset. Throws one `bad_settings` that lists all problems.
 */
export function parseConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const config: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [name, setting] of Object.entries(settings)) {
    try {
      config[name] = setting.parse(env[name] === '' ? undefined : env[name]);
    } catch (error) {
      problems.push(`${name}: ${errorMessage(error)}`);
    }
  }
  problems.push(...contradictions(config));
  if (!env.PUBLIC_URL) config.PUBLIC_URL = `http://localhost:${config.AD_SERVER_PORT}`;
  if (problems.length > 0) {
    throw new TollwayError(
      'bad_settings',
      `The environment has ${counted(problems.length, 'problem')}:\n  ${problems.join('\n  ')}`,
    );
  }
  // The loop above filled every name with the result of its own parser.
  return Object.freeze(config as Config);
}
