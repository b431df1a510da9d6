import { dockerAnswers, KAFKA_IMAGE, startKafkaContainer } from './container.ts';
import { jarsAreMissing } from './jars.ts';
import { startKafkaFromJars } from './java.ts';
import { type KafkaOptions, type KafkaServer, untilKafkaAnswers } from './server.ts';

export type { KafkaConnection, KafkaOptions, KafkaServer } from './server.ts';

/** Whether Docker failed to start Kafka. This process then no longer tries it. */
let dockerFailed = false;

/**
 * Provides a real Kafka: that of KAFKA_BROKERS, otherwise one in Docker, otherwise one from the jars of Maven Central, which needs Java and Maven.
 * Throws a one-line error that says what to install if none of these works.
 */
export async function startKafka(options: KafkaOptions = {}): Promise<KafkaServer> {
  const brokers = process.env.KAFKA_BROKERS;
  if (brokers && options.properties === undefined) return findKafka(brokers, options);
  const missing = await kafkaIsMissing('controllable');
  if (missing !== null) throw new Error(missing);
  return (await tryDocker(options)) ?? startKafkaFromJars(options);
}

/**
 * One line that says what to install, or `null` if `startKafka` can run. `controllable` means a server that can be killed or has properties, so
 * that KAFKA_BROKERS does not suffice. Checks only for installed programs and starts no server.
 */
export async function kafkaIsMissing(which: 'any' | 'controllable' = 'any'): Promise<string | null> {
  if (which === 'any' && process.env.KAFKA_BROKERS) return null;
  const missing = await jarsAreMissing();
  if (missing === null || (await dockerAnswers())) return null;
  const instead = which === 'any' ? 'start Docker, or set KAFKA_BROKERS' : 'start Docker';
  return `Kafka is missing: install ${missing}, or ${instead}`;
}

async function tryDocker(options: KafkaOptions): Promise<KafkaServer | null> {
  if (dockerFailed || !(await dockerAnswers())) return null;
  try {
    return await startKafkaContainer(options);
  } catch (error) {
    dockerFailed = true;
    const [reason] = String(error instanceof Error ? error.message : error).split('\n');
    process.stderr.write(`Docker cannot start ${KAFKA_IMAGE}, starting Kafka from its jars: ${reason}\n`);
    const missing = await jarsAreMissing();
    if (missing !== null) throw new Error(`Kafka is missing: install ${missing}`, { cause: error });
    return null;
  }
}

async function findKafka(brokers: string, { connection = {} }: KafkaOptions): Promise<KafkaServer> {
  const [first = brokers] = brokers.split(',');
  await untilKafkaAnswers(first, connection, async () => null);
  const refuse = async () => {
    throw new Error(`Expected a Kafka that was started here, got that of KAFKA_BROKERS (${brokers})`);
  };
  return {
    brokers,
    isControllable: false,
    kill: refuse,
    start: refuse,
    suspend: refuse,
    resume: refuse,
    stop: async () => undefined,
  };
}
