import type { Admin, Consumer, ConsumerCrashEvent } from 'kafkajs';
import type { Config } from '../../common/config/config.ts';
import { errorCode, TollwayError } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { backoffMs, sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Metrics } from '../../common/telemetry/metrics.ts';
import type { Problem } from '../../common/telemetry/problems.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { CheckpointWriter, type RestartReason, reportRestart } from '../checkpoint-writer.ts';
import { beginCheckpoints, readCheckpoints } from '../checkpoints.ts';
import { type BatchSink, type EventSource, type Lag, oldestClickAt, STOPPING } from '../event-source.ts';
import { OffsetTracker } from '../offset-tracker.ts';
import { SourceHealth } from '../source-health.ts';
import { AssignedPartition } from './assigned-partition.ts';
import { openKafka, partitionsProblem, readPartitions } from './client.ts';
import { commitOffsets, createConsumer, readCommitted } from './consumer-group.ts';
import { explainCrash, explainSource } from './explain.ts';
import { Fetcher } from './fetcher.ts';
import { createIdleReport } from './idle-report.ts';
import { createEachBatch } from './kafkajs-batches.ts';
import { KafkaLag } from './lag.ts';
import { LostRecords } from './lost-records.ts';
import {
  beginTopic,
  chooseStart,
  isFirst,
  isSetBack,
  kafkaSourceName,
  readOffsets,
  type Start,
} from './positions.ts';

/** Time between two checkpoints, in ms. Each also notices a checkpoint that was set back. */
const CHECKPOINT_MS = 500;
/** Failures shorter than this, in ms, are not logged: a coordinator loads, a leader moves. */
const GRACE_MS = 3_000;
/** Wait at shutdown for a join of the group to end, in ms. */
const JOIN_MS_MAX = 5_000;
/** The name of the group's problems until its partitions are open. */
const GROUP = 'group';

/**
 * Consumes a topic as a member of a consumer group: kafkajs joins the group and fetches, unless a `Fetcher` does. This source keeps the positions.
 * A batch goes to the sink as soon as there is capacity, and the checkpoint of its partition follows when it is settled.
 */
class KafkaSource implements EventSource {
  private readonly pool: Pool;
  private readonly sink: BatchSink;
  private readonly config: Config;
  private readonly metrics: Metrics;
  private readonly logger: Logger;
  private readonly reportIdle: (isIdle: boolean) => void;
  private readonly consumer: Consumer;
  private readonly admin: Admin;
  private readonly kafkaLag: KafkaLag;
  private readonly lost: LostRecords;
  private readonly stopping = new AbortController();
  private readonly settling = new Set<Promise<void>>();
  private readonly checkpoints: CheckpointWriter;
  private partitions = new Map<number, AssignedPartition>();
  private opening: Promise<void> = Promise.resolve();
  /** Resolves when kafkajs has joined the group, or has crashed in the attempt. */
  private joining: Promise<void> = Promise.resolve();
  /** Whether the group counts this process as a member, so that no other one reads its partitions. */
  private isMember = false;
  /** The fetcher of `KAFKA_CLIENT=platformatic`, until it ends; `null` if kafkajs fetches. */
  private fetching: Promise<void> | null = null;
  private fail: (error: unknown) => void = () => {};
  private stopped: Promise<void> | null = null;
  private readonly health: SourceHealth;
  private missingSince: number | null = null;

  constructor(pool: Pool, sink: BatchSink, config: Config, deps: { metrics: Metrics; logger: Logger }) {
    this.pool = pool;
    this.sink = sink;
    this.config = config;
    this.metrics = deps.metrics;
    this.logger = deps.logger;
    this.checkpoints = new CheckpointWriter(pool, sink, { ...deps, isSetBack });
    const explain = (error: unknown) => explainSource(error, config);
    this.health = new SourceHealth(explain, { ...deps, stopping: this.stopping.signal, graceMs: GRACE_MS });
    this.reportIdle = createIdleReport(this.health, deps.logger);
    this.health.setWaiting(GROUP, 'it has not joined its consumer group yet');
    const kafka = openKafka(config, 'processor', deps.logger);
    this.admin = kafka.admin();
    this.consumer = createConsumer(kafka, config);
    this.lost = new LostRecords(this.admin, config.KAFKA_TOPIC, deps);
    this.kafkaLag = new KafkaLag(pool, this.admin, config, explain);
  }

  readonly run = async (): Promise<void> => {
    const { signal } = this.stopping;
    const failure = new Promise<never>((_, reject) => {
      this.fail = reject;
    });
    failure.catch(() => {});
    const { GROUP_JOIN, REBALANCING, CRASH } = this.consumer.events;
    this.consumer.on(GROUP_JOIN, ({ payload }) =>
      this.assign(payload.memberAssignment[this.config.KAFKA_TOPIC] ?? []),
    );
    this.consumer.on(REBALANCING, () => {
      this.isMember = false;
    });
    this.consumer.on(CRASH, (event) => this.onCrash(event));
    await this.health.retry('connect', () => this.connect());
    if (this.config.KAFKA_CLIENT === 'platformatic' && !signal.aborted) await this.startFetcher();
    if (signal.aborted) return;
    await this.consume();
    const checkpoints = async () => {
      for (; !signal.aborted; await sleep(CHECKPOINT_MS, signal)) await this.checkpoint();
    };
    await Promise.race([checkpoints(), failure]);
  };

