import type { Admin, Consumer, ConsumerCrashEvent, EachBatchPayload, KafkaMessage } from 'kafkajs';
import type { Config } from '../../common/config/config.ts';
import { errorCode, TollwayError } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { backoffMs, sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Metrics } from '../../common/telemetry/metrics.ts';
import type { Problem } from '../../common/telemetry/problems.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import { CheckpointWriter, type RestartReason, reportRestart } from '../checkpoint-writer.ts';
import { beginCheckpoints, readCheckpoints } from '../checkpoints.ts';
import { type BatchSink, type EventSource, type Lag, oldestClickAt, STOPPING } from '../event-source.ts';
import { OffsetTracker } from '../offset-tracker.ts';
import { SourceHealth } from '../source-health.ts';
import { AssignedPartition } from './assigned-partition.ts';
import { explainCrash, explainSource, openKafka, partitionsProblem, readPartitions } from './client.ts';
import { commitOffsets, createConsumer, readCommitted, withHeartbeats } from './consumer-group.ts';
import { KafkaLag } from './lag.ts';
import { readMessages } from './messages.ts';
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
/** The name of the group's problems until its partitions are open. */
const GROUP = 'group';
const IDLE = 'it has no partition, because there are more processors than partitions (KAFKA_PARTITIONS)';

/**
 * Consumes a topic as a member of a consumer group. Reading does not wait for settling: a batch goes to the sink as soon as there is
 * capacity, and the checkpoint of its partition follows when it is settled. kafkajs only fetches; this source keeps the positions itself:
 * it accepts a batch that starts at the next offset and seeks otherwise.
 */
