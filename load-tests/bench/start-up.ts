import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { lambdaRic } from '../servers/lambda-ric.ts';
import { startLambda } from '../servers/lambda-runtime.ts';
import type { Bench, BenchSurroundings } from './bench.ts';
import { type BenchResult, compareLimit, median } from './result.ts';

const ROOT = join(import.meta.dirname, '../..');
const FUNCTIONS = [
  'lambda-kinesis',
  'lambda-kafka',
  'lambda-file',
  'lambda-reconcile',
  'lambda-maintenance',
  'lambda-redirect',
] as const;
const ROUNDS_MIN = 9;
const START_MS_MAX = 100;
const TIMES_EMPTY_MAX = 1.5;
/** The memory that Lambda gives a function unless it is told otherwise. */
const MEMORY_MEGABYTES = 128;
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
export const benchStartUp: Bench = async (around) => {
  const { progress } = around;
  await buildFunctions(around);
  await lambdaRic();
  const empty = emptyFunction(around);
  const ours: readonly Start[] = FUNCTIONS.map((name) => ({ name, folder: functionFolder(name) }));
  const rounds = Math.max(around.rounds, ROUNDS_MIN);
  const startMs = new Map<Start, number[]>([empty, ...ours].map((start) => [start, []]));
  // The first round reads the files from the disk, which Lambda has done before it starts a process; it does not count.
  for (let round = 0; round <= rounds; round += 1) {
    progress.say(`start-up: round ${round} of ${rounds}`);
    const order = [empty, ...ours];
    // Forwards and backwards by turns, so that none always has the same one before it.
    if (round % 2 === 1) order.reverse();
    for (const start of order) {
      const ms = await startOnce(start, around);
      if (round > 0) startMs.get(start)?.push(ms);
    }
  }
  const emptyMs = startMs.get(empty) ?? [];
  return ours.flatMap((start) => resultsOf(start.name, startMs.get(start) ?? [], emptyMs));
};

/** Makes `dist/functions` anew, of the sources as they are. */
export async function buildFunctions({ belongings, progress }: BenchSurroundings): Promise<void> {
  progress.say('Building the functions');
  const build = belongings.child(['npm', 'run', '--silent', 'build:functions'], {
    cwd: ROOT,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [code] = await once(build, 'exit');
  if (code !== 0) throw new Error(`npm run build:functions ended with ${code}`);
}

/** Where the build has put a function, as in its zip. */
export function functionFolder(name: string): string {
  return join(ROOT, 'dist', 'functions', name);
}

function emptyFunction({ belongings }: BenchSurroundings): Start {
  const folder = join(belongings.folder(), 'empty');
  mkdirSync(folder);
  writeFileSync(join(folder, 'index.mjs'), 'export const handler = async () => 1;\n');
  return { name: 'an empty function', folder };
}

async function startOnce({ name, folder }: Start, { belongings }: BenchSurroundings): Promise<number> {
  const lambda = await startLambda({
    folder,
    functionName: name,
    memoryMegabytes: MEMORY_MEGABYTES,
    env: SETTINGS,
  });
  belongings.add({ name, close: lambda.stop });
  const ms = lambda.firstNextMs();
  await lambda.stop();
  if (ms === null) throw new Error(`${name} does not start: ${lambda.logs()}`);
  return ms;
}

function resultsOf(name: string, ms: readonly number[], emptyMs: readonly number[]): BenchResult[] {
  const times = median(ms) / median(emptyMs);
  return [
    compareLimit(`start-up-${name}`, 'ms', 'most', median(ms), START_MS_MAX, [
      `median of ${ms.length} starts of a process until it asks for an event, ${rangeOf(ms)}`,
    ]),
    compareLimit(`start-up-${name}-empty`, '× empty', 'most', times, TIMES_EMPTY_MAX, [
      `an empty function, in the same rounds: median ${median(emptyMs).toFixed(1)} ms, ${rangeOf(emptyMs)}`,
    ]),
  ];
}

function rangeOf(ms: readonly number[]): string {
  return `${Math.min(...ms).toFixed(1)}–${Math.max(...ms).toFixed(1)} ms`;
}
