import { errorMessage } from '../../common/errors.ts';
import { isDatabaseUnavailable } from '../../common/postgres/postgres.ts';
import { startKafka } from '../../emulators/kafka/start.ts';
import type { LoadReport } from '../report/report.ts';
import type { Bench, BenchContext } from './bench.ts';
import { ROOT } from './checkout.ts';
import { type ClickStack, MachineTooSlow, type Path, startClickStack, startLoad } from './click-stack.ts';
import { type CpuMicros, cpuBetween, sampleCpu } from './cpu-samples.ts';
import { measureInterleaved } from './interleaved-rounds.ts';
import { findDescendant, type ProcessTable, readProcesses, treeMicros } from './process-cpu.ts';
import {
  type BenchResult,
  compareLimit,
  comparePairs,
  formatMicros,
  median,
  medianMicros,
  round,
} from './result.ts';

/** CPU time of a click that the stack may take, in µs. */
const MICROS_MAX = 28;
const TIMES = { rampSeconds: 2, holdSeconds: 11 };
/**
 * Time at the constant rate before and after the measurement, in ms: everything that waits has then the size of that rate, and the last sample is
 * taken before the generator ends.
 */
const SETTLE_MS = 1_000;
const ATTEMPTS_MAX = 10;
const KAFKA_PROCESS = 'kafka.Kafka';

/** CPU time per recorded click in µs, by process. `counted` is the stack; `beside` also ran, and belongs to the measurement or is shared. */
type Measured = {
  readonly counted: CpuMicros;
  readonly beside: CpuMicros;
  readonly perSecond: number;
};

/**
 * The CPU time of a click on Kafka, from HTTP to the ledger, at a constant rate that saturates nothing. With `against`, the stack of another
 * commit runs beside and is measured in turn, with its own load generator.
 */
export const benchCpuPerClick: Bench = async (context) => {
  const { against, progress, rounds } = context;
  const kafka = await startKafka({ life: 'long' });
  context.resources.add({ name: 'Kafka', close: () => kafka.stop() });
  const stacks = new Map([['ours', await startClickStack(ROOT, 'ours', kafka.brokers, context)]]);
  if (against)
    stacks.set(against.name, await startClickStack(against.root, against.name, kafka.brokers, context));
  const measured = await measureInterleaved([...stacks.keys()], rounds, (index) => async (name) => {
    progress.say(`cpu-per-click: round ${index} of ${rounds}, ${name}`);
    const stack = stacks.get(name);
    if (stack === undefined) throw new Error(`Expected a stack of ${name}, got none`);
    const clicks = await measureClicks(stack, context);
    progress.say(`cpu-per-click: ${totalOf(clicks).toFixed(1)} µs a click: ${formatMicros(clicks.counted)}`);
    return clicks;
  });
  const ours = measured.flatMap((each) => each.ours ?? []);
  const theirs = against ? measured.flatMap((each) => each[against.name] ?? []) : [];
  return [compareWithBar(ours), ...(against ? [compareWithOther(ours, theirs, against.name)] : [])];
};

/** One load on the ad server of the stack, and one on that without a broker: the difference of the two ad servers is the publishing. */
async function measureClicks(stack: ClickStack, context: BenchContext): Promise<Measured> {
  const spooled = await measureLoad(stack, 'spooled', context);
  const relayed = await measureLoad(stack, 'relayed', context);
  const micros = (name: string) => relayed.micros[name] ?? Number.NaN;
  const redirect = spooled.micros.adServer ?? Number.NaN;
  return {
    counted: {
      redirect,
      publishing: micros('adServer') - redirect,
      processor: micros('processor'),
      PostgreSQL: micros('PostgreSQL'),
    },
    beside: {
      console: micros('console'),
      ...('Kafka' in relayed.micros && { Kafka: micros('Kafka') }),
      'load generator': micros('generator'),
    },
    perSecond: relayed.perSecond,
  };
}

/** CPU time per recorded click of each process, in µs, during the constant rate of a load. Repeats a load for which the machine was too slow. */
async function measureLoad(
  stack: ClickStack,
  path: Path,
  context: BenchContext,
): Promise<{ micros: CpuMicros; perSecond: number }> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await measureOnce(stack, path, context);
    } catch (error) {
      const isSlow = error instanceof MachineTooSlow || isDatabaseUnavailable(error);
      if (!isSlow || attempt === ATTEMPTS_MAX) throw error;
      context.progress.say(
        `cpu-per-click: repeating a load, because this machine was too slow: ${errorMessage(error)}`,
      );
    }
  }
}

