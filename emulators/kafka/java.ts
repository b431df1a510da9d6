import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../process/free-ports.ts';
import { type Guard, type GuardedProcess, openGuard, runToEnd } from '../process/guarded-process.ts';
import { javaCommand, kafkaJars } from './jars.ts';
import { CLUSTER_ID, serverProperties } from './properties.ts';
import { type KafkaOptions, type KafkaServer, untilKafkaAnswers } from './server.ts';

const LOGGING = `rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c{1})%n
`;
/** Kafka's default heap is 1 GB. The benchmarks need a quarter of it, and leave the rest to the page cache. */
const HEAP = ['-Xms256m', '-Xmx512m'];

/** Starts Kafka as a Java process in a temporary folder. Throws an error with the end of its log if it does not start. */
export async function startKafkaFromJars(options: KafkaOptions): Promise<KafkaServer> {
  const jars = await kafkaJars();
  const guard = await openGuard(join(tmpdir(), 'tollway-kafka-'));
  try {
    return await startIn(guard, jars, options);
  } catch (error) {
    await guard.end();
    throw error;
  }
}

async function startIn(
  guard: Guard,
  jars: string,
  { properties = {}, formatArguments = [], connection = {} }: KafkaOptions,
): Promise<KafkaServer> {
  const [clients = 0, broker = 0, controller = 0] = await freePorts(3);
  const path = (name: string) => join(guard.folder, name);
  const hosts = { bind: '127.0.0.1', advertised: '127.0.0.1' };
  const text = serverProperties({ clients, broker, controller }, hosts, path('data'), properties);
  await writeFile(path('server.properties'), text);
  await writeFile(path('log4j2.properties'), LOGGING);
  const java = ['-cp', join(jars, '*'), `-Dlog4j2.configurationFile=${path('log4j2.properties')}`];

  const format = ['format', '-t', CLUSTER_ID, '-c', path('server.properties'), ...formatArguments];
  // The tool runs for half a second, so the optimizing compiler is disabled.
  const fastStart = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'];
  await runToEnd(guard, javaCommand(), [...java, ...fastStart, 'kafka.tools.StorageTool', ...format]);

  const brokers = `127.0.0.1:${clients}`;
  let server: GuardedProcess;
  const start = async () => {
    server = await guard.run(javaCommand(), [...java, ...HEAP, 'kafka.Kafka', path('server.properties')]);
    await untilKafkaAnswers(brokers, connection, async () => (server.hasEnded() ? server.logTail() : null));
  };
  const kill = async () => {
    server.signal('SIGKILL');
    await server.ended;
  };
  await start();
  return {
    brokers,
    isControllable: true,
    kill,
    start,
    suspend: async () => server.signal('SIGSTOP'),
    resume: async () => server.signal('SIGCONT'),
    stop: guard.end,
  };
}
