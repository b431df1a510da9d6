import type {
  AdServerNumbers,
  ConsoleNumbers,
  ProcessorNumbers,
} from '../../ledger/operations/part-numbers.ts';
import type { Part, PartOf } from '../../ledger/operations/parts.ts';

/** Numbers of an ad server that has nothing to do. */
export function adServerNumbers(changes: Partial<AdServerNumbers> = {}): AdServerNumbers {
  return {
    ...{ workers: 1, accepted: 0, relayed: 0, unrecorded: 0, unrecordedRecently: 0 },
    ...{ linksAnsweredRecently: 0, linksRefusedRecently: 0, requestsRecently: 0, linksNotFoundRecently: 0 },
    ...{ redirectsPerSecond: 0, redirectP99Seconds: null },
    ...{ spoolBytes: 0, spoolBytesMax: 1_073_741_824, spoolOldestSeconds: 0 },
    ...{ catalogAgeSeconds: 1, catalogAds: 3, clockOffsetSeconds: 0.004 },
    ...changes,
  };
}

/** Numbers of a processor that has nothing to do. */
export function processorNumbers(changes: Partial<ProcessorNumbers> = {}): ProcessorNumbers {
  return {
    ...{ lanes: 2, charged: 0, overBudget: 0, invalid: 0, rejected: 0, duplicates: 0, settledPerSecond: 0 },
    ...{ clickToChargeP50Seconds: null, clickToChargeP99Seconds: null, clicksAside: 0 },
    ...{ lagRecords: 0, lagOldestSeconds: 0, isBlocked: false, partitions: [] },
    ...changes,
  };
}

function consoleNumbers(): ConsoleNumbers {
  return { requestsPerSecond: 0, requestP99Seconds: null, webhooksWaiting: 0, webhooksOldestSeconds: 0 };
}

type Changes<C extends Part['component']> = Partial<Omit<PartOf<C>, 'component' | 'numbers'>> & {
  readonly numbers?: Partial<PartOf<C>['numbers']>;
};

/** The time at which the parts of this file are read. */
export const AS_OF = new Date('2026-01-31T12:00:00Z');

const common = {
  ...{ version: '0.1.0', startedAt: new Date('2026-01-31T11:00:00Z'), reportedAt: AS_OF },
  ...{ state: 'ready' as const, problems: [], warnings: [] },
};

export function adServerPart({ numbers, ...changes }: Changes<'ad-server'> = {}): PartOf<'ad-server'> {
  const part = { ...common, component: 'ad-server' as const, instance: 'web-1:8081', ...changes };
  return { ...part, numbers: adServerNumbers(numbers) };
}

export function processorPart({ numbers, ...changes }: Changes<'processor'> = {}): PartOf<'processor'> {
  const part = { ...common, component: 'processor' as const, instance: 'worker-1:8082', ...changes };
  return { ...part, numbers: processorNumbers(numbers) };
}

export function consolePart({ numbers, ...changes }: Changes<'console'> = {}): PartOf<'console'> {
  const part = { ...common, component: 'console' as const, instance: 'console-1:8084', ...changes };
  return { ...part, numbers: { ...consoleNumbers(), ...numbers } };
}
