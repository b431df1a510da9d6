import { freePorts } from '../process/free-ports.ts';
import { CLUSTER_ID, serverProperties } from './properties.ts';
import { KAFKA_VERSION, type KafkaOptions, type KafkaServer, untilKafkaAnswers } from './server.ts';

/** The image that is taken where Docker answers. */
export const KAFKA_IMAGE = `apache/kafka:${KAFKA_VERSION}`;

/** A pull over a slow line; beyond it, the jars are the better way. */
const START_MAX_MS = 300_000;
const PROPERTIES = '/tmp/server.properties';
const DATA_DIR = '/tmp/tollway-data';

/** Whether a Docker daemon (or what speaks like one) is there. */
export async function dockerAnswers(): Promise<boolean> {
  // It is slow to load, and only here of use.
  const { getContainerRuntimeClient } = await import('testcontainers');
  return getContainerRuntimeClient().then(
    () => true,
    () => false,
  );
}

/**
 * Kafka in a container, which testcontainers' reaper removes when this process is gone. The image's own start script is
 * left aside: it makes properties of environment variables, and wants TLS keys as files in places of its own.
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
    // The same port inside and outside, known before the start: the broker has to tell clients where it is.
    .withExposedPorts({ container: clients, host: clients })
    .withEnvironment({ KAFKA_HEAP_OPTS: '-Xms256m -Xmx512m' })
    .withCopyContentToContainer([{ content: text, target: PROPERTIES, mode: 0o644 }])
    .withEntrypoint(['/bin/bash', '-c', script])
    // Below, we ask Kafka itself.
    .withWaitStrategy(Wait.forListeningPorts())
    .start();
  const container = await within(START_MAX_MS, starting);
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
      // Docker refuses to kill what is paused.
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

/** One word of a shell. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

async function within<T>(maxMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not started within ${maxMs} ms`)), maxMs);
  });
  try {
    return await Promise.race([work, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}
