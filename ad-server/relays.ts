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

/** Time for the relay to empty the spool at shutdown, in ms. Another ad server process adopts what is left. */
const RELAY_DRAIN_MS = 5_000;
/** Time between two searches for spools whose process has ended, in ms. */
const ADOPT_MS = 10_000;

/** The running relays of one ad server process. */
export type Relays = {
  /** Age of the oldest click that the broker has not confirmed, in ms; 0 if there is none. */
  readonly oldestClickAgeMs: () => number;
  /** Why the broker accepts no clicks. They wait in the spools. */
  readonly problems: () => readonly Problem[];
  /** Closes the spool. Its relay has `RELAY_DRAIN_MS` to empty it. */
  readonly close: () => Promise<void>;
};

/** Relays the own spool and, one after the other, the spools in `root` whose process has ended. */
export function startRelays(
  config: Config,
  context: {
    root: string;
    spool: Spool;
    publisher: Publisher;
    metrics: Metrics;
    logger: Logger;
    fail: (error: unknown) => void;
    adoptMs?: number;
  },
): Relays {
  const { root, spool, publisher, metrics, logger, fail, adoptMs = ADOPT_MS } = context;
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
  /** Logs of current failures by spool id; the search for spools has the key `root`. */
  const failures = new Map<string, ThrottledLog>();
  const relaying = new Set<Relay>();

  const reportFailure = (spoolId: string, error: unknown, message: string) => {
    const recovered = 'The spools of ended processes are relayed again';
    const log =
      failures.get(spoolId) ?? new ThrottledLog(logger, { failed: message, recovered, level: 'error' });
    failures.set(spoolId, log);
    log.fail({ spoolId, problem: errorMessage(error) }, message);
  };
  const reportSuccess = (spoolId: string) => {
    failures.get(spoolId)?.recover({ spoolId });
    failures.delete(spoolId);
  };
  const logAdoption = ({ spoolId, bytes, tornBytes }: DeadSpool) => {
    if (failures.has(spoolId)) return;
    logger.info({ spoolId, bytes }, 'Adopted a spool of a process that has ended');
    if (tornBytes === 0) return;
    metrics.spoolTornBytes.inc(tornBytes);
    logger.warn(
      { spoolId, tornBytes },
      'An adopted spool ends with an incomplete click. Clicks may be lost if the host lost power. The segment is in quarantine',
    );
  };
  const relayAdopted = async (deadSpool: DeadSpool) => {
    let bytesLeft = deadSpool.bytes;
    spool.bytes += bytesLeft;
    const onAdoptedFreed = (bytes: number) => {
      bytesLeft -= bytes;
      onFreed(bytes);
    };
    try {
      const relay = new Relay(
        { ...deadSpool, openSegment: null, roll: () => {} },
        { ...deps, onFreed: onAdoptedFreed },
      );
      relaying.add(relay);
      relay.end();
      try {
        if (!ending.signal.aborted && (await relay.run())) reportSuccess(deadSpool.spoolId);
      } finally {
        relaying.delete(relay);
      }
    } catch (err) {
      reportFailure(
        deadSpool.spoolId,
        err,
        'An adopted spool cannot be relayed. Its clicks stay on disk and are not charged yet',
      );
    }
    spool.bytes -= bytesLeft;
    deadSpool.release();
  };
  const adoptRepeatedly = async () => {
    for (; !ending.signal.aborted; await sleep(adoptMs, ending.signal)) {
      try {
        const onUnreadable = (spoolId: string, err: unknown) =>
          reportFailure(
            spoolId,
            err,
            'A spool of a process that has ended cannot be read. Its clicks stay on disk and are not charged yet',
          );
        for await (const deadSpool of adoptDeadSpools(
          root,
          onUnreadable,
          (spoolId) => spoolId !== spool.spoolId,
        )) {
          logAdoption(deadSpool);
          await relayAdopted(deadSpool);
        }
      } catch (err) {
        reportFailure(root, err, 'The ad server cannot search for abandoned spools');
      }
    }
  };
  // The own relay stops only because of a bug or a failed disk. The process then ends with the error.
  const running = Promise.all([own.run(), adoptRepeatedly()]);
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
