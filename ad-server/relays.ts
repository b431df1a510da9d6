import type { Publisher } from '../brokers/publisher.ts';
import type { Config } from '../common/config/config.ts';
import { errorMessage } from '../common/errors.ts';
import { sleep } from '../common/process.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { Metrics } from '../common/telemetry/metrics.ts';
import type { Problem } from '../common/telemetry/problems.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';
import { adoptDeadSpools, type DeadSpool } from '../producer/dead-spools.ts';
import { Relay, type RelayOptions } from '../producer/relay.ts';
import type { Spool } from '../producer/spool.ts';

/** Time the relay gets to empty the spool at the end, in ms. What it leaves is adopted by whoever comes by. */
const RELAY_DRAIN_MS = 5_000;
/** How often spools are looked for whose owners are gone, in ms. */
const ADOPT_MS = 10_000;

/** The relays of one ad server process at work. */
export type Relays = {
  /** Age of the oldest click that the broker has not confirmed, in ms; 0 if there is none. */
  readonly oldestClickAgeMs: () => number;
  /** Why the broker takes no clicks; they wait in the spools. */
  readonly problems: () => readonly Problem[];
  /** Ends the spool, and gives its relay a while to empty it. */
  readonly close: () => Promise<void>;
};

/** Relays the own spool, and beside it, one after the other, those in `root` whose owners are gone. */
export function startRelays(
  config: Config,
  parts: {
    root: string;
    spool: Spool;
    publisher: Publisher;
    metrics: Metrics;
    logger: Logger;
    fail: (error: unknown) => void;
    adoptMs?: number;
  },
): Relays {
  const { root, spool, publisher, metrics, logger, fail, adoptMs = ADOPT_MS } = parts;
  const options: RelayOptions = {
    batchMax: config.RELAY_BATCH_MAX,
    lingerMs: config.RELAY_LINGER_MS,
    watermarkIntervalMs: config.WATERMARK_INTERVAL_MS,
  };
  const deps = { publisher, options, metrics, logger };
  const onFreed = (bytes: number) => {
    spool.bytes -= bytes;
  };
  const own = new Relay(spool, { ...deps, onFreed });
  spool.onChange = () => own.notify();
  const ending = new AbortController();
  /** What fails, by spool id; under the root: the search for spools. */
  const failures = new Map<string, ThrottledLog>();
  const relaying = new Set<Relay>();

  const reportFailure = (spoolId: string, error: unknown, message: string) => {
    const recovered = 'The spools of other owners are relayed again';
    const log =
      failures.get(spoolId) ?? new ThrottledLog(logger, { failed: message, recovered, level: 'error' });
    failures.set(spoolId, log);
    log.fail({ spoolId, problem: errorMessage(error) }, message);
  };
  const reportSuccess = (spoolId: string) => {
    failures.get(spoolId)?.recover({ spoolId });
    failures.delete(spoolId);
  };
  const tell = ({ spoolId, bytes, tornBytes }: DeadSpool) => {
    if (failures.has(spoolId)) return;
    logger.info({ spoolId, bytes }, 'Adopted a spool whose owner is gone');
    if (tornBytes === 0) return;
    metrics.spoolTornBytes.inc(tornBytes);
    logger.warn(
      { spoolId, tornBytes },
      'An adopted spool ends with incomplete bytes; clicks may be lost if the host lost power. The segment is in quarantine',
    );
  };
  const relayAdopted = async (found: DeadSpool) => {
    let left = found.bytes;
    spool.bytes += left;
    const freed = (bytes: number) => {
      left -= bytes;
      onFreed(bytes);
    };
    try {
      const relay = new Relay({ ...found, openSegment: null, roll: () => {} }, { ...deps, onFreed: freed });
      relaying.add(relay);
      relay.end();
      try {
        if (!ending.signal.aborted && (await relay.run())) reportSuccess(found.spoolId);
      } finally {
        relaying.delete(relay);
      }
    } catch (err) {
      reportFailure(found.spoolId, err, 'An adopted spool cannot be relayed; it stays where it is');
    }
    spool.bytes -= left;
    found.release();
  };
  const adoptForEver = async () => {
    for (; !ending.signal.aborted; await sleep(adoptMs, ending.signal)) {
      try {
        const unreadable = (spoolId: string, err: unknown) =>
          reportFailure(spoolId, err, 'A spool whose owner is gone cannot be read; it stays where it is');
        for await (const found of adoptDeadSpools(root, unreadable, (spoolId) => spoolId !== spool.spoolId)) {
          tell(found);
          await relayAdopted(found);
        }
      } catch (err) {
        reportFailure(root, err, 'The ad server cannot search for abandoned spools');
      }
    }
  };
  // Nothing stops our own relay but a fault in the code or in the disk below it: then the process ends, loudly.
  const running = Promise.all([own.run(), adoptForEver()]);
  running.catch(fail);

  return {
    oldestClickAgeMs: () => {
      return Math.max(0, ...[own, ...relaying].map((relay) => relay.oldestClickAgeMs ?? 0));
    },
    problems: () => {
      const [first] = [own, ...relaying].flatMap((relay) => relay.problem ?? []);
      return first === undefined ? [] : [first];
    },
    close: async () => {
      spool.finish();
      own.end();
      ending.abort();
      await Promise.race([running, sleep(RELAY_DRAIN_MS)]);
      own.abort();
      for (const relay of relaying) relay.abort();
      await running.catch(() => {});
      spool.close();
    },
  };
}
