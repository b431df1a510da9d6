import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../process/free-ports.ts';
import { type Guard, type GuardedProcess, openGuard, runToEnd } from '../process/guarded-process.ts';
import { javaCommand, kafkaJars } from './jars.ts';
import { javaOptions, makeClassArchive } from './java-options.ts';
import { CLUSTER_ID, serverProperties } from './properties.ts';
import { type KafkaOptions, type KafkaServer, untilKafkaAnswers } from './server.ts';

const LOGGING = `rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c{1})%n
`;

/** Starts Kafka as a Java process in a temporary folder. Throws an error with the end of its log if it does not start. */
export async function startKafkaFromJars(options: KafkaOptions): Promise<KafkaServer> {
  const jars = await kafkaJars();
  const guard = await openGuard(join(tmpdir(), 'tollway-kafka-'));
  try {
    return await startIn(guard, jars, options, await javaOptions(options.life ?? 'short'));
  } catch (error) {
    await guard.end();
    throw error;
  }
}

/** Stores the classes that Kafka loads, so that tests start it faster. Does nothing if they are stored. */
export async function archiveKafkaClasses(): Promise<void> {
  const jars = await kafkaJars();
  await makeClassArchive(async (java) => {
    const guard = await openGuard(join(tmpdir(), 'tollway-kafka-'));
    try {
      await startIn(guard, jars, {}, java).then(({ end }) => end());
    } finally {
      await guard.end();
    }
  });
}

async function startIn(
  guard: Guard,
  jars: string,
  { properties = {}, formatArguments = [], connection = {} }: KafkaOptions,
  options: readonly string[],
): Promise<KafkaServer & { end: () => Promise<void> }> {
  const [clients = 0, broker = 0, controller = 0] = await freePorts(3);
  const path = (name: string) => join(guard.folder, name);
  const hosts = { bind: '127.0.0.1', advertised: '127.0.0.1' };
  const text = serverProperties({ clients, broker, controller }, hosts, path('data'), properties);
  await writeFile(path('server.properties'), text);
  await writeFile(path('log4j2.properties'), LOGGING);
  const classes = ['-cp', join(jars, '*'), `-Dlog4j2.configurationFile=${path('log4j2.properties')}`];
  const format = ['format', '-t', CLUSTER_ID, '-c', path('server.properties'), ...formatArguments];
  const tool = [...classes, ...(await javaOptions('short')), 'kafka.tools.StorageTool', ...format];
  await runToEnd(guard, javaCommand(), tool);

  const brokers = `127.0.0.1:${clients}`;
  let server: GuardedProcess;
  const start = async () => {
    const kafka = [...classes, ...options, 'kafka.Kafka', path('server.properties')];
    server = await guard.run(javaCommand(), kafka);
    await untilKafkaAnswers(brokers, connection, async () => (server.hasEnded() ? server.logTail() : null));
  };
  const kill = async () => {
    server.signal('SIGKILL');
    await server.ended;
  };
  await start();
  return {
    end: async () => {
      server.signal('SIGTERM');
      await server.ended;
    },
    brokers,
    isControllable: true,
    kill,
    start,
    suspend: () => server.suspend(),
    resume: async () => server.signal('SIGCONT'),
    stop: guard.end,
  };
}
