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
/** The required settings. The functions do not connect to this database, because they connect at their first event. */
const SETTINGS = {
  DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing',
  LINK_KEYS: `start-up:signs:${'0'.repeat(64)}`,
};

type Start = { readonly name: string; readonly folder: string };

/**
 * Measures the time from the start of a function's process until it requests its first event, under AWS's runtime client, compared with an
 * empty function.
 */
export async function measureStarts(context: BenchContext): Promise<BenchResult[]> {
  const { progress } = context;
  const empty = emptyFunction(context);
  const ours: readonly Start[] = LAMBDAS.map((name) => ({ name, folder: functionFolder(name) }));
  const rounds = Math.max(context.rounds, ROUNDS_MIN);
  const startMs = new Map<Start, number[]>([empty, ...ours].map((start) => [start, []]));
  // Round 0 is not counted: it reads the files from disk, which Lambda does before it starts the process.
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

/** Rotates the order by round and reverses it in odd rounds, so that no function always has the same predecessor or position. */
function orderOf<T>(round: number, all: readonly T[]): T[] {
  const first = round % all.length;
  const rotated = [...all.slice(first), ...all.slice(0, first)];
  return round % 2 === 0 ? rotated : rotated.toReversed();
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
  if (ms === null) throw new Error(`${name} did not start: ${lambda.logs()}`);
  return ms;
}

function resultsOf(name: string, ms: readonly number[], emptyMs: readonly number[]): BenchResult[] {
  const times = median(ms) / median(emptyMs);
  return [
    compareLimit(`start-up-${name}`, 'ms', 'max', median(ms), START_MS_MAX, [
      `median of ${ms.length} starts, from the start of the process to its first request for an event, ${formatRange(ms)}`,
    ]),
    compareLimit(`start-up-${name}-empty`, '× empty', 'max', times, TIMES_EMPTY_MAX, [
      `an empty function, in the same rounds: median ${median(emptyMs).toFixed(1)} ms, ${formatRange(emptyMs)}`,
    ]),
  ];
}

/** A warning if other processes used the CPU, which slows starts by different amounts. */
function busyMachineNotes(): string[] {
  const [load = 0] = loadavg();
  const cores = availableParallelism();
  return load > cores
    ? [
        `WARNING: the machine was busy (load ${load.toFixed(1)} on ${cores} cores), so the times are not reliable`,
      ]
    : [];
}

/** The range of times, for a note. */
export function formatRange(ms: readonly number[]): string {
  return `${Math.min(...ms).toFixed(1)}–${Math.max(...ms).toFixed(1)} ms`;
}
