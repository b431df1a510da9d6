import type { Publisher } from '../brokers/publisher.ts';
import type { Config } from '../common/config/config.ts';
import { TollwayError } from '../common/errors.ts';
import { sleep } from '../common/process.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { Metrics } from '../common/telemetry/metrics.ts';
import type { Problem } from '../common/telemetry/problems.ts';
import { Relay, type RelayOptions } from '../producer/relay.ts';
import type { Spool } from '../producer/spool.ts';
import { SpoolUsage } from '../producer/spool-usage.ts';
import { createWatermarkLog } from '../producer/watermark-sender.ts';
import { AdoptedSpools } from './adopted-spools.ts';
import type { BlockedSpools } from './blocked-spools.ts';

/** Time for the relay to empty the spool at shutdown, in ms. Another ad server process adopts what is left. */
const RELAY_DRAIN_MS = 5_000;

/** The running relays of one ad server process. */
export type Relays = {
  /** Age of the oldest click that the broker has not confirmed, in ms; 0 if there is none. Clicks in blocked spools count. */
  readonly oldestClickAgeMs: () => number;
  /** Why the broker accepts no clicks. They wait in the spools. */
  readonly problems: () => readonly Problem[];
  /** A problem for each spool of an ended process that cannot be read or relayed. Its clicks wait. */
  readonly blockedSpools: () => readonly Problem[];
  /**
   * Measures the spools that are not of this process: those of the other workers and of ended processes. They count towards the limit of
   * the own spool, but not while they cannot be read or relayed, because then no relay frees them. The process fails if the folder of the own
   * spool is gone.
   */
  readonly measureSpools: () => Promise<void>;
  /** The bytes of all spools in `root`, as they were last measured, divided by the number of workers: each of them measures the same. */
  readonly shareOfBytes: () => number;
  /** Closes the spool. Its relay has `RELAY_DRAIN_MS` to empty it. */
  readonly close: () => Promise<void>;
};

/** Relays the own spool and, one after the other, the spools in `root` whose process has ended. */
export function startRelays(
  config: Config,
  context: {
    root: string;
    spool: Spool;
    /** Measures the other spools; they count from its latest measurement on. */
    usage?: SpoolUsage;
    publisher: Publisher;
    metrics: Metrics;
    logger: Logger;
    fail: (error: unknown) => void;
    adoptMs?: number;
  },
): Relays {
  const { root, spool, publisher, metrics, logger, fail, adoptMs } = context;
  const { usage = new SpoolUsage(root, spool.spoolId) } = context;
  const options: RelayOptions = {
    batchMax: config.RELAY_BATCH_MAX,
    lingerMs: config.RELAY_LINGER_MS,
    watermarkIntervalMs: config.WATERMARK_INTERVAL_MS,
  };
  const deps = { publisher, options, metrics, logger, watermarkLog: createWatermarkLog(logger) };
  const onFreed = (bytes: number) => {
    spool.bytes -= bytes;
  };
  const own = new Relay(spool, { ...deps, onFreed });
  spool.onChange = () => own.notify();
  const adopted = new AdoptedSpools(root, spool.spoolId, deps);
  const shares = followUsage(usage, spool, adopted.blocked);
  const ending = new AbortController();
  // The own relay stops only because of a bug, a failed disk or a folder that is gone. The process then ends with the error.
  const running = Promise.all([own.run(), adopted.run(ending.signal, adoptMs)]);
  running.catch((error: unknown) => fail(spool.isGone ? goneError(spool.folder, error) : error));

  return {
    oldestClickAgeMs: () => {
      const ages = [own, ...adopted.relays].map((relay) => relay.oldestClickAgeMs ?? 0);
      return Math.max(adopted.blocked.oldestClickAgeMs, ...ages);
    },
    problems: () => {
      const [first] = [own, ...adopted.relays].flatMap((relay) => relay.problem ?? []);
      return first === undefined ? [] : [first];
    },
    blockedSpools: () => adopted.blocked.problems,
    measureSpools: () => {
      // The relay looks into the folder only when there are clicks.
      if (spool.isGone && !ending.signal.aborted) fail(goneError(spool.folder));
      return shares.measure();
    },
    shareOfBytes: () => Math.round(shares.bytes() / config.AD_SERVER_WORKERS),
    close: async () => {
      spool.finish();
      own.end();
      ending.abort();
      // `fail` has got the error of a relay.
      const stopped = running.catch(() => {});
      await Promise.race([stopped, sleep(RELAY_DRAIN_MS)]);
      own.abort();
      for (const relay of adopted.relays) relay.abort();
      await stopped;
      spool.close();
    },
  };
}

/** The error that ends an ad server whose spool folder is gone. */
export function goneError(folder: string, cause?: unknown): TollwayError {
  return new TollwayError(
    'bad_data_dir',
    `The spool folder ${folder} is gone: it was moved or deleted while the ad server used it. If it was moved, move it back, and an ad server publishes its clicks. If it was deleted, its unpublished clicks are lost: npx tollway reconcile lists them as missing`,
    { cause },
  );
}

/** Keeps `othersBytes` of a spool current. `bytes`: those of all spools in the folder, blocked ones included, as last measured. */
function followUsage(
  usage: SpoolUsage,
  spool: Spool,
  blocked: BlockedSpools,
): { readonly measure: () => Promise<void>; readonly bytes: () => number } {
  let blockedBytes = 0;
  let running: Promise<void> | null = null;
  const take = () => {
    const sumOf = (isBlocked: boolean) =>
      [...usage.latest].reduce(
        (sum, [folder, bytes]) => sum + (blocked.has(folder) === isBlocked ? bytes : 0),
        0,
      );
    spool.othersBytes = sumOf(false);
    blockedBytes = sumOf(true);
  };
  take();
  return {
    measure: () => {
      running ??= usage.measure().then(() => {
        running = null;
        take();
      });
      return running;
    },
    bytes: () => spool.bytes + spool.othersBytes + blockedBytes,
  };
}