  readonly stop = (): Promise<void> => {
    this.stopped ??= (async () => {
      this.stopping.abort();
      this.pauseAll();
      await this.fetching;
      await Promise.allSettled(this.settling);
      await this.checkpoint();
      // kafkajs that is disconnected while it joins joins all the same, and stays a member that reads nothing. So this waits for the join;
      // the process may end before.
      const left = this.joining.catch(() => {}).then(() => this.consumer.disconnect());
      await Promise.race([Promise.allSettled([left]), sleep(JOIN_MS_MAX)]);
      await Promise.allSettled([this.admin.disconnect()]);
    })();
    return this.stopped;
  };

  readonly lag = (): Promise<Lag> => this.kafkaLag.measure((partition) => this.partitions.get(partition));

  readonly problems = (): readonly Problem[] => this.health.problems;

  readonly isFailing = (): boolean => this.health.isFailing;

  private async connect(): Promise<void> {
    await this.admin.connect();
    const partitions = await readPartitions(this.admin, this.config).catch((error: TollwayError) => {
      // A topic that is missing at the start is a mistake. But brokers learn of a new topic one after the other, so the error becomes
      // final (not retryable) only after a while.
      this.missingSince = error.code === 'kafka_topic' ? (this.missingSince ?? performance.now()) : null;
      const isFinal = this.missingSince !== null && performance.now() - this.missingSince > GRACE_MS;
      throw isFinal ? new TollwayError(error.code, error.message) : error;
    });
    const few = partitionsProblem(partitions.length, this.config);
    if (few !== null) this.logger.warn(few);
    await this.consumer.connect();
    // If kafkajs has no offset of its own it must not skip records. `begin` seeks the right offset in any case.
    await this.consumer.subscribe({ topics: [this.config.KAFKA_TOPIC], fromBeginning: true });
    await beginTopic(this.pool, this.admin, this.config);
  }

  /** Fetches beside kafkajs, which is then the member of the group and fetches nothing. */
  private async startFetcher(): Promise<void> {
    const fetcher = await Fetcher.open(this.config, {
      health: this.health,
      partitions: () =>
        this.isMember ? [...this.partitions.values()].filter(({ tracker }) => tracker !== null) : [],
      waitForCapacity: this.sink.waitForCapacity,
      submit: (assigned, records, next) => this.submit(assigned, records, next),
      onOutOfRange: (assigned) => this.onOutOfRange(assigned),
      fail: (error) => this.fail(error),
    });
    this.fetching = fetcher.run(this.stopping.signal);
  }

