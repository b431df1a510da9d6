import { freePorts } from '../process/free-ports.ts';
import { CLUSTER_ID, serverProperties } from './properties.ts';
import { KAFKA_VERSION, type KafkaOptions, type KafkaServer, untilKafkaAnswers } from './server.ts';

/** The Docker image. */
export const KAFKA_IMAGE = `apache/kafka:${KAFKA_VERSION}`;

/** Timeout of the start in ms, which includes pulling the image. */
const START_MS_MAX = 300_000;
const PROPERTIES = '/tmp/server.properties';
const DATA_DIR = '/tmp/tollway-data';

/** Whether a Docker daemon, or a compatible one, answers. */
export async function dockerAnswers(): Promise<boolean> {
  // Imported on demand, because loading it is slow.
  const { getContainerRuntimeClient } = await import('testcontainers');
  return getContainerRuntimeClient().then(
    () => true,
    () => false,
  );
}

/**
 * Starts Kafka in a container, which testcontainers' reaper removes when this process ends. The image's start script is not used, because it
 * takes properties from environment variables and TLS keys from files at fixed paths.
 */
export async function startKafkaContainer(
  { properties = {}, formatArguments = [], connection = {} }: KafkaOptions,
  image: string = KAFKA_IMAGE,
): Promise<KafkaServer> {
  const { GenericContainer, Wait, getContainerRuntimeClient } = await import('testcontainers');
  const runtime = await getContainerRuntimeClient();
  const { host } = runtime.info.containerRuntime;
  const [clients = 0, broker = 0, controller = 0] = await freePorts(3);
  const hosts = { bind: '0.0.0.0', advertised: host };
  const text = serverProperties({ clients, broker, controller }, hosts, DATA_DIR, properties);
  const format = ['-t', CLUSTER_ID, '-c', PROPERTIES, '--ignore-formatted', ...formatArguments].map(quoted);
  const script = [
    `/opt/kafka/bin/kafka-storage.sh format ${format.join(' ')}`,
    `exec /opt/kafka/bin/kafka-server-start.sh ${PROPERTIES}`,
  ].join(' && ');

  const starting = new GenericContainer(image)
    // The same port inside and outside, known before the start, because the broker advertises its address to clients.
    .withExposedPorts({ container: clients, host: clients })
    .withEnvironment({ KAFKA_HEAP_OPTS: '-Xms256m -Xmx512m' })
    .withCopyContentToContainer([{ content: text, target: PROPERTIES, mode: 0o644 }])
    .withEntrypoint(['/bin/bash', '-c', script])
    // Readiness of Kafka itself is checked below.
    .withWaitStrategy(Wait.forListeningPorts())
    .start();
  const container = await within(START_MS_MAX, starting);
  const handle = runtime.container.getById(container.getId());
  const brokers = `${host}:${clients}`;

  const earlyEnd = async () => {
    const { State } = await handle.inspect();
    if (State.Running) return null;
    return (await handle.logs({ stdout: true, stderr: true, tail: 20 })).toString();
  };
  const untilReady = () => untilKafkaAnswers(brokers, connection, earlyEnd);
  const resume = async () => {
    if ((await handle.inspect()).State.Paused) await handle.unpause();
  };
  const server: KafkaServer = {
    brokers,
    isControllable: true,
    kill: async () => {
      // Docker does not kill a paused container.
      await resume();
      await handle.kill();
      await handle.wait();
    },
    start: async () => {
      await handle.start();
      await untilReady();
    },
    suspend: async () => void (await handle.pause()),
    resume,
    stop: async () => void (await handle.remove({ force: true, v: true })),
  };
  try {
    await untilReady();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/** Quotes a word for a shell. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

async function within<T>(maxMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Kafka did not start within ${maxMs} ms`)), maxMs);
  });
  try {
    return await Promise.race([work, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}
