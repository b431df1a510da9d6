import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import type { Config } from '../../common/config/config.ts';
import { errorMessage, TollwayError } from '../../common/errors.ts';

// What the connections of both clients have in common.

/** Maximum wait for a connection, in ms. */
export const CONNECT_MS_MAX = 3_000;
/** Maximum wait for an answer of a broker, in ms. */
export const REQUEST_MS_MAX = 15_000;

/** The settings of the connection to Kafka. */
export type KafkaSettings = Pick<
  Config,
  | 'KAFKA_BROKERS'
  | 'KAFKA_TLS'
  | 'KAFKA_TLS_CA'
  | 'KAFKA_TLS_CERT'
  | 'KAFKA_TLS_KEY'
  | 'KAFKA_SASL'
  | 'KAFKA_USERNAME'
  | 'KAFKA_PASSWORD'
>;

/** The options of encrypted connections, or `undefined`. Throws `bad_settings` for a certificate file that cannot be read. */
export function tlsOf(config: KafkaSettings): ConnectionOptions | undefined {
  if (config.KAFKA_TLS === 'off') return undefined;
  const read = (name: 'KAFKA_TLS_CA' | 'KAFKA_TLS_CERT' | 'KAFKA_TLS_KEY') => {
    const path = config[name];
    if (path === undefined) return undefined;
    try {
      return readFileSync(path);
    } catch (error) {
      throw new TollwayError('bad_settings', `${name}: expected a PEM file, got: ${errorMessage(error)}`);
    }
  };
  const [ca, cert, key] = [read('KAFKA_TLS_CA'), read('KAFKA_TLS_CERT'), read('KAFKA_TLS_KEY')];
  return { ...(ca && { ca: [ca] }), ...(cert && { cert }), ...(key && { key }) };
}
