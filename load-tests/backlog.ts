import type { Stack } from '../cli/stack.ts';

/** How long a part may take to tell its metrics, in ms. */
const ANSWER_MS_MAX = 1_000;

/** What waits between the redirect and the ledger; `null` where a part does not tell. */
export type Backlog = {
  /** Clicks in the broker. */
  readonly brokerClicks: number | null;
  /** Age of the oldest click in a spool and of the oldest record in the broker, the larger, in seconds. */
  readonly oldestSeconds: number | null;
};

/** Asks the running parts for their backlog. Never throws. */
export async function readBacklog(stack: Stack): Promise<Backlog> {
  const [adServer, processor] = await Promise.all([
    readMetrics(stack.adServerOpsUrl),
    readMetrics(stack.processorOpsUrl),
  ]);
  const ages = [
    gaugeOf(adServer, 'tollway_spool_oldest_click_age_seconds'),
    gaugeOf(processor, 'tollway_broker_oldest_record_age_seconds'),
  ].filter((age) => age !== null);
  return {
    brokerClicks: gaugeOf(processor, 'tollway_broker_lag_records'),
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

function gaugeOf(metrics: string, name: string): number | null {
  const value = new RegExp(`^${name} (\\S+)$`, 'm').exec(metrics)?.[1];
  return value === undefined ? null : Number(value);
}
