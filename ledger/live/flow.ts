import { answeringParts, type Part } from '../operations/parts.ts';
import { backlogOf } from '../operations/parts-backlog.ts';

/** Clicks that have come to each stage since the beginning of the ledger, and how old those are that wait. `null`: not known. */
export type Flow = {
  readonly accepted: number;
  readonly relayed: number;
  readonly settled: number;
  readonly spoolOldestSeconds: number | null;
  readonly brokerOldestSeconds: number | null;
  readonly clickToChargeSeconds: number | null;
};

/** What a flow is computed from. */
export type FlowSources = {
  readonly settled: number;
  /** Accepted clicks by the watermarks of the ledger, which are those that were relayed. */
  readonly watermark: number;
  readonly parts: readonly Part[];
  /** What waits in the database with the Postgres broker; `null` with another broker. */
  readonly waiting: { readonly records: number; readonly oldestSeconds: number } | null;
  /** Of the latest clicks, if the processors do not report it. */
  readonly clickToChargeSeconds: number | null;
};

/**
 * Follows the clicks from the redirect to the charge. The ledger knows those that are settled, the broker or its readers those that wait in it,
 * and the ad servers those that wait in their spools: the sums are the numbers of relayed and of accepted clicks.
 */
export class LiveFlow {
  #relayed: number | null = null;
  /** What each ad server had relayed at the read before. */
  #relayedBy = new Map<string, number>();

  next({ settled, watermark, parts, waiting, clickToChargeSeconds }: FlowSources): Flow {
    const adServers = answeringParts(parts, 'ad-server');
    const backlog = backlogOf(parts);
    const inBroker = waiting?.records ?? backlog.records;
    const more = this.#relayedSince(parts);
    // While no processor answers, the ad servers tell what is added to the broker.
    const relayed =
      inBroker === null
        ? Math.max(watermark, settled, (this.#relayed ?? 0) + more)
        : settled + Math.round(inBroker);
    this.#relayed = relayed;
    const inSpools = adServers.map(({ numbers }) =>
      Math.max(0, (numbers.accepted ?? 0) - (numbers.relayed ?? 0)),
    );
    const spoolAges = adServers.flatMap(({ numbers }) => numbers.spoolOldestSeconds ?? []);
    return {
      accepted: relayed + inSpools.reduce((sum, clicks) => sum + clicks, 0),
      relayed,
      settled,
      spoolOldestSeconds: spoolAges.length === 0 ? null : Math.max(...spoolAges),
      brokerOldestSeconds: waiting?.oldestSeconds ?? backlog.oldestAgeSeconds,
      clickToChargeSeconds: medianOf(parts) ?? clickToChargeSeconds,
    };
  }

  /** Clicks that the ad servers relayed since the read before. A process that began anew counts from 0. */
  #relayedSince(parts: readonly Part[]): number {
    let sum = 0;
    const now = new Map<string, number>();
    for (const { instance, startedAt, numbers } of answeringParts(parts, 'ad-server')) {
      if (numbers.relayed === null) continue;
      const run = `${instance} ${startedAt.getTime()}`;
      now.set(run, numbers.relayed);
      sum += Math.max(0, numbers.relayed - (this.#relayedBy.get(run) ?? numbers.relayed));
    }
    this.#relayedBy = now;
    return sum;
  }
}

/** The median time from a click to its charge of the processors that charge clicks, by how many they charge. */
function medianOf(parts: readonly Part[]): number | null {
  let seconds = 0;
  let weights = 0;
  for (const { numbers } of answeringParts(parts, 'processor')) {
    const { clickToChargeP50Seconds: median, settledPerSecond: weight } = numbers;
    if (median === null || !weight) continue;
    seconds += median * weight;
    weights += weight;
  }
  return weights === 0 ? null : seconds / weights;
}
