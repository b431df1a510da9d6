import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { startLambda } from '../../emulators/lambda/runtime.ts';
import type { BenchContext } from './bench.ts';
import { functionFolder, LAMBDAS, MEMORY_MEGABYTES } from './built-functions.ts';
import { type BenchResult, compareLimit, median } from './result.ts';

const ROUNDS_MIN = 25;
const START_MS_MAX = 100;
const TIMES_EMPTY_MAX = 1.5;
/** What a function cannot start without. Nothing listens there: none connects before its first event. */
const SETTINGS = {
  DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing',
  LINK_KEYS: `start-up:signs:${'0'.repeat(64)}`,
};

type Start = { readonly name: string; readonly folder: string };

/**
 * Time from the start of a function's process until it asks for its first event, under AWS's own runtime client, beside
 * that of a function that does nothing.
 */
export async function measureStarts(context: BenchContext): Promise<BenchResult[]> {
  const { progress } = context;
  const empty = emptyFunction(context);
  const ours: readonly Start[] = LAMBDAS.map((name) => ({ name, folder: functionFolder(name) }));
  const rounds = Math.max(context.rounds, ROUNDS_MIN);
  const startMs = new Map<Start, number[]>([empty, ...ours].map((start) => [start, []]));
  // The first round reads the files from the disk, which Lambda has done before it starts a process; it does not count.
  for (let round = 0; round <= rounds; round += 1) {
    progress.show(`start-up: round ${round} of ${rounds}`);
    for (const start of orderOf(round, [empty, ...ours])) {
      const ms = await startOnce(start, context);
      if (round > 0) startMs.get(start)?.push(ms);
    }
  }
  const emptyMs = startMs.get(empty) ?? [];
  const results = ours.flatMap((start) => resultsOf(start.name, startMs.get(start) ?? [], emptyMs));
  return results.map((result, index) =>
    index === 0 ? { ...result, notes: [...result.notes, ...busyMachineNotes()] } : result,
  );
}

/** Each begins by turns, and the order is turned round by turns: none always has the same one before it, or the same time. */
function orderOf<T>(round: number, all: readonly T[]): T[] {
  const first = round % all.length;
  const turned = [...all.slice(first), ...all.slice(0, first)];
  return round % 2 === 0 ? turned : turned.toReversed();
}

function emptyFunction({ resources }: BenchContext): Start {
  const folder = join(resources.folder(), 'empty');
  mkdirSync(folder);
  writeFileSync(join(folder, 'index.mjs'), 'export const handler = async () => 1;\n');
  return { name: 'an empty function', folder };
}

async function startOnce({ name, folder }: Start, { resources }: BenchContext): Promise<number> {
  const lambda = await startLambda({
    folder,
    functionName: name,
    memoryMegabytes: MEMORY_MEGABYTES,
    env: SETTINGS,
  });
  resources.add({ name, close: lambda.stop });
  const ms = lambda.firstNextMs();
  await lambda.stop();
  if (ms === null) throw new Error(`${name} does not start: ${lambda.logs()}`);
  return ms;
}

function resultsOf(name: string, ms: readonly number[], emptyMs: readonly number[]): BenchResult[] {
  const times = median(ms) / median(emptyMs);
  return [
    compareLimit(`start-up-${name}`, 'ms', 'most', median(ms), START_MS_MAX, [
      `median of ${ms.length} starts of a process until it asks for an event, ${formatRange(ms)}`,
    ]),
    compareLimit(`start-up-${name}-empty`, '× empty', 'most', times, TIMES_EMPTY_MAX, [
      `an empty function, in the same rounds: median ${median(emptyMs).toFixed(1)} ms, ${formatRange(emptyMs)}`,
    ]),
  ];
}

/** A start takes longer where others take the processor, and not every one as much longer. */
function busyMachineNotes(): string[] {
  const [load = 0] = loadavg();
  const cores = availableParallelism();
  return load > cores ? [`doubtful: the machine was busy, load ${load.toFixed(1)} on ${cores} cores`] : [];
}

/** The least and the most of some times, for a note. */
export function formatRange(ms: readonly number[]): string {
  return `${Math.min(...ms).toFixed(1)}–${Math.max(...ms).toFixed(1)} ms`;
}
