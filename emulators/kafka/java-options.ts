import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, findCached } from '../process/cache-folder.ts';
import { describeJava, JARS_NAME } from './jars.ts';
import type { KafkaLife } from './server.ts';

/** Kafka's default heap is 1 GB. The benchmarks need a quarter of it, and leave the rest to the page cache. */
const HEAP = ['-Xms256m', '-Xmx512m'];
// A test ends before code of the optimizing compiler runs often enough to save what the compilation takes.
const SHORT_LIFE = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'];
const ARCHIVE = 'classes.jsa';

/**
 * Options of Java for Kafka. One with a short life starts with an archive of loaded classes, if `makeClassArchive` has made it: the start then
 * takes 2 s of CPU time instead of 5.5 s. Java does without an archive that does not fit.
 */
export async function javaOptions(life: KafkaLife): Promise<string[]> {
  if (life === 'long') return HEAP;
  const archive = await findCached(await archiveName());
  return [...HEAP, ...SHORT_LIFE, ...(archive ? [`-XX:SharedArchiveFile=${join(archive, ARCHIVE)}`] : [])];
}

/** Makes the archive in the cache. `run` runs Kafka with these options until it answers, and ends it with SIGTERM. */
export async function makeClassArchive(run: (options: string[]) => Promise<void>): Promise<void> {
  await cached(await archiveName(), 'Storing the loaded classes of Kafka', async (guard) => {
    const folder = join(guard.folder, 'archive');
    await mkdir(folder);
    await run([...HEAP, ...SHORT_LIFE, `-XX:ArchiveClassesAtExit=${join(folder, ARCHIVE)}`]);
    return folder;
  });
}

let name: Promise<string> | undefined;

/** The archive fits one version of Java and one folder of jars. */
function archiveName(): Promise<string> {
  name ??= describeJava().then((java) => {
    const version = createHash('sha256').update(java).digest('hex').slice(0, 8);
    return `${JARS_NAME}-classes-${version}`;
  });
  return name;
}
