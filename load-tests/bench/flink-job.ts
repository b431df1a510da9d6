import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { jarsAreMissing, javaCommand } from '../../emulators/kafka/jars.ts';
import { cached, isCached, outputOf } from '../../emulators/process/cache-folder.ts';
import { runToEnd } from '../../emulators/process/guarded-process.ts';
import type { BenchContext } from './bench.ts';
import { watchMemory } from './resident-memory.ts';

const PROJECT = join(import.meta.dirname, 'flink');
const HEAP = ['-Xms2g', '-Xmx2g', '-XX:+UseParallelGC'];
/** Flink's serializers read fields of the JDK. */
const OPENS = ['java.base/java.util=ALL-UNNAMED', 'java.base/java.lang=ALL-UNNAMED'];
const MAIN = 'tollway.bench.DrainClicks';
const RUN_MS_MAX = 600_000;

/** `stock`: keyed state and two JdbcSinks. `keyed`: one transaction a batch behind keyBy(advertiser). */
export type FlinkVariant = 'stock' | 'keyed';

/** From the first click that was read to the last row and budget. */
export type FlinkRun = {
  readonly seconds: number;
  /** CPU time of the JVM. */
  readonly cpuSeconds: number;
  readonly megabytes: number;
};

/** Builds the job with Maven, once for each version of its files, and resolves to its folder. Throws an error that says what is missing. */
export async function buildFlinkJob(): Promise<string> {
  const name = `flink-${hashOf(PROJECT)}`;
  const missing = await flinkIsMissing(name);
  if (missing !== null) throw new Error(`The Flink job needs ${missing}`);
  return cached(name, 'Building the Flink job, with jars of Maven Central', async (guard) => {
    const folder = join(guard.folder, 'project');
    cpSync(PROJECT, folder, { recursive: true });
    await runToEnd(guard, 'mvn', ['-q', '-B', '-f', join(folder, 'pom.xml'), 'package']);
    return join(folder, 'target');
  });
}

/** What is missing to run the job, such as "Java 17 or newer and Maven"; `null` if nothing is missing. Kafka needs the same Java. */
async function flinkIsMissing(name: string): Promise<string | null> {
  const missing = await jarsAreMissing();
  if (missing !== null) return missing;
  return (await isCached(name)) || (await outputOf('mvn', '--version')) ? null : 'Maven';
}

function hashOf(folder: string): string {
  const hash = createHash('sha256');
  for (const path of globSync('**/*.*', { cwd: folder }).sort())
    hash.update(readFileSync(join(folder, path)));
  return hash.digest('hex').slice(0, 8);
}

/** Runs the job on a topic until it has charged all its clicks. The tables `flink_ledger` and `flink_advertiser` must exist. */
export async function runFlinkJob(
  job: string,
  variant: FlinkVariant,
  input: {
    readonly databaseUrl: string;
    readonly brokers: string;
    readonly topic: string;
    readonly clicks: number;
  },
  { resources, env }: BenchContext,
): Promise<FlinkRun> {
  const memory = watchMemory(process.pid, [MAIN]);
  resources.add({ name: 'memory watch', close: () => void memory.stop() });
  const classes = `${join(job, 'classes')}:${join(job, 'lib/*')}`;
  const options = [...HEAP, ...OPENS.flatMap((open) => ['--add-opens', open]), '-cp', classes];
  const { databaseUrl, brokers, topic, clicks } = input;
  const args = [variant, jdbcUrl(databaseUrl), brokers, topic, String(clicks), resources.folder()];
  const child = resources.child([javaCommand(), ...options, MAIN, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), RUN_MS_MAX);
  let output = '';
  child.stdout?.on('data', (bytes) => {
    output += bytes;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  clearTimeout(timer);
  const megabytes = (memory.stop().get(MAIN) ?? Number.NaN) / 1e6;
  if (code !== 0) throw new Error(`Expected the Flink job to charge ${clicks} clicks, got exit code ${code}`);
  return { ...(JSON.parse(output) as { seconds: number; cpuSeconds: number }), megabytes };
}

/** The URL of the driver of PostgreSQL for Java, which sends rows of a batch in one statement only if it is told so. */
function jdbcUrl(databaseUrl: string): string {
  const { host, pathname, username, password } = new URL(databaseUrl);
  const parameters = new URLSearchParams({ user: username, password, reWriteBatchedInserts: 'true' });
  return `jdbc:postgresql://${host}${pathname}?${parameters}`;
}
