import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, canInstall, isCached, outputOf } from '../process/cache-folder.ts';
import { runToEnd } from '../process/guarded-process.ts';
import { KAFKA_VERSION } from './server.ts';

const JAVA_AT_LEAST = 17;
const DEPENDENCY_PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1';

// Kafka's pom has no logging backend for its version of slf4j, so this pom adds one.
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

/** Name of the folder in the cache. It contains a hash of the pom, so that a changed pom gets a new folder. */
export const JARS_NAME = `kafka-${KAFKA_VERSION}-${createHash('sha256').update(POM).digest('hex').slice(0, 8)}`;

/** The java command: from JAVA_HOME, or else from PATH. */
export function javaCommand(): string {
  const runtime = process.env.JAVA_HOME;
  return runtime ? join(runtime, 'bin', 'java') : 'java';
}

/** What is missing to run Kafka from its jars, such as "Java 17 or newer"; `null` if nothing is missing. */
export async function jarsAreMissing(): Promise<string | null> {
  const missing: string[] = [];
  if ((await javaVersion()) < JAVA_AT_LEAST) missing.push(`Java ${JAVA_AT_LEAST} or newer`);
  if (!(await isCached(JARS_NAME))) {
    if (!(await outputOf('mvn', '--version'))) missing.push('Maven');
    if (!canInstall()) missing.push('its jars (npm run test:tools)');
  }
  return missing.length === 0 ? null : missing.join(' and ');
}

/** The folder of Kafka's jars. Fetches them from Maven Central if they are not in the cache. */
export async function kafkaJars(): Promise<string> {
  return cached(JARS_NAME, `Fetching Apache Kafka ${KAFKA_VERSION} from Maven Central`, async (guard) => {
    const jars = join(guard.folder, 'lib');
    await writeFile(join(guard.folder, 'pom.xml'), POM);
    await runToEnd(guard, 'mvn', [
      '-q',
      '-B',
      `${DEPENDENCY_PLUGIN}:copy-dependencies`,
      '-DincludeScope=runtime',
      `-DoutputDirectory=${jars}`,
    ]);
    return jars;
  });
}

/** What Java prints about its version; empty without Java. */
export function describeJava(): Promise<string> {
  return outputOf(javaCommand(), '-version');
}

/** The major version of Java; 0 without Java. */
async function javaVersion(): Promise<number> {
  const [, version] = /version "(\d+)/.exec(await describeJava()) ?? [];
  return Number(version ?? 0);
}
