import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { openGuard, runToEnd } from './guarded-process.ts';
import { KAFKA_VERSION } from './kafka-server.ts';

const JAVA_AT_LEAST = 17;
const DEPENDENCY_PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1';

// Kafka's own pom names no logger to write with; this is the one for the slf4j it brings.
const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tollway</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>${KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.24.3</version>
    </dependency>
  </dependencies>
</project>
`;

/** The java to run: that of JAVA_HOME, or the one in the path. */
export function javaCommand(): string {
  const home = process.env.JAVA_HOME;
  return home ? join(home, 'bin', 'java') : 'java';
}

/** What lacks for Kafka from its jars, as in "Java 17 or newer"; null if nothing does. */
export async function jarsAreMissing(): Promise<string | null> {
  const missing: string[] = [];
  if ((await javaVersion()) < JAVA_AT_LEAST) missing.push(`Java ${JAVA_AT_LEAST} or newer`);
  if (!(await exists(await cachedFolder())) && !(await printed('mvn', '--version'))) missing.push('Maven');
  return missing.length === 0 ? null : missing.join(' and ');
}

/** The folder of Kafka's jars, fetched from Maven Central if it is not there yet. */
export async function kafkaJars(): Promise<string> {
  const folder = await cachedFolder();
  if (!(await exists(folder))) await fetchJars(folder);
  return folder;
}

/** Under a name that changes with the pom; complete whenever it exists. */
async function cachedFolder(): Promise<string> {
  const pomHash = createHash('sha256').update(POM).digest('hex').slice(0, 8);
  return join(await cacheFolder(), `kafka-${KAFKA_VERSION}-${pomHash}`);
}

async function cacheFolder(): Promise<string> {
  const { TOLLWAY_CACHE_DIR: ours, XDG_CACHE_HOME: xdg } = process.env;
  const wanted = ours || join(xdg || join(homedir(), '.cache'), 'tollway');
  try {
    await mkdir(wanted, { recursive: true });
    return wanted;
  } catch {
    // A home that cannot be written to, as in some containers.
    return join(tmpdir(), 'tollway-cache');
  }
}

async function fetchJars(folder: string): Promise<void> {
  process.stderr.write(`Fetching Apache Kafka ${KAFKA_VERSION} from Maven Central, once, into ${folder}\n`);
  await mkdir(join(folder, '..'), { recursive: true });
  // Next to its place, to be renamed in one step: a run that looks meanwhile sees nothing or everything.
  const guard = await openGuard(`${folder}.part-`);
  try {
    await writeFile(join(guard.folder, 'pom.xml'), POM);
    await runToEnd(guard, 'mvn', [
      '-q',
      '-B',
      `${DEPENDENCY_PLUGIN}:copy-dependencies`,
      '-DincludeScope=runtime',
      `-DoutputDirectory=${join(guard.folder, 'lib')}`,
    ]);
    await rename(join(guard.folder, 'lib'), folder).catch(async (error: unknown) => {
      // Another run was faster, with the same jars.
      if (!(await exists(folder))) throw error;
    });
  } finally {
    await guard.end();
  }
}

/** 0 without Java. */
async function javaVersion(): Promise<number> {
  const [, version] = /version "(\d+)/.exec(await printed(javaCommand(), '-version')) ?? [];
  return Number(version ?? 0);
}

/** What a command prints; nothing if there is no such command, or it fails. */
async function printed(command: string, ...args: string[]): Promise<string> {
  try {
    const { stdout, stderr } = await promisify(execFile)(command, args);
    return stdout + stderr;
  } catch {
    return '';
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
