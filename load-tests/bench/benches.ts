import type { Bench } from './bench.ts';

/** A benchmark whose module is loaded when it runs, so that each depends only on the code that it measures. */
const bench =
  (load: () => Promise<Bench>): Bench =>
  async (context) =>
    (await load())(context);

/** The benchmarks that run without `--only`, in less than ten minutes. */
const DEFAULT_BENCHES: Readonly<Record<string, Bench>> = {
  redirect: bench(async () => (await import('./redirect.ts')).benchRedirect),
  'charge-1000': bench(async () => (await import('./charge.ts')).benchCharge1000),
  'charge-1': bench(async () => (await import('./charge.ts')).benchCharge1),
  embedded: bench(async () => (await import('./embedded.ts')).benchEmbedded),
  'drain-kafka': bench(async () => (await import('./drain-kafka.ts')).benchDrainKafka),
  'publish-kafka': bench(async () => (await import('./publish-kafka.ts')).benchPublishKafka),
  'start-up': bench(async () => (await import('./start-up.ts')).benchStartUp),
  'click-show': bench(async () => (await import('./click-show.ts')).benchClickShow),
  report: bench(async () => (await import('./report.ts')).benchReport),
  rollup: bench(async () => (await import('./rollup.ts')).benchRollup),
  console: bench(async () => (await import('./console.ts')).benchConsole),
};

/** The benchmarks that run only with `--only`: they take minutes each, or have no bar. */
const OPTIONAL_BENCHES: Readonly<Record<string, Bench>> = {
  'charge-large': bench(async () => (await import('./charge-large.ts')).benchChargeLarge),
  'charge-writers': bench(async () => (await import('./charge-writers.ts')).benchChargeWriters),
  'cpu-per-click': bench(async () => (await import('./cpu-per-click.ts')).benchCpuPerClick),
  'drain-flink': bench(async () => (await import('./drain-flink.ts')).benchDrainFlink),
  'metrics-scrape': bench(async () => (await import('./metrics-scrape.ts')).benchMetricsScrape),
  'spike-beside-api': bench(async () => (await import('./spike-beside-api.ts')).benchSpikeBesideApi),
  runtimes: bench(async () => (await import('./runtime-costs.ts')).benchRuntimes),
};

export const DEFAULT_NAMES: readonly string[] = Object.keys(DEFAULT_BENCHES);
export const OPTIONAL_NAMES: readonly string[] = Object.keys(OPTIONAL_BENCHES);

/** The benchmarks that compare with another commit themselves. The others run in each checkout in turn. */
export const COMPARING_NAMES: readonly string[] = ['cpu-per-click'];

/** The benchmark with this name. */
export function benchOf(name: string): Bench | undefined {
  return new Map(Object.entries({ ...DEFAULT_BENCHES, ...OPTIONAL_BENCHES })).get(name);
}