async function measureOnce(
  stack: ClickStack,
  path: Path,
  context: BenchContext,
): Promise<{ micros: CpuMicros; perSecond: number }> {
  const kafka = findDescendant(readProcesses(), process.pid, KAFKA_PROCESS);
  const load = startLoad(stack, path, { ...TIMES, perSecond: context.rate }, context);
  const samples = sampleCpu((processes: ProcessTable) => ({
    adServer: treeMicros(processes, stack.adServers[path]),
    processor: treeMicros(processes, stack.processor),
    PostgreSQL: treeMicros(processes, stack.postgres),
    console: treeMicros(processes, stack.console),
    ...(kafka !== null && { Kafka: treeMicros(processes, kafka) }),
    generator: treeMicros(processes, load.pid),
  }));
  context.resources.add({ name: 'CPU samples', close: () => void samples.stop() });
  const report = await load.report;
  const holdMs = Date.parse(report.startedAt) + TIMES.rampSeconds * 1_000;
  const [fromMs, toMs] = [holdMs + SETTLE_MS, holdMs + TIMES.holdSeconds * 1_000 - SETTLE_MS];
  const used = cpuBetween(samples.stop(), fromMs, toMs);
  const perSecond = recordedPerSecond(report);
  const recorded = (perSecond * (toMs - fromMs)) / 1_000;
  // If clicks waited, the processor has charged other ones than those that were recorded at the same time.
  const charged = path === 'relayed' ? await stack.countSettled(fromMs, toMs) : recorded;
  const isCharging = (name: string) => name === 'processor' || name === 'PostgreSQL';
  const micros = Object.fromEntries(
    Object.entries(used).map(([name, sum]) => [name, sum / (isCharging(name) ? charged : recorded)]),
  );
  return { micros, perSecond };
}

/** The clicks that were recorded per second of the constant rate. Prefetches and forged links are answered, but are no clicks. */
function recordedPerSecond({ phases, recorded, redirected, refused }: LoadReport): number {
  const hold = phases.at(-1);
  return ((hold?.answeredPerSecond ?? Number.NaN) * recorded) / (redirected + refused);
}

function totalOf({ counted }: Measured): number {
  return Object.values(counted).reduce((sum, micros) => sum + micros, 0);
}

function compareWithBar(ours: readonly Measured[]): BenchResult {
  const name = 'cpu-per-click';
  const total = median(ours.map(totalOf));
  return {
    ...compareLimit(name, 'µs', 'max', total, MICROS_MAX, notesOf(ours)),
    cpuMicros: { ours: medianMicros(ours.map(({ counted }) => counted)) },
  };
}

function compareWithOther(
  ours: readonly Measured[],
  theirs: readonly Measured[],
  other: string,
): BenchResult {
  const pairs = ours.map((one, index) => ({
    ours: totalOf(one),
    reference: theirs[index] ? totalOf(theirs[index]) : Number.NaN,
  }));
  return {
    ...comparePairs('cpu-per-click-against', 'µs', 'max', pairs, [
      `the reference is ${other}, measured in turn`,
      ...notesOf(theirs).map((note) => `${other}: ${note}`),
    ]),
    cpuMicros: {
      ours: medianMicros(ours.map(({ counted }) => counted)),
      reference: medianMicros(theirs.map(({ counted }) => counted)),
    },
  };
}

function notesOf(measured: readonly Measured[]): string[] {
  const totals = measured.map(totalOf);
  const beside = Object.entries(medianMicros(measured.map((one) => one.beside)));
  const rate = median(measured.map(({ perSecond }) => perSecond));
  return [
    `${rate.toFixed(0)} recorded clicks/s, impression and evergreen links mixed as in npm run load; ${measured.length} rounds of ` +
      `${TIMES.holdSeconds} s, ${round(Math.min(...totals))}–${round(Math.max(...totals))} µs; beside, not counted: ` +
      beside.map(([name, micros]) => `${name} ${micros.toFixed(1)}`).join(', '),
  ];
}
