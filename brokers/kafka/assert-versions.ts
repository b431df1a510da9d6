import type { Connection } from '@platformatic/kafka';
import { TollwayError } from '../../common/errors.ts';
import type { Platformatic } from './platformatic.ts';

/** The version of Kafka's APIs that the publisher speaks. Kafka 2.4 was the first to know it; https://kafka.apache.org/41/protocol.html#protocol_messages */
export const API_VERSION = 9;
/** The APIs with their numbers. */
const APIS = { Produce: 0, Metadata: 3 } as const;

/** Throws `kafka` if a broker does not know `API_VERSION`. It would close the connection without an answer. */
export async function assertVersions(
  library: Platformatic,
  connection: Connection,
  brokers: string,
): Promise<void> {
  const { apiKeys } = await library.apiVersionsV1.api.async(connection, 'tollway', '');
  for (const [name, number] of Object.entries(APIS)) {
    const { minVersion = 0, maxVersion = -1 } = apiKeys.find(({ apiKey }) => apiKey === number) ?? {};
    if (minVersion <= API_VERSION && API_VERSION <= maxVersion) continue;
    throw new TollwayError(
      'kafka',
      `KAFKA_CLIENT: expected a Kafka with version ${API_VERSION} of ${name} for platformatic (Kafka 2.4 or newer), ` +
        `got versions ${minVersion} to ${maxVersion} of ${brokers}. Set KAFKA_CLIENT=kafkajs`,
    );
  }
}
