import type { Bench } from './bench.ts';
import { benchCharge1, benchCharge1000 } from './charge.ts';
import { benchChargeLarge } from './charge-large.ts';
import { benchChargeWriters } from './charge-writers.ts';
import { benchEmbedded } from './embedded.ts';
import { benchDrainKafka, benchPublishKafka } from './kafka.ts';
import { benchRedirect } from './redirect.ts';
import { benchRuntimes } from './runtime-costs.ts';
import { benchStartUp } from './start-up.ts';

/** Those that run when none is named: the bars, in less than ten minutes. */
const USUAL: Readonly<Record<string, Bench>> = {
  redirect: benchRedirect,
  'charge-1000': benchCharge1000,
  'charge-1': benchCharge1,
  embedded: benchEmbedded,
  'drain-kafka': benchDrainKafka,
  'publish-kafka': benchPublishKafka,
  'start-up': benchStartUp,
};

/** Those that take minutes each, or only inform: run where they are named. */
const NAMED: Readonly<Record<string, Bench>> = {
  'charge-large': benchChargeLarge,
  'charge-writers': benchChargeWriters,
  runtimes: benchRuntimes,
};

export const USUAL_NAMES: readonly string[] = Object.keys(USUAL);
export const NAMED_NAMES: readonly string[] = Object.keys(NAMED);

/** The bench of a name. */
export function benchOf(name: string): Bench | undefined {
  return new Map(Object.entries({ ...USUAL, ...NAMED })).get(name);
}
