import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { javaCommand, kafkaJars } from '../../emulators/kafka/jars.ts';
import { javaOptions } from '../../emulators/kafka/java-options.ts';
import { CLUSTER_ID, serverProperties } from '../../emulators/kafka/properties.ts';
import { untilKafkaAnswers } from '../../emulators/kafka/server.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { type Guard, openGuard, runToEnd } from '../../emulators/process/guarded-process.ts';

/** Two brokers of one cluster, ids 1 and 2; from the jars alone. */
export async function startKafkaCluster(): Promise<{ brokers: string; stop: () => Promise<void> }> {
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
    await startNode(guard, jars, 'one', one, {});
    await startNode(guard, jars, 'two', two, follower);
    return { brokers: `127.0.0.1:${clients1}`, stop: guard.end };
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
): Promise<void> {
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
  const server = await guard.run(javaCommand(), [...java, 'kafka.Kafka', file]);
  await untilKafkaAnswers(`127.0.0.1:${ports.clients}`, {}, async () =>
    server.hasEnded() ? server.logTail() : null,
  );
}
