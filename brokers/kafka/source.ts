import type { Admin, Consumer, ConsumerCrashEvent, EachBatchPayload, KafkaMessage } from 'kafkajs';
import pLimit from 'p-limit';
import type { Config } from '../../common/config/config.ts';
import { withDeadline } from '../../common/deadline.ts';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { failureKind, type Pool } from '../../common/postgres/postgres.ts';
import { backoffMs, sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Metrics } from '../../common/telemetry/metrics.ts';
import type { Problem } from '../../common/telemetry/problems.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import { type ReadRecord, readRecord } from '../../contract/click-event.ts';
import {
  beginCheckpoints,
  CheckpointReport,
  moveCheckpoints,
  OffsetTracker,
  readCheckpoints,
} from '../checkpoints.ts';
import { type BatchSink, type EventSource, type Lag, oldestClickAt, STOPPING } from '../event-source.ts';
import { SourceHealth } from '../source-health.ts';
import { explainKafka, openKafka, partitionsProblem, readPartitions } from './client.ts';
import {
  beginTopic,
  isFirst,
  isSetBack,
  kafkaSourceName,
  offsetOf,
  readOffsets,
  type Start,
  startOf,
} from './positions.ts';

/** A member that is silent so long is taken for dead, in ms; its partitions go to the others. */
const SESSION_MS = 10_000;
const HEARTBEAT_MS = 2_000;
const REBALANCE_MS = 20_000;
/** How often checkpoints are written, and looked at for somebody having set them back, in ms. */
const CHECKPOINT_MS = 500;
/** Most that one fetch brings, in bytes, and least that it waits for (at most `BATCH_WINDOW_MS`). */
const FETCH_BYTES_MAX = 1_048_576;
const FETCH_BYTES_MIN = 131_072;
const PARTITION_BYTES_MAX = 262_144;
/** How soon a partition that was added is noticed, in ms. */
const METADATA_AGE_MS = 30_000;
/** A failure shorter than this, in ms, is daily life: a coordinator that loads, a leader that moves. */
const GRACE_MS = 3_000;
/** Longest wait for the group to take offsets, in ms. */
const COMMIT_MS_MAX = 2_000;
/** Longest wait for the brokers to say where their partitions end, in ms; then they count as away. */
const LAG_MS_MAX = 2_500;
/** The name under which the group's problems are noted, until its partitions are open. */
const GROUP = 'group';
/** Why reading goes on from another place than where it stood. */
const SET_BACK = 'The checkpoint was set back (a rewind, or a restored database)';
const MOVED_ON = 'Another processor has moved the checkpoint on: reading goes on from there';
const IDLE = 'it has no partition, because there are more processors than partitions (KAFKA_PARTITIONS)';

/** A partition that the group has given us. */
class AssignedPartition {
  readonly partition: number;
  readonly abort = new AbortController();
  tracker: OffsetTracker | null = null;
  /** The offset that is taken next. */
  next = 0;
  /** The offset that was sought in vain: then the broker has nothing there. */
  sought = -1;

  constructor(partition: number) {
    this.partition = partition;
  }
}

/**
 * Consumes a topic as one of a group. Taking is decoupled from settling: a batch is handed on as soon as there is room, and
 * the checkpoint of its partition follows once it is settled. kafkajs only fetches; where reading stands is ours:
 * an offset is taken if it is the next one, and sought if it is not.
 */
class KafkaSource implements EventSource {
  private readonly pool: Pool;
  private readonly sink: BatchSink;
  private readonly config: Config;
  private readonly metrics: Metrics;
  private readonly logger: Logger;
  private readonly idling: ThrottledLog;
  private readonly consumer: Consumer;
  private readonly admin: Admin;
  private readonly stopping = new AbortController();
  private readonly settling = new Set<Promise<void>>();
  /** One at a time: two would each take the other's for somebody else's. */
  private readonly checkpointing = pLimit(1);
  private readonly checkpointReport: CheckpointReport;
  private partitions = new Map<number, AssignedPartition>();
  /** Where each partition of the topic was last seen to stand, and since when, on the clock of `performance.now()`. */
  private readonly looks = new Map<number, { readonly at: number; readonly since: number }>();
  private opening: Promise<void> = Promise.resolve();
  private failed: (error: unknown) => void = () => {};
  private stopped: Promise<void> | null = null;
  private readonly health: SourceHealth;
  private missingSince: number | null = null;
  private offsets: ReturnType<typeof readOffsets> | null = null;

