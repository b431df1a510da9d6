import type { Stack } from '../cli/stack.ts';

/** How long a part may take to tell its metrics, in ms. */
const ANSWER_MS_MAX = 1_000;

/** What waits between the redirect and the ledger; `null` where a part does not tell. */
export type Backlog = {
  /** Clicks in the brokers. */
  readonly brokerClicks: number | null;
  /** Age of the oldest click in a spool and of the oldest click in a broker, the larger, in seconds. */
  readonly oldestSeconds: number | null;
};

/** Asks the running parts for their backlog. Never throws. */
export async function readBacklog(stack: Stack): Promise<Backlog> {
  const [adServer, processor] = await Promise.all([
    readMetrics(stack.adServerOpsUrl),
    readMetrics(stack.processorOpsUrl),
  ]);
  const ages = [
    ...gaugesOf(adServer, 'tollway_spool_oldest_click_age_seconds'),
    ...gaugesOf(processor, 'tollway_broker_oldest_click_age_seconds'),
  ];
  const waiting = gaugesOf(processor, 'tollway_broker_lag_records');
  return {
    brokerClicks: waiting.length === 0 ? null : waiting.reduce((sum, clicks) => sum + clicks),
    oldestSeconds: ages.length === 0 ? null : Math.max(...ages),
  };
}

async function readMetrics(opsUrl: string): Promise<string> {
  try {
    const response = await fetch(`${opsUrl}/metrics`, { signal: AbortSignal.timeout(ANSWER_MS_MAX) });
    return response.ok ? await response.text() : '';
  } catch {
    return '';
  }
}

/** The values of a gauge, whatever its labels. */
function gaugesOf(metrics: string, name: string): number[] {
  return [...metrics.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'gm'))].map(([, value]) =>
    Number(value),
  );
}
