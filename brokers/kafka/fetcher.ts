import type { Broker, ConnectionPool } from '@platformatic/kafka';
import type { Config } from '../../common/config/config.ts';
import type { TollwayError } from '../../common/errors.ts';
import { backoffMs, sleep } from '../../common/process.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import type { SourceHealth } from '../source-health.ts';
import type { AssignedPartition } from './assigned-partition.ts';
import { explainKafka } from './explain.ts';
import { FETCH, FETCH_VERSION, type FetchedPartition, fetchPartitions } from './fetch.ts';
import { closePool, loadPlatformatic, openPool, type Platformatic } from './platformatic.ts';
import { type ReadBatches, readBatches } from './read-batches.ts';
import { TopicLeaders } from './topic-leaders.ts';

/**
 * Limits of an answer, and of each partition in it, in bytes. Larger answers make larger batches: with a quarter of these limits, a backlog takes
 * 20 % more CPU time and 15 MB less memory.
 */
const ANSWER_BYTES_MAX = 4_194_304;
const PARTITION_BYTES_MAX = 1_048_576;
/** With this minimum, the broker answers as soon as it has any record. */
const NO_WAIT_BYTES = 1;
/** Time between two looks for partitions that no loop reads, in ms. */
const LOOK_MS = 100;
const OFFSET_OUT_OF_RANGE = 1;

export type FetcherDeps = {
  readonly health: SourceHealth;
  /** The partitions to read now: those with a tracker. Empty while this process is not a member of the group. */
  readonly partitions: () => readonly AssignedPartition[];
  readonly waitForCapacity: (signal: AbortSignal) => Promise<void>;
  /** Passes records on. `next` is the offset after the last one that was read. */
  readonly submit: (assigned: AssignedPartition, records: readonly ReadRecord[], next: number) => void;
  /** The broker has no record at the next offset: it has deleted it, or the topic was created again. */
  readonly onOutOfRange: (assigned: AssignedPartition) => Promise<void>;
  /** Ends the source. */
  readonly fail: (error: unknown) => void;
};

/**
 * Fetches the partitions of this process over connections of @platformatic/kafka, from the leader of each, in one loop for each leader. It keeps no
 * positions: an answer counts only if its partition is still to be read from the offset that was requested.
 */
export class Fetcher {
  private readonly library: Platformatic;
  private readonly pool: ConnectionPool;
  private readonly leaders: TopicLeaders;
  private readonly config: Config;
  private readonly deps: FetcherDeps;
  /** The running loops, by the address of the broker. */
  private readonly loops = new Map<string, Promise<void>>();
  /** The brokers that have failed and not answered since. */
  private readonly failing = new Set<string>();

  private constructor(library: Platformatic, config: Config, deps: FetcherDeps) {
    this.library = library;
    this.pool = openPool(library, config, 'processor');
    this.leaders = new TopicLeaders(library, this.pool, config.KAFKA_BROKERS, config.KAFKA_TOPIC);
    this.config = config;
    this.deps = deps;
  }

  /** Throws `bad_settings`. */
  static async open(config: Config, deps: FetcherDeps): Promise<Fetcher> {
    return new Fetcher(await loadPlatformatic(), config, deps);
  }

  /** Fetches until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; ) {
      try {
        await this.startLoops(signal);
        failures = 0;
        this.deps.health.clear('leaders');
        await sleep(LOOK_MS, signal);
      } catch (error) {
        failures += 1;
        this.report('leaders', error);
        await sleep(backoffMs(failures), signal);
      }
    }
    await Promise.allSettled(this.loops.values());
    await closePool(this.pool);
  }

  /** Starts a loop for each leader of a partition that has none. */
  private async startLoops(signal: AbortSignal): Promise<void> {
    const wanted = this.deps.partitions();
    if (wanted.length === 0) return this.recoverAllBut(new Map());
    const { leaderOf } = await this.leaders.get();
    const brokers = new Map<string, Broker>();
    for (const { partition } of wanted) {
      const broker = leaderOf.get(partition);
      if (broker !== undefined) brokers.set(addressOf(broker), broker);
    }
    // A partition without a leader is found again once it has one.
    if (wanted.some(({ partition }) => !leaderOf.has(partition))) this.leaders.forget();
    this.recoverAllBut(brokers);
    for (const [name, broker] of brokers) {
      if (this.loops.has(name)) continue;
      const loop = this.fetchFrom(broker, name, signal).finally(() => this.loops.delete(name));
      this.loops.set(name, loop);
    }
  }

