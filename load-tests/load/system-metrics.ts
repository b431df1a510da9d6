import { cpus } from 'node:os';
import type { Stack } from '../../cli/start/stack.ts';

/** How long a part may take to tell its metrics, in ms. */
const ANSWER_MS_MAX = 900;

/** What a process of the stack uses. */
export type ProcessUse = {
  readonly residentBytes: number;
  /** Of processor time, since its start. */
  readonly cpuSeconds: number;
};

/** What the parts tell of themselves at one moment; `null` where one does not. */
export type SystemState = {
  /** Bytes in the spools of the ad server, and the age of the oldest click in them, in seconds. */
  readonly spoolBytes: number | null;
  readonly spoolSeconds: number | null;
  /** Clicks in the brokers, and the age of the oldest of them, in seconds. */
  readonly brokerClicks: number | null;
  readonly brokerSeconds: number | null;
  /** What is left of the budgets of some advertisers, in units of their currency, by id. */
  readonly budgets: ReadonlyMap<number, number>;
  readonly processes: Readonly<Record<'ad server' | 'processor' | 'load generator', ProcessUse | null>>;
  /** Part of the machine's processors that is at work since the last look, 0–1. */
  readonly machineBusy: number;
};

/** Looks at the running parts, at this process, and at the machine. `look` never throws. */
export function createObserver(stack: Stack, advertiserIds: readonly number[]) {
  const watched = new Set(advertiserIds);
  let before = machineTimes();
  return {
    look: async (): Promise<SystemState> => {
      const [adServer, processor] = await Promise.all([
        readMetrics(stack.adServerOpsUrl),
        readMetrics(stack.processorOpsUrl),
      ]);
      const now = machineTimes();
      const machineBusy = (now.busy - before.busy) / Math.max(1, now.all - before.all);
      before = now;
      return {
        spoolBytes: sumOf(adServer, 'tollway_spool_bytes'),
        spoolSeconds: mostOf(adServer, 'tollway_spool_oldest_click_age_seconds'),
        brokerClicks: sumOf(processor, 'tollway_broker_lag_records'),
        brokerSeconds: mostOf(processor, 'tollway_broker_oldest_click_age_seconds'),
        budgets: new Map(
          valuesOf(processor, 'tollway_advertiser_budget_remaining').flatMap(({ labels, value }) => {
            const id = Number(/advertiser="(\d+)"/.exec(labels)?.[1]);
            return watched.has(id) ? [[id, value]] : [];
          }),
        ),
        processes: {
          'ad server': useOf(adServer),
          processor: useOf(processor),
          'load generator': ownUse(),
        },
        machineBusy,
      };
    },
  };
}

/** The age of the oldest click anywhere before the ledger, in seconds; `null` unless both sides of the broker tell. */
export function oldestSeconds({ spoolSeconds, brokerSeconds }: SystemState): number | null {
  return spoolSeconds === null || brokerSeconds === null ? null : Math.max(spoolSeconds, brokerSeconds);
}

function useOf(metrics: string): ProcessUse | null {
  const residentBytes = sumOf(metrics, 'process_resident_memory_bytes');
  const cpuSeconds = sumOf(metrics, 'process_cpu_seconds_total');
  return residentBytes === null || cpuSeconds === null ? null : { residentBytes, cpuSeconds };
}

function ownUse(): ProcessUse {
  const { user, system } = process.cpuUsage();
  return { residentBytes: process.memoryUsage.rss(), cpuSeconds: (user + system) / 1e6 };
}

/** Time of all processors since the machine's start, in ms. */
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

/** All values of a metric; https://prometheus.io/docs/instrumenting/exposition_formats/ */
function valuesOf(metrics: string, name: string): { labels: string; value: number }[] {
  return [...metrics.matchAll(new RegExp(`^${name}(?:\\{(.*)\\})? (\\S+)$`, 'gm'))].map(
    ([, labels = '', value]) => ({ labels, value: Number(value) }),
  );
}

function sumOf(metrics: string, name: string): number | null {
  const values = valuesOf(metrics, name);
  return values.length === 0 ? null : values.reduce((sum, { value }) => sum + value, 0);
}

function mostOf(metrics: string, name: string): number | null {
  const values = valuesOf(metrics, name);
  return values.length === 0 ? null : Math.max(...values.map(({ value }) => value));
}
