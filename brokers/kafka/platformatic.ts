import { isIP } from 'node:net';
import type { ConnectionOptions, ConnectionPool, SASLOptions } from '@platformatic/kafka';
import { TollwayError } from '../../common/errors.ts';
import { CONNECT_MS_MAX, type KafkaSettings, REQUEST_MS_MAX, tlsOf } from './connection-settings.ts';

/** The modules of @platformatic/kafka. */
export type Platformatic = typeof import('@platformatic/kafka');

/** The oldest Node that @platformatic/kafka supports: the field `engines` of its package.json. */
const NODE_MIN = [22, 22] as const;

/**
 * Loads @platformatic/kafka, which takes half a second of CPU time: it compiles the schemas of all its options. `node` is the version of Node.
 * Throws `bad_settings` if it is too old.
 */
export async function loadPlatformatic(node = process.versions.node): Promise<Platformatic> {
  const [major = 0, minor = 0] = node.split('.').map(Number);
  if (major < NODE_MIN[0] || (major === NODE_MIN[0] && minor < NODE_MIN[1])) {
    throw new TollwayError(
      'bad_settings',
      `KAFKA_CLIENT: expected Node ${NODE_MIN.join('.')} or newer for platformatic, got ${node}. ` +
        'Use the Node 24 that npm ci installs, or set KAFKA_CLIENT=kafkajs',
    );
  }
  return import('@platformatic/kafka');
}

/**
 * The options of connections to Kafka, for every client of @platformatic/kafka. Throws `bad_settings` for a certificate file that cannot be
 * read.
 */
export function connectionOptionsOf(config: KafkaSettings): ConnectionOptions {
  const tls = tlsOf(config);
  const named = config.KAFKA_BROKERS.some((broker) => isIP(broker.replace(/:\d+$/, '')) === 0);
  return {
    connectTimeout: CONNECT_MS_MAX,
    requestTimeout: REQUEST_MS_MAX,
    // A server name must not be an address; https://www.rfc-editor.org/rfc/rfc6066#section-3
    ...(tls && { tls, tlsServerName: named }),
    ...saslOf(config),
  };
}

function saslOf(config: KafkaSettings): { sasl?: SASLOptions } {
  const { KAFKA_SASL: mechanism, KAFKA_USERNAME: username = '', KAFKA_PASSWORD: password = '' } = config;
  if (mechanism === 'off') return {};
  const names = {
    plain: 'PLAIN',
    'scram-sha-256': 'SCRAM-SHA-256',
    'scram-sha-512': 'SCRAM-SHA-512',
  } as const;
  return { sasl: { mechanism: names[mechanism], username, password } };
}

/** A pool of connections named `tollway-<role>`, one for each broker, made at their first use. */
export function openPool(library: Platformatic, config: KafkaSettings, role: string): ConnectionPool {
  const pool = new library.ConnectionPool(`tollway-${role}`, connectionOptionsOf(config));
  // A connection reports its failure to its requests too. Without a listener, a second error event would end the process.
  pool.on('connecting', ({ connection }) => connection.on('error', () => {}));
  return pool;
}

/** Time for requests in flight when a pool is closed, in ms. */
const CLOSE_MS_MAX = 1_000;

/** Closes the connections of a pool, also those to a broker that does not answer. */
export async function closePool(pool: ConnectionPool): Promise<void> {
  const sockets = [...pool].map(([, { socket }]) => socket);
  const closed = pool.close().catch(() => {});
  const timer = setTimeout(() => {
    for (const socket of sockets) socket?.destroy();
  }, CLOSE_MS_MAX);
  await closed;
  clearTimeout(timer);
}