  private async consume(): Promise<void> {
    this.joining = this.consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: this.config.PARALLELIZATION,
      eachBatch: createEachBatch({
        topic: this.config.KAFKA_TOPIC,
        partitionOf: (partition) => this.partitions.get(partition),
        opening: () => this.opening,
        isStopping: () => this.stopping.signal.aborted,
        waitForCapacity: this.sink.waitForCapacity,
        seek: (assigned) => this.seek(assigned),
        reportGap: (assigned, first) => this.lost.reportGap(assigned, first),
        submit: (assigned, records, next) => this.submit(assigned, records, next),
        onCreatedAgain: (assigned) =>
          this.restartFromCheckpoint(assigned, undefined, 'The topic was created again'),
      }),
    });
    await this.joining;
  }

  /** After a rebalance: partitions that stay continue where they are, new ones are opened, the others are dropped. */
  private assign(partitions: readonly number[]): void {
    this.isMember = true;
    if (this.fetching !== null) this.pauseAll();
    const before = this.partitions;
    this.partitions = new Map();
    for (const partition of partitions) {
      const kept = before.get(partition);
      if (kept?.tracker) this.seek(kept);
      this.partitions.set(partition, kept ?? new AssignedPartition(partition));
    }
    for (const [partition, assigned] of before) {
      if (!this.partitions.has(partition)) assigned.abort.abort();
    }
    this.reportIdle(partitions.length === 0 && !this.stopping.signal.aborted);
    this.opening = this.opening.then(() => this.open());
  }

  /** Chooses the start offset of each new partition. Resolves early only when the source is stopping. */
  private async open(): Promise<void> {
    const openAll = async () => {
      const fresh = [...this.partitions.values()].filter(({ tracker }) => tracker === null);
      if (fresh.length === 0) return;
      const offsets = await readOffsets(this.admin, this.config.KAFKA_TOPIC);
      const committed = await readCommitted(this.admin, this.config);
      const stored = await readCheckpoints(this.pool, kafkaSourceName(this.config));
      for (const assigned of fresh) {
        const { partition } = assigned;
        const range = offsets.get(partition);
        if (!range)
          throw new TollwayError('kafka', `Partition ${partition} has no leader`, { retryable: true });
        const position = stored.get(String(partition));
        const start = chooseStart(range, position, committed.get(partition) ?? null);
        await this.begin(assigned, start, position);
      }
    };
    await this.health.retry(GROUP, openAll).catch((error: unknown) => this.fail(error));
  }

  private async begin(assigned: AssignedPartition, start: Start, stored: string | undefined): Promise<void> {
    const begin = String(start.offset);
    const where = { topic: this.config.KAFKA_TOPIC, partition: assigned.partition };
    if (start.notice !== null) this.logger.error(where, start.notice);
    this.metrics.brokerLost.inc(start.lost);
    if (stored === undefined) {
      const first = new Map([[String(assigned.partition), begin]]);
      await beginCheckpoints(this.pool, kafkaSourceName(this.config), first);
    }
    assigned.tracker = new OffsetTracker(stored ?? begin);
    assigned.tracker.settledTo = begin;
    assigned.next = start.offset;
    assigned.sought = -1;
    this.seek(assigned);
  }

  /** A paused consumer fetches nothing but keeps sending heartbeats. */
  private pauseAll(): void {
    try {
      this.consumer.pause([{ topic: this.config.KAFKA_TOPIC }]);
    } catch {} // The consumer is not running.
  }

  private seek({ partition, next }: AssignedPartition): void {
    try {
      this.consumer.seek({ topic: this.config.KAFKA_TOPIC, partition, offset: String(next) });
    } catch {
      // kafkajs cannot seek between a crash and its restart. `assign` seeks again when it rejoins the group.
    }
  }

  /** Passes the records up to the offset `next` to the sink. */
  private submit(assigned: AssignedPartition, records: readonly ReadRecord[], next: number): void {
    const { tracker } = assigned;
    if (tracker === null) return;
    assigned.next = next;
    const settled = tracker.add(String(next), oldestClickAt(records));
    const submitted = this.sink
      .submit(records, assigned.abort.signal)
      .then(settled, (error: unknown) => {
        // After STOPPING the next owner of the partition reads the batch again.
        if (errorCode(error) !== STOPPING) this.fail(error);
      })
      .finally(() => this.settling.delete(submitted));
    this.settling.add(submitted);
  }

  /** The broker has no record at the next offset: it has deleted it, or the topic was created again. */
  private async onOutOfRange(assigned: AssignedPartition): Promise<void> {
    const { low = 0, high = 0 } = (await this.lost.readRange(assigned)) ?? {};
    if (this.partitions.get(assigned.partition) !== assigned) return;
    if (high < assigned.next)
      return this.restartFromCheckpoint(assigned, undefined, 'The topic was created again');
    this.lost.report(assigned, low);
    assigned.next = Math.max(low, assigned.next);
  }

  /** Stores how far each partition is settled, in the group and in the database, and notices checkpoints that were set back. */
  private checkpoint(): Promise<void> {
    return this.checkpoints.exclusive(async () => {
      const settled = [...this.partitions.values()].flatMap((reader) => {
        const { tracker, partition } = reader;
        return tracker ? { reader, tracker, partition: String(partition), next: tracker.settledTo } : [];
      });
      if (settled.length === 0) return;
      // In the group first: only its offset shows that reading has begun after the first start, see `chooseStart`.
      const isCommitted = await commitOffsets(
        { consumer: this.consumer, admin: this.admin, config: this.config, logger: this.logger },
        settled,
      );
      const moves = settled.map((partition) => ({
        ...partition,
        next: isCommitted || !isFirst(partition.tracker.known) ? partition.next : partition.tracker.known,
      }));
      await this.checkpoints.move(kafkaSourceName(this.config), moves, (reader, position, reason) =>
        this.restartFromCheckpoint(reader, position, reason),
      );
    });
  }

  private restartFromCheckpoint(
    assigned: AssignedPartition,
    position: string | undefined,
    reason: RestartReason,
  ): void {
    if (this.partitions.get(assigned.partition) !== assigned) return;
    reportRestart(this.logger, String(assigned.partition), position, reason);
    assigned.abort.abort();
    this.partitions.set(assigned.partition, new AssignedPartition(assigned.partition));
    this.opening = this.opening.then(() => this.open());
  }

  private onCrash({ payload: { error } }: ConsumerCrashEvent): void {
    this.isMember = false;
    const { signal } = this.stopping;
    const explained = explainSource(error, this.config);
    if (explained.retryable) this.health.reportFailure(GROUP, explained);
    if (signal.aborted) return;
    if (!explained.retryable) {
      const offsets = [...this.partitions.values()].map(({ partition, next }) => `${partition}@${next}`);
      return this.fail(explainCrash(error, explained, this.config, offsets));
    }
    const reconnect = async () => {
      await sleep(backoffMs(3), signal);
      if (signal.aborted) return;
      await this.consumer.connect();
      if (signal.aborted) await this.consumer.disconnect();
      else await this.consume();
    };
    this.health.retry('connect', reconnect).catch((failure: unknown) => this.fail(failure));
  }
}

/** The source of `KAFKA_TOPIC`. */
export function createKafkaSource(
  pool: Pool,
  sink: BatchSink,
  config: Config,
  deps: { metrics: Metrics; logger: Logger },
): EventSource {
  return new KafkaSource(pool, sink, config, deps);
}
