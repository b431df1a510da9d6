import { cpus } from 'node:os';
import type { Stack } from '../../cli/start/stack.ts';
import { withDeadline } from '../../common/deadline.ts';

/** Timeout of a request for metrics or budgets, in ms. */
const ANSWER_MS_MAX = 900;
const NO_BUDGETS: ReadonlyMap<number, number> = new Map();

/** Memory and CPU usage of a process. */
export type ProcessUsage = {
  readonly residentBytes: number;
  /** CPU time since the start of the process. */
  readonly cpuSeconds: number;
};

/** A sample of the system's metrics; `null` for a metric that its process does not report. */
export type SystemState = {
  /** Bytes in the spools of the ad server, and the age of their oldest click in seconds. */
  readonly spoolBytes: number | null;
  readonly spoolSeconds: number | null;
  /** Clicks in the broker, and the age of the oldest one in seconds. */
  readonly brokerClicks: number | null;
  readonly brokerSeconds: number | null;
  /** Remaining budgets by advertiser id, in units of their currency. */
  readonly budgets: ReadonlyMap<number, number>;
  readonly processes: Readonly<Record<'ad server' | 'processor' | 'load generator', ProcessUsage | null>>;
  /** CPU utilization of the machine since the last sample, 0–1. */
  readonly machineUtilization: number;
};

/**
 * Samples the processes of the stack, this process and the machine. `readBudgets` returns remaining budgets by advertiser id; the metrics do
 * not have those of load tests. `sample` never throws.
 */
export function createSystemSampler(stack: Stack, readBudgets: () => Promise<ReadonlyMap<number, number>>) {
  let before = machineTimes();
  return {
    sample: async (): Promise<SystemState> => {
      const [adServer, processor, budgets] = await Promise.all([
        readMetrics(stack.adServerOpsUrl),
        readMetrics(stack.processorOpsUrl),
        withDeadline(readBudgets(), ANSWER_MS_MAX, 'The database').catch(() => NO_BUDGETS),
      ]);
      const now = machineTimes();
      const machineUtilization = (now.busy - before.busy) / Math.max(1, now.all - before.all);
      before = now;
      return {
        spoolBytes: sumOf(adServer, 'tollway_spool_bytes'),
        spoolSeconds: maxOf(adServer, 'tollway_spool_oldest_click_age_seconds'),
        brokerClicks: sumOf(processor, 'tollway_broker_lag_records'),
        brokerSeconds: maxOf(processor, 'tollway_broker_oldest_click_age_seconds'),
        budgets,
        processes: {
          'ad server': usageOf(adServer),
          processor: usageOf(processor),
          'load generator': ownUsage(),
        },
        machineUtilization,
      };
    },
  };
}

/** The age of the oldest click that is not yet in the ledger, in seconds; `null` unless both the spool and the broker report theirs. */
export function oldestSeconds({ spoolSeconds, brokerSeconds }: SystemState): number | null {
  return spoolSeconds === null || brokerSeconds === null ? null : Math.max(spoolSeconds, brokerSeconds);
}

function usageOf(metrics: string): ProcessUsage | null {
  const residentBytes = sumOf(metrics, 'process_resident_memory_bytes');
  const cpuSeconds = sumOf(metrics, 'process_cpu_seconds_total');
  return residentBytes === null || cpuSeconds === null ? null : { residentBytes, cpuSeconds };
}

function ownUsage(): ProcessUsage {
  const { user, system } = process.cpuUsage();
  return { residentBytes: process.memoryUsage.rss(), cpuSeconds: (user + system) / 1e6 };
}

/** Busy time and total time of all CPUs since the machine started, in ms. */
function machineTimes(): { busy: number; all: number } {
  let [idle, all] = [0, 0];
  for (const { times } of cpus()) {
    idle += times.idle;
    all += times.user + times.nice + times.sys + times.idle + times.irq;
  }
  return { busy: all - idle, all };
}

async function readMetrics(opsUrl: string): Promise<string> {
  try {
    const response = await fetch(`${opsUrl}/metrics`, { signal: AbortSignal.timeout(ANSWER_MS_MAX) });
    return response.ok ? await response.text() : '';
  } catch {
    return '';
  }
}

/** All values of a metric. Format: https://prometheus.io/docs/instrumenting/exposition_formats/ */
function valuesOf(metrics: string, name: string): number[] {
  return [...metrics.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'gm'))].map(([, value]) =>
    Number(value),
  );
}

function sumOf(metrics: string, name: string): number | null {
  const values = valuesOf(metrics, name);
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0);
}

function maxOf(metrics: string, name: string): number | null {
  const values = valuesOf(metrics, name);
  return values.length === 0 ? null : Math.max(...values);
}