  constructor(pool: Pool, sink: BatchSink, config: Config, deps: { metrics: Metrics; logger: Logger }) {
    this.pool = pool;
    this.sink = sink;
    this.config = config;
    this.metrics = deps.metrics;
    this.logger = deps.logger;
    this.idling = new ThrottledLog(deps.logger, {
      failed: `This processor is idle: ${IDLE}. Run npx tollway topics create to add partitions`,
      recovered: 'This processor has partitions to read again',
    });
    this.checkpointReport = new CheckpointReport(deps);
    const explain = (error: unknown) => this.explain(error);
    this.health = new SourceHealth(explain, { ...deps, stopping: this.stopping.signal, graceMs: GRACE_MS });
    this.health.setWaiting(GROUP, 'it has not joined its consumer group yet');
    const kafka = openKafka(config, 'processor', deps.logger);
    this.admin = kafka.admin();
    this.consumer = kafka.consumer({
      groupId: config.KAFKA_GROUP,
      allowAutoTopicCreation: false,
      sessionTimeout: SESSION_MS,
      heartbeatInterval: HEARTBEAT_MS,
      rebalanceTimeout: REBALANCE_MS,
      metadataMaxAge: METADATA_AGE_MS,
      // While it waits there are no heartbeats.
      maxWaitTimeInMs: Math.min(config.BATCH_WINDOW_MS, HEARTBEAT_MS),
      minBytes: FETCH_BYTES_MIN,
      maxBytes: FETCH_BYTES_MAX,
      maxBytesPerPartition: PARTITION_BYTES_MAX,
      retry: { retries: 2, initialRetryTime: 100, maxRetryTime: 1_000 },
    });
  }