  /** Fetches from one broker until it leads no partition to read, or fails. */
  private async fetchFrom(broker: Broker, name: string, signal: AbortSignal): Promise<void> {
    let isBehind = true;
    try {
      while (!signal.aborted) {
        await this.deps.waitForCapacity(signal);
        const { leaderOf } = await this.leaders.get();
        const led = this.deps.partitions().filter(({ partition }) => {
          const leader = leaderOf.get(partition);
          return leader !== undefined && addressOf(leader) === name;
        });
        if (led.length === 0 || signal.aborted) return;
        isBehind = await this.fetchOnce(broker, rotate(led), isBehind, signal);
        this.recover(name);
      }
    } catch (error) {
      this.leaders.forget();
      this.failing.add(name);
      this.report(name, error);
      await sleep(backoffMs(1), signal);
    }
  }

  /**
   * Fetches partitions from one broker and passes on what was read of all of them together, so that it can be charged in one transaction. The broker
   * answers at once if `isBehind`, else after `BATCH_WINDOW_MS` or with a full answer. Resolves to whether the broker has more records.
   */
  private async fetchOnce(
    broker: Broker,
    led: readonly AssignedPartition[],
    isBehind: boolean,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { KAFKA_TOPIC: topic, BATCH_WINDOW_MS: waitMs } = this.config;
    const connection = await this.pool.get(broker);
    const requested = new Map(led.map(({ partition, next }) => [partition, next]));
    const answers = await fetchPartitions(this.library, connection, topic, requested, {
      waitMs,
      bytesMin: isBehind ? NO_WAIT_BYTES : ANSWER_BYTES_MAX,
      bytesMax: ANSWER_BYTES_MAX,
      partitionBytesMax: PARTITION_BYTES_MAX,
    });
    const errors: FetchedPartition[] = [];
    const unreadable: unknown[] = [];
    const read: { assigned: AssignedPartition; from: number; batches: ReadBatches }[] = [];
    let hasMore = false;
    for (const answer of answers) {
      const assigned = led.find(({ partition }) => partition === answer.partition);
      const from = requested.get(answer.partition);
      if (assigned === undefined || from === undefined) continue;
      if (answer.errorCode === OFFSET_OUT_OF_RANGE) await this.deps.onOutOfRange(assigned);
      else if (answer.errorCode !== 0) errors.push(answer);
      else {
        // A partition that cannot be read must not keep the others from being charged.
        const batches = await this.read(assigned, from, answer).catch((error: unknown) => {
          unreadable.push(error);
          return null;
        });
        if (batches === null) continue;
        read.push({ assigned, from, batches });
        hasMore ||= batches.next < answer.highWatermark;
      }
    }
    await this.submit(read, signal);
    if (unreadable.length > 0) throw unreadable[0];
    if (errors.length === 0) return hasMore;
    const codes: Record<string, [number, null]> = {};
    for (const { partition, errorCode } of errors) codes[`/partitions/${partition}`] = [errorCode, null];
    throw new this.library.ResponseError(FETCH, FETCH_VERSION, codes, {});
  }

  private read(
    { partition }: AssignedPartition,
    from: number,
    { batches, aborted }: FetchedPartition,
  ): Promise<ReadBatches> {
    const place = `${this.config.KAFKA_TOPIC}/${partition}`;
    return readBatches(batches, aborted, { from, place, crc32c: this.library.crc32c });
  }

  private async submit(
    read: readonly { assigned: AssignedPartition; from: number; batches: ReadBatches }[],
    signal: AbortSignal,
  ): Promise<void> {
    if (read.length === 0) return;
    await this.deps.waitForCapacity(signal);
    if (signal.aborted) return;
    for (const { assigned, from, batches } of read) {
      // The partition can have been given up, or set back, in the meantime.
      const isCurrent = this.deps.partitions().includes(assigned) && assigned.next === from;
      if (isCurrent && batches.next > from) this.deps.submit(assigned, batches.records, batches.next);
    }
  }

  private report(name: string, error: unknown): void {
    const explained: TollwayError = explainKafka(error, this.config);
    if (explained.retryable) this.deps.health.reportFailure(name, explained);
    else this.deps.fail(explained);
  }

  /** A broker that leads no partition to read is not asked any more, so nothing else would clear its failure. */
  private recoverAllBut(brokers: ReadonlyMap<string, Broker>): void {
    for (const name of this.failing) if (!brokers.has(name)) this.recover(name);
  }

  private recover(name: string): void {
    this.failing.delete(name);
    this.deps.health.clear(name);
  }
}

function addressOf({ host, port }: Broker): string {
  return `${host}:${port}`;
}

/** In another order each time: a broker fills its answer with the first partitions. */
let rotations = 0;
function rotate<T>(items: readonly T[]): T[] {
  rotations += 1;
  const first = rotations % items.length;
  return [...items.slice(first), ...items.slice(0, first)];
}
