import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { openGuard } from '../process/guarded-process.ts';
import { type Certificates, makeCertificates } from './certificates.ts';
import { type KafkaServer, kafkaIsMissing, startKafka } from './start.ts';

const USERNAME = 'tollway';
const PASSWORD = 'secret';

/**
 * A Kafka with TLS and SASL (PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512). It requests a client certificate but does not require one. `stop` removes
 * the certificate files.
 */
export type SecureKafkaServer = KafkaServer & {
  readonly username: string;
  readonly password: string;
  /** The certificate of the authority that signed the server's, PEM. */
  readonly caPath: string;
  readonly clientCertPath: string;
  readonly clientKeyPath: string;
};

/** Starts a new server, even if KAFKA_BROKERS is set. Throws a one-line error that says what to install. */
export async function startSecureKafka(): Promise<SecureKafkaServer> {
  const missing = await secureKafkaIsMissing();
  if (missing !== null) throw new Error(missing);
  const guard = await openGuard(join(tmpdir(), 'tollway-certificates-'));
  try {
    const certificates = await makeCertificates(guard);
    const server = await startKafka({
      properties: secureProperties(certificates),
      formatArguments: ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
        '--add-scram',
        `${mechanism}=[name=${USERNAME},password=${PASSWORD}]`,
      ]),
      connection: {
        ssl: { ca: [certificates.authority.cert] },
        sasl: { mechanism: 'plain', username: USERNAME, password: PASSWORD },
      },
    });
    return {
      ...server,
      username: USERNAME,
      password: PASSWORD,
      caPath: certificates.authority.certPath,
      clientCertPath: certificates.client.certPath,
      clientKeyPath: certificates.client.keyPath,
      stop: async () => {
        await server.stop();
        await guard.end();
      },
    };
  } catch (error) {
    await guard.end();
    throw error;
  }
}

/** One line that says what to install, or `null` if `startSecureKafka` can run. */
export async function secureKafkaIsMissing(): Promise<string | null> {
  const missing = await kafkaIsMissing('controllable');
  if (missing !== null) return missing;
  return promisify(execFile)('openssl', ['version']).then(
    () => null,
    () => 'openssl is missing: install it to create certificates for a Kafka with TLS',
  );
}

/** The properties for TLS and SASL, with keys as PEM text instead of keystore files. https://kafka.apache.org/41/documentation.html#security */
function secureProperties({ authority, server }: Certificates): Record<string, string> {
  const jaas = (module: string, ...options: string[]) =>
    `org.apache.kafka.common.security.${[`${module} required`, ...options].join(' ')};`;
  const scram = jaas('scram.ScramLoginModule');
  return {
    'listener.security.protocol.map': 'CLIENTS:SASL_SSL,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'listener.name.clients.sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    'listener.name.clients.plain.sasl.jaas.config': jaas(
      'plain.PlainLoginModule',
      `user_${USERNAME}="${PASSWORD}"`,
    ),
    'listener.name.clients.scram-sha-256.sasl.jaas.config': scram,
    'listener.name.clients.scram-sha-512.sasl.jaas.config': scram,
    'listener.name.clients.ssl.client.auth': 'requested',
    'listener.name.clients.ssl.keystore.type': 'PEM',
    'listener.name.clients.ssl.keystore.certificate.chain': server.cert,
    'listener.name.clients.ssl.keystore.key': server.key,
    'listener.name.clients.ssl.truststore.type': 'PEM',
    'listener.name.clients.ssl.truststore.certificates': authority.cert,
  };
}