  readonly run = async (): Promise<void> => {
    const { signal } = this.stopping;
    const failure = new Promise<never>((_, reject) => {
      this.failed = reject;
    });
    failure.catch(() => {});
    const { GROUP_JOIN, CRASH } = this.consumer.events;
    this.consumer.on(GROUP_JOIN, ({ payload }) =>
      this.assign(payload.memberAssignment[this.config.KAFKA_TOPIC] ?? []),
    );
    this.consumer.on(CRASH, (event) => this.onCrash(event));
    await this.health.untilAnswered('connect', () => this.connect());
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
      // Fetching goes on without partitions, and with it the heartbeats.
      const { KAFKA_TOPIC: topic } = this.config;
      try {
        this.consumer.pause([{ topic }]);
      } catch {
        // It does not consume at the moment.
      }
      await Promise.allSettled(this.settling);
      await this.checkpoint();
      await Promise.allSettled([this.consumer.disconnect(), this.admin.disconnect()]);
    })();
    return this.stopped;
  };

  readonly lag = async (): Promise<Lag> => {
    const brokers = `KAFKA_BROKERS: ${this.config.KAFKA_BROKERS.join(',')}`;
    const offsets = await withDeadline(this.readOffsetsOnce(), LAG_MS_MAX, brokers);
    const stored = await readCheckpoints(this.pool, kafkaSourceName(this.config)).catch((error: unknown) => {
      throw this.explain(error);
    });
    const now = performance.now();
    let records = 0;
    const ages = [...offsets].map(([partition, { low, high }]) => {
      const position = stored.get(String(partition));
      const at = Math.max(low, position === undefined ? low : offsetOf(position));
      records += Math.max(0, high - at);
      const before = this.looks.get(partition);
      // Where nothing waits, or something has moved, it is looked at anew: that holds for what nobody reads, too.
      const since = at < high && before?.at === at ? before.since : now;
      this.looks.set(partition, { at, since });
      const oldestAt = this.partitions.get(partition)?.tracker?.oldestAt ?? null;
      return Math.max(now - since, oldestAt === null ? 0 : Date.now() - oldestAt);
    });
    return { records, oldestAgeSeconds: Math.max(0, ...ages) / 1_000 };
  };

  readonly problems = (): readonly Problem[] => this.health.problems;

  readonly isFailing = (): boolean => this.health.isFailing;

  /** A frozen broker is asked once, however often the lag is wanted meanwhile. */
  private readOffsetsOnce(): ReturnType<typeof readOffsets> {
    this.offsets ??= readOffsets(this.admin, this.config.KAFKA_TOPIC).finally(() => {
      this.offsets = null;
    });
    return this.offsets;
  }

  private async connect(): Promise<void> {
    await this.admin.connect();
    const partitions = await readPartitions(this.admin, this.config).catch((error: TollwayError) => {
      // A topic that is not there when we start is a mistake, but brokers hear of a new one late; one that goes away comes back.
      this.missingSince = error.code === 'kafka_topic' ? (this.missingSince ?? performance.now()) : null;
      const isSure = this.missingSince !== null && performance.now() - this.missingSince > GRACE_MS;
      throw isSure ? new TollwayError(error.code, error.message) : error;
    });
    const few = partitionsProblem(partitions.length, this.config);
    if (few !== null) this.logger.warn(few);
    await this.consumer.connect();
    await beginTopic(this.pool, this.admin, this.config);
  }

  private async consume(): Promise<void> {
    // Never skips what it finds, should kafkajs have no other offset to begin with; ours are sought anyway.
    await this.consumer.subscribe({ topics: [this.config.KAFKA_TOPIC], fromBeginning: true });
    await this.consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: this.config.PARALLELIZATION,
      eachBatch: (payload) => this.take(payload),
    });
  }

  /** The group has dealt its partitions anew. What we keep goes on where it is; what is new is opened; what is gone is dropped. */
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
      this.idling.fail({});
    } else {
      this.health.settle('idle');
      this.idling.recover();
    }
    this.opening = this.opening.then(() => this.open());
  }

  /** Finds out where the partitions begin that are new to us. Resolves early only if we are stopping. */
  private async open(): Promise<void> {
    const openAll = async () => {
      const fresh = [...this.partitions.values()].filter(({ tracker }) => tracker === null);
      if (fresh.length === 0) return;
      const offsets = await readOffsets(this.admin, this.config.KAFKA_TOPIC);
      const committed = await this.readCommitted();
      const stored = await readCheckpoints(this.pool, kafkaSourceName(this.config));
      for (const assigned of fresh) {
        const { partition } = assigned;
        const range = offsets.get(partition);
        if (!range)
          throw new TollwayError('kafka', `Partition ${partition} has no leader`, { retryable: true });
        const position = stored.get(String(partition));
        const start = startOf(range, position, committed.get(partition) ?? null);
        await this.begin(assigned, start, position);
      }
    };
    await this.health.untilAnswered(GROUP, openAll).catch((error: unknown) => this.failed(error));
  }

  /** The offsets that the group has; a partition without one is absent. */
  private async readCommitted(): Promise<Map<number, number>> {
    const { KAFKA_TOPIC: topic, KAFKA_GROUP: groupId } = this.config;
    const [group] = await this.admin.fetchOffsets({ groupId, topics: [topic] });
    const all = group?.partitions.map(({ partition, offset }) => [partition, Number(offset)] as const) ?? [];
    return new Map(all.filter(([, offset]) => offset >= 0));
  }

  private async begin(assigned: AssignedPartition, start: Start, stored: string | undefined): Promise<void> {
    const { KAFKA_TOPIC: topic } = this.config;
    const begin = String(start.offset);
    if (start.notice !== null) this.logger.error({ topic, partition: assigned.partition }, start.notice);
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
      // Between a crash of kafkajs and its restart there is nothing to seek in; it is sought again when the group is joined.
    }
  }

  /** Takes one batch of kafkajs: hands it on, and does not wait until it is settled. */
  private async take({
    batch,
    resolveOffset,
    heartbeat,
    isRunning,
    isStale,
  }: EachBatchPayload): Promise<void> {
    // One that cannot be opened keeps no other from being read.
    if (this.partitions.get(batch.partition)?.tracker == null) await patiently(this.opening, heartbeat);
    const assigned = this.partitions.get(batch.partition);
    const tracker = assigned?.tracker;
    const isOver = () =>
      this.partitions.get(batch.partition) !== assigned ||
      this.stopping.signal.aborted ||
      !isRunning() ||
      isStale();
    if (!assigned || !tracker || isOver()) return;
    await patiently(this.sink.waitForCapacity(assigned.abort.signal), heartbeat);
    const first = Number(batch.firstOffset() ?? assigned.next);
    if (isOver()) return;
    if (first > assigned.next) {
      if (assigned.sought !== assigned.next) {
        assigned.sought = assigned.next;
        return this.seek(assigned);
      }
      await this.explainGap(assigned, first);
      if (isOver()) return;
    }
    const last = Number(batch.lastOffset());
    const messages =
      first < assigned.next
        ? batch.messages.filter(({ offset }) => Number(offset) >= assigned.next)
        : batch.messages;
    if (last < assigned.next) {
      // The log is shorter than what we have read of it: it is another one, or it was cut back.
      if (Number(batch.highWatermark) < assigned.next)
        return this.restartFromCheckpoint(assigned, undefined, 'The topic is another one');
      return this.seek(assigned);
    }
    assigned.next = last + 1;
    resolveOffset(String(last));
    this.hand(assigned, tracker, this.readAll(messages, batch.partition));
  }

  /** The broker has no record at the next offset: they were deleted unread, or they are marks of its own. */
  private async explainGap(assigned: AssignedPartition, first: number): Promise<void> {
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

  private readAll(messages: readonly KafkaMessage[], partition: number): ReadRecord[] {
    const place = `${this.config.KAFKA_TOPIC}/${partition}@`;
    return messages.map(({ key, value, offset }) =>
      readRecord({ key: key?.toString() ?? null, value }, place + offset),
    );
  }

  private hand(assigned: AssignedPartition, tracker: OffsetTracker, records: readonly ReadRecord[]): void {
    const settled = tracker.take(String(assigned.next), oldestClickAt(records));
    const delivered = this.sink
      .submit(records, assigned.abort.signal)
      .then(settled, (error: unknown) => {
        // Given back: whoever has the partition next reads it again.
        if ((error as { code?: string }).code !== STOPPING) this.failed(error);
      })
      .finally(() => this.settling.delete(delivered));
    this.settling.add(delivered);
  }

  /** Writes how far the partitions are settled, here and in the group, and goes back where somebody has set one back. */
  private checkpoint(): Promise<void> {
    return this.checkpointing(async () => {
      const opened = [...this.partitions.values()].flatMap((assigned) =>
        assigned.tracker ? { assigned, tracker: assigned.tracker, next: assigned.tracker.settledTo } : [],
      );
      if (opened.length === 0) return;
      try {
        // In the group first: only there it can be seen that a first start has begun, see `startOf`.
        const isCommitted = await this.commit(opened);
        const moves = opened.map(({ assigned, tracker: { known }, next }) => ({
          partition: String(assigned.partition),
          known,
          next: isCommitted || !isFirst(known) ? next : known,
        }));
        const source = kafkaSourceName(this.config);
        const commitProbes = this.sink.commitProbes();
        const { isWhole, positions } = await moveCheckpoints(this.pool, source, moves, commitProbes);
        this.sink.forget(commitProbes);
        this.checkpointReport.moved();
        for (const { assigned, tracker, next } of opened) {
          const position = positions.get(String(assigned.partition));
          if (!isWhole) this.restartFromCheckpoint(assigned, position, 'The database has lost commits');
          else if (position === next) tracker.known = next;
          else if (position !== tracker.known)
            this.restartFromCheckpoint(
              assigned,
              position,
              isSetBack(position, tracker.known) ? SET_BACK : null,
            );
        }
      } catch (error) {
        // The next one says the same and more.
        this.checkpointReport.failed(error);
      }
    });
  }

  private async commit(
    opened: readonly { assigned: AssignedPartition; tracker: OffsetTracker; next: string }[],
  ): Promise<boolean> {
    const { KAFKA_TOPIC: topic } = this.config;
    const offsets = opened
      .filter(({ tracker, next }) => tracker.known !== next)
      .map(({ assigned, next }) => ({ topic, partition: assigned.partition, offset: next }));
    if (offsets.length === 0) return true;
    // kafkajs also resolves where it has sent nothing, as one that is about to join again. Once there was an offset, a lower one is
    // harmless; that there is none is taken for a topic made anew, see `startOf`.
    const isTaken = async () => {
      if (!opened.some(({ tracker }) => isFirst(tracker.known))) return true;
      const taken = await this.readCommitted();
      return offsets.every(({ partition }) => taken.has(partition));
    };
    const committed = this.consumer
      .commitOffsets(offsets)
      .then(isTaken)
      .catch((error: unknown) => {
        this.logger.debug({ problem: errorMessage(error) }, 'The group does not take offsets');
        return false;
      });
    return Promise.race([committed, sleep(COMMIT_MS_MAX).then(() => false)]);
  }

  /** Reads on from the checkpoint. `why` is what an operator should know; `null` where another processor has moved the checkpoint on. */
  private restartFromCheckpoint(
    assigned: AssignedPartition,
    position: string | undefined,
    why: string | null,
  ): void {
    const { partition } = assigned;
    if (this.partitions.get(partition) !== assigned) return;
    if (why === null) this.logger.debug({ partition, position }, MOVED_ON);
    else this.logger.warn({ partition, position }, `${why}: reading goes on from the checkpoint`);
    assigned.abort.abort();
    this.partitions.set(partition, new AssignedPartition(partition));
    this.opening = this.opening.then(() => this.open());
  }

  private onCrash({ payload: { error, restart } }: ConsumerCrashEvent): void {
    const explained = this.explain(error);
    if (restart || explained.retryable) this.health.reportFailure(GROUP, explained);
    if (restart || this.stopping.signal.aborted) return;
    if (explained.retryable) {
      // kafkajs gives up sooner than we do.
      const revive = async () => {
        await sleep(backoffMs(3), this.stopping.signal);
        await this.consumer.connect();
        if (!this.stopping.signal.aborted) await this.consume();
      };
      this.health.untilAnswered('connect', revive).catch((failure: unknown) => this.failed(failure));
      return;
    }
    const places = [...this.partitions.values()]
      .map(({ partition, next }) => `${partition}@${next}`)
      .join(', ');
    this.failed(
      error.name === 'KafkaJSNotImplemented'
        ? new TollwayError(
            'kafka_compression',
            `KAFKA_TOPIC: ${this.config.KAFKA_TOPIC} holds a batch that cannot be read (${errorMessage(error)}; gzip and zstd can), ` +
              `at or behind one of ${places}. Let the topic's compression.type be zstd: the broker then converts what comes`,
          )
        : explained,
    );
  }

  private explain(error: unknown): TollwayError {
    const { name = '' } = error as { name?: string };
    if (name.startsWith('KafkaJS') || error instanceof TollwayError) return explainKafka(error, this.config);
    const retryable = failureKind(error) === 'transient';
    return new TollwayError('database', `The database: ${errorMessage(error)}`, { cause: error, retryable });
  }
}

/** The source of a Kafka topic. See `KafkaSource`. */
export function createKafkaSource(
  pool: Pool,
  sink: BatchSink,
  config: Config,
  deps: { metrics: Metrics; logger: Logger },
): EventSource {
  return new KafkaSource(pool, sink, config, deps);
}

/** Waits for something and stays a member of the group meanwhile. Throws if the group is dealt anew. */
async function patiently(work: Promise<void>, heartbeat: () => Promise<void>): Promise<void> {
  let done = false;
  const ended = work.finally(() => {
    done = true;
  });
  for (;;) {
    const timer = new AbortController();
    await Promise.race([ended, sleep(HEARTBEAT_MS / 2, timer.signal)]);
    timer.abort();
    if (done) return ended;
    await heartbeat();
  }
}