class KafkaSource implements EventSource {
  private readonly pool: Pool;
  private readonly sink: BatchSink;
  private readonly config: Config;
  private readonly metrics: Metrics;
  private readonly logger: Logger;
  private readonly idleLog: ThrottledLog;
  private readonly consumer: Consumer;
  private readonly admin: Admin;
  private readonly kafkaLag: KafkaLag;
  private readonly stopping = new AbortController();
  private readonly settling = new Set<Promise<void>>();
  private readonly checkpoints: CheckpointWriter;
  private partitions = new Map<number, AssignedPartition>();
  private opening: Promise<void> = Promise.resolve();
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
    this.idleLog = new ThrottledLog(deps.logger, {
      failed: `This processor is idle: ${IDLE}. Run npx tollway topics create to add partitions`,
      recovered: 'This processor has partitions to read again',
    });
    this.checkpoints = new CheckpointWriter(pool, sink, { ...deps, isSetBack });
    const explain = (error: unknown) => explainSource(error, config);
    this.health = new SourceHealth(explain, { ...deps, stopping: this.stopping.signal, graceMs: GRACE_MS });
    this.health.setWaiting(GROUP, 'it has not joined its consumer group yet');
    const kafka = openKafka(config, 'processor', deps.logger);
    this.admin = kafka.admin();
    this.consumer = createConsumer(kafka, config);
    this.kafkaLag = new KafkaLag(pool, this.admin, config, explain);
  }

  readonly run = async (): Promise<void> => {
    const { signal } = this.stopping;
    const failure = new Promise<never>((_, reject) => {
      this.fail = reject;
    });
    failure.catch(() => {});
    const { GROUP_JOIN, CRASH } = this.consumer.events;
    this.consumer.on(GROUP_JOIN, ({ payload }) =>
      this.assign(payload.memberAssignment[this.config.KAFKA_TOPIC] ?? []),
    );
    this.consumer.on(CRASH, (event) => this.onCrash(event));
    await this.health.retry('connect', () => this.connect());
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
      // A paused consumer fetches nothing but keeps sending heartbeats.
      try {
        this.consumer.pause([{ topic: this.config.KAFKA_TOPIC }]);
      } catch {} // The consumer is not running.
      await Promise.allSettled(this.settling);
      await this.checkpoint();
      await Promise.allSettled([this.consumer.disconnect(), this.admin.disconnect()]);
    })();
    return this.stopped;
  };

  readonly lag = (): Promise<Lag> =>
    this.kafkaLag.measure((partition) => this.partitions.get(partition)?.tracker?.oldestAt ?? null);

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
    await beginTopic(this.pool, this.admin, this.config);
  }

  private async consume(): Promise<void> {
    // If kafkajs has no offset of its own it must not skip records. `begin` seeks the right offset in any case.
    await this.consumer.subscribe({ topics: [this.config.KAFKA_TOPIC], fromBeginning: true });
    await this.consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: this.config.PARALLELIZATION,
      eachBatch: (payload) => this.accept(payload),
    });
  }

  /** After a rebalance: partitions that stay continue where they are, new ones are opened, the others are dropped. */
  private assign(partitions: readonly number[]): void {
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
    const isIdle = partitions.length === 0 && !this.stopping.signal.aborted;
    if (isIdle) {
      this.health.setWaiting('idle', IDLE);
      this.idleLog.fail({});
    } else {
      this.health.clear('idle');
      this.idleLog.recover();
    }
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

  private seek({ partition, next }: AssignedPartition): void {
    try {
      this.consumer.seek({ topic: this.config.KAFKA_TOPIC, partition, offset: String(next) });
    } catch {
      // kafkajs cannot seek between a crash and its restart. `assign` seeks again when it rejoins the group.
    }
  }

  /** Accepts one batch from kafkajs and passes it to the sink. Does not wait until it is settled. */
  private async accept(payload: EachBatchPayload): Promise<void> {
    const { batch, heartbeat, isRunning, isStale } = payload;
    // A partition that cannot be opened must not keep the others from being read.
    if (this.partitions.get(batch.partition)?.tracker == null) await withHeartbeats(this.opening, heartbeat);
    const assigned = this.partitions.get(batch.partition);
    const tracker = assigned?.tracker;
    const isOver = () =>
      this.partitions.get(batch.partition) !== assigned ||
      this.stopping.signal.aborted ||
      !isRunning() ||
      isStale();
    if (!assigned || !tracker || isOver()) return;
    await withHeartbeats(this.sink.waitForCapacity(assigned.abort.signal), heartbeat);
    if (isOver()) return;
    const first = Number(batch.firstOffset() ?? assigned.next);
    if (first > assigned.next) {
      if (assigned.sought !== assigned.next) {
        assigned.sought = assigned.next;
        return this.seek(assigned);
      }
      await this.reportGap(assigned, first);
      if (isOver()) return;
    }
    this.submit(assigned, tracker, payload);
  }

  private submit(
    assigned: AssignedPartition,
    tracker: OffsetTracker,
    { batch, resolveOffset }: EachBatchPayload,
  ): void {
    const last = Number(batch.lastOffset());
    if (last < assigned.next) {
      // The partition ends before the offsets that were read from it: the topic was created again or truncated.
      if (Number(batch.highWatermark) < assigned.next)
        return this.restartFromCheckpoint(assigned, undefined, 'The topic was created again');
      return this.seek(assigned);
    }
    const isNew = ({ offset }: KafkaMessage) => Number(offset) >= assigned.next;
    const hasOld = Number(batch.firstOffset()) < assigned.next;
    const messages = hasOld ? batch.messages.filter(isNew) : batch.messages;
    const records = readMessages(messages, this.config.KAFKA_TOPIC, batch.partition);
    assigned.next = last + 1;
    resolveOffset(String(last));
    const settled = tracker.add(String(assigned.next), oldestClickAt(records));
    const submitted = this.sink
      .submit(records, assigned.abort.signal)
      .then(settled, (error: unknown) => {
        // After STOPPING the next owner of the partition reads the batch again.
        if (errorCode(error) !== STOPPING) this.fail(error);
      })
      .finally(() => this.settling.delete(submitted));
    this.settling.add(submitted);
  }

  /** Reports records that the broker deleted before they were read. A gap without them is harmless: transaction markers of Kafka. */
  private async reportGap(assigned: AssignedPartition, first: number): Promise<void> {
    const { KAFKA_TOPIC: topic } = this.config;
    const { low = 0 } = (await readOffsets(this.admin, topic)).get(assigned.partition) ?? {};
    const lost = Math.max(0, Math.min(low, first) - assigned.next);
    if (lost === 0) return;
    this.metrics.brokerLost.inc(lost);
    this.logger.error(
      { topic, partition: assigned.partition },
      `The broker has deleted records that were not read: ${lost}, from offset ${assigned.next} on`,
    );
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
    const { partition } = assigned;
    if (this.partitions.get(partition) !== assigned) return;
    reportRestart(this.logger, String(partition), position, reason);
    assigned.abort.abort();
    this.partitions.set(partition, new AssignedPartition(partition));
    this.opening = this.opening.then(() => this.open());
  }

  private onCrash({ payload: { error, restart } }: ConsumerCrashEvent): void {
    const explained = explainSource(error, this.config);
    if (restart || explained.retryable) this.health.reportFailure(GROUP, explained);
    if (restart || this.stopping.signal.aborted) return;
    if (!explained.retryable) {
      const offsets = [...this.partitions.values()].map(({ partition, next }) => `${partition}@${next}`);
      return this.fail(explainCrash(error, explained, this.config, offsets));
    }
    // kafkajs retries a limited number of times; this source retries without limit.
    const reconnect = async () => {
      await sleep(backoffMs(3), this.stopping.signal);
      await this.consumer.connect();
      if (!this.stopping.signal.aborted) await this.consume();
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
