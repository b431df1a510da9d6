import type { Bench } from './bench.ts';
import { benchCharge1, benchCharge1000 } from './charge.ts';
import { benchChargeLarge } from './charge-large.ts';
import { benchChargeWriters } from './charge-writers.ts';
import { benchClickShow } from './click-show.ts';
import { benchConsole } from './console.ts';
import { benchEmbedded } from './embedded.ts';
import { benchDrainKafka, benchPublishKafka } from './kafka.ts';
import { benchRedirect } from './redirect.ts';
import { benchReport } from './report.ts';
import { benchRollup } from './rollup.ts';
import { benchRuntimes } from './runtime-costs.ts';
import { benchStartUp } from './start-up.ts';

/** The benchmarks that run without `--only`, in less than ten minutes. */
const DEFAULT_BENCHES: Readonly<Record<string, Bench>> = {
  redirect: benchRedirect,
  'charge-1000': benchCharge1000,
  'charge-1': benchCharge1,
  embedded: benchEmbedded,
  'drain-kafka': benchDrainKafka,
  'publish-kafka': benchPublishKafka,
  'start-up': benchStartUp,
  'click-show': benchClickShow,
  report: benchReport,
  rollup: benchRollup,
  console: benchConsole,
};

/** The benchmarks that run only with `--only`: they take minutes each, or have no bar. */
const OPTIONAL_BENCHES: Readonly<Record<string, Bench>> = {
  'charge-large': benchChargeLarge,
  'charge-writers': benchChargeWriters,
  runtimes: benchRuntimes,
};

export const DEFAULT_NAMES: readonly string[] = Object.keys(DEFAULT_BENCHES);
export const OPTIONAL_NAMES: readonly string[] = Object.keys(OPTIONAL_BENCHES);

/** The benchmark with this name. */
export function benchOf(name: string): Bench | undefined {
  return new Map(Object.entries({ ...DEFAULT_BENCHES, ...OPTIONAL_BENCHES })).get(name);
}
