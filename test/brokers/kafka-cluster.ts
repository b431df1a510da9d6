import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { javaCommand, kafkaJars } from '../../emulators/kafka/jars.ts';
import { javaOptions } from '../../emulators/kafka/java-options.ts';
import { CLUSTER_ID, serverProperties } from '../../emulators/kafka/properties.ts';
import { untilKafkaAnswers } from '../../emulators/kafka/server.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import {
  type Guard,
  type GuardedProcess,
  openGuard,
  runToEnd,
} from '../../emulators/process/guarded-process.ts';

/** A broker of a cluster. */
export type ClusterNode = {
  /** Kills it as `kill -9` does, and waits until it has ended. */
  readonly kill: () => Promise<void>;
  /** Starts it again with its data, and waits until it answers. */
  readonly start: () => Promise<void>;
  readonly suspend: () => Promise<void>;
  readonly resume: () => void;
};

export type KafkaCluster = {
  /** The address of broker 1. */
  readonly brokers: string;
  /** Broker 1, which is also the controller of the cluster, and broker 2. */
  readonly nodes: readonly [ClusterNode, ClusterNode];
  readonly stop: () => Promise<void>;
};

/** Two brokers of one cluster, ids 1 and 2; from the jars alone. */
export async function startKafkaCluster(): Promise<KafkaCluster> {
  const jars = await kafkaJars();
  const guard = await openGuard(join(tmpdir(), 'tollway-kafka-cluster-'));
  try {
    const [controller = 0, ...ports] = await freePorts(5);
    const [clients1 = 0, broker1 = 0, clients2 = 0, broker2 = 0] = ports;
    const one = { clients: clients1, broker: broker1, controller };
    const two = { clients: clients2, broker: broker2, controller };
    const follower = {
      'node.id': '2',
      'process.roles': 'broker',
      listeners: `CLIENTS://127.0.0.1:${clients2},BROKER://127.0.0.1:${broker2}`,
    };
    const first = await startNode(guard, jars, 'one', one, {});
    const second = await startNode(guard, jars, 'two', two, follower);
    return { brokers: `127.0.0.1:${clients1}`, nodes: [first, second], stop: guard.end };
  } catch (error) {
    await guard.end();
    throw error;
  }
}

async function startNode(
  guard: Guard,
  jars: string,
  name: string,
  ports: { clients: number; broker: number; controller: number },
  more: Record<string, string>,
): Promise<ClusterNode> {
  const hosts = { bind: '127.0.0.1', advertised: '127.0.0.1' };
  const file = join(guard.folder, `${name}.properties`);
  await writeFile(file, serverProperties(ports, hosts, join(guard.folder, name), more));
  const java = ['-cp', join(jars, '*'), ...(await javaOptions('short'))];
  await runToEnd(guard, javaCommand(), [
    ...java,
    'kafka.tools.StorageTool',
    'format',
    '-t',
    CLUSTER_ID,
    '-c',
    file,
  ]);
  let server: GuardedProcess;
  const start = async () => {
    server = await guard.run(javaCommand(), [...java, 'kafka.Kafka', file]);
    await untilKafkaAnswers(`127.0.0.1:${ports.clients}`, {}, async () =>
      server.hasEnded() ? server.logTail() : null,
    );
  };
  await start();
  return {
    kill: async () => {
      server.signal('SIGKILL');
      await server.ended;
    },
    start,
    suspend: () => server.suspend(),
    resume: () => server.signal('SIGCONT'),
  };
}
