import { type _Record, GetRecordsCommand, type KinesisClient, type Shard } from '@aws-sdk/client-kinesis';
import pLimit from 'p-limit';
import type { Config } from '../../common/config/config.ts';
import { errorCode, errorMessage, TollwayError } from '../../common/errors.ts';
import { failureKind, type Pool } from '../../common/postgres/postgres.ts';
import { backoffMs, sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Metrics } from '../../common/telemetry/metrics.ts';
import type { Problem } from '../../common/telemetry/problems.ts';
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
import { explainKinesis, isThrottled, listShards, openKinesis, readStream, type Stream } from './client.ts';
import {
  afterPosition,
  beginStream,
  END,
  FIRST_RECORD,
  isSetBack,
  iteratorAt,
  kinesisSourceName,
  readableShards,
  readUntil,
  refreshed,
} from './positions.ts';
import { ShardLeases } from './shard-leases.ts';

/** Time between two reads of a shard, in ms: it allows five a second, of all its readers together. */
const READ_MS_MIN = 210;
/** How often shards are dealt anew, and how often checkpoints are written and looked at, in ms. */
const DEAL_MS = 1_000;
const CHECKPOINT_MS = 500;
/** Most records of one read; https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html */
const READ_RECORDS_MAX = 10_000;
/** How often an idle shard's checkpoint says anew how far it is read, in ms, and how much earlier it says, for the clocks. */
const REFRESH_MS = 60_000;
const CLOCKS_DIFFER_MS = 300_000;
/** Longest wait for what was taken of a shard that others are to have, in ms. */
const DRAIN_MS_MAX = 10_000;
/** A shard that has not answered for so long is silent, in ms. A read takes some ten of them. */
const SILENT_MS = 5_000;
/** Why reading goes on from another place than where it stood. */
const SET_BACK = 'The checkpoint was set back (a rewind, or a restored database)';
const MOVED_ON = 'Another processor has moved the checkpoint on: reading goes on from there';
/** The name under which the stream's problems are noted; those of a shard bear its own. */
const STREAM = 'stream';

/** A shard that we hold the lease of. */
class ShardConsumer {
  readonly shard: string;
  readonly tracker: OffsetTracker;
  /** Ends the taking; what was taken is still settled. */
  readonly ending = new AbortController();
  /** Gives back what was taken. */
  readonly abort = new AbortController();
  readonly settling = new Set<Promise<void>>();
  /** The position that is read next. */
  next: string;
  /** How far what was read lies behind the end, in ms. */
  behindMs = 0;
  /** Since when an answer is waited for (monotonic, ms), over all attempts; `null` while nothing is asked. */
  askedAt: number | null = null;
  refreshedAt = performance.now();
  done: Promise<void> = Promise.resolve();

  constructor(shard: string, position: string) {
    this.shard = shard;
    this.tracker = new OffsetTracker(position);
    this.next = position;
  }
}

/**
 * Consumes a stream together with others. Who reads which shard is settled by leases in the database, dealt evenly; a child
 * shard is read once its parents are settled to their end. A checkpoint follows once all before it is settled.
 */
class KinesisSource implements EventSource {
  private readonly pool: Pool;
  private readonly databaseUrl: string;
  private readonly sink: BatchSink;
  private readonly config: Config;
  private readonly metrics: Metrics;
  private readonly logger: Logger;
  private readonly client: KinesisClient;
  private readonly stopping = new AbortController();
  private readings = new Map<string, ShardConsumer>();
  /** One at a time: two would each take the other's for somebody else's. */
  private readonly checkpointing = pLimit(1);
  private readonly checkpointReport: CheckpointReport;
  private leases: ShardLeases | null = null;
  private stream: Stream = { id: '', retentionMs: 0, madeAt: null };
  private failed: (error: unknown) => void = () => {};
  private stopped: Promise<void> | null = null;
  private running: Promise<unknown> = Promise.resolve();
  private readonly health: SourceHealth;

  constructor(
    pool: Pool,
    databaseUrl: string,
    sink: BatchSink,
    config: Config,
    deps: { metrics: Metrics; logger: Logger },
  ) {
    this.pool = pool;
    this.databaseUrl = databaseUrl;
    this.sink = sink;
    this.config = config;
    this.metrics = deps.metrics;
    this.logger = deps.logger;
    this.checkpointReport = new CheckpointReport(deps);
    this.client = openKinesis(config);
    const explain = (error: unknown) => this.explain(error);
    this.health = new SourceHealth(explain, { ...deps, stopping: this.stopping.signal, graceMs: 0 });
    this.health.setWaiting(STREAM, 'it has not looked at the stream yet');
  }

  private get source(): string {
    return kinesisSourceName(this.stream);
  }

  readonly run = async (): Promise<void> => {
    const { signal } = this.stopping;
    const failure = new Promise<never>((_, reject) => {
      this.failed = reject;
    });
    failure.catch(() => {});
    await this.health.untilAnswered(STREAM, async () => {
      this.stream = await readStream(this.client, this.config).catch((error: TollwayError) => {
        // A stream that is not there when we start is a mistake.
        throw error.code === 'kinesis_stream' ? new TollwayError(error.code, error.message) : error;
      });
      await beginStream(this.pool, this.client, this.stream, this.config);
    });
    const assign = async () => {
      for (; !signal.aborted; await sleep(DEAL_MS, signal))
        await this.health.untilAnswered(STREAM, () => this.assign());
    };
    const checkpoint = async () => {
      for (; !signal.aborted; await sleep(CHECKPOINT_MS, signal)) await this.checkpoint();
    };
    this.running = Promise.all([assign(), checkpoint()]);
    await Promise.race([this.running, failure]);
  };

  readonly stop = (): Promise<void> => {
    this.stopped ??= (async () => {
      this.stopping.abort();
      await this.running.catch(() => {});
      await Promise.all([...this.readings.values()].map((consumer) => this.drain(consumer)));
      await this.checkpoint();
      await this.leases?.leave().catch(() => {});
      this.client.destroy();
    })();
    return this.stopped;
  };

  /** Kinesis counts no records: those are what is taken and not settled. The age is that of the stream, too. */
  readonly lag = async (): Promise<Lag> => {
    const now = Date.now();
    let oldestAgeSeconds = 0;
    let records = 0;
    const [silent] = this.silent();
    for (const { tracker, behindMs, askedAt } of this.readings.values()) {
      // What was read last grows older while nothing more comes.
      const readBehindMs =
        behindMs > 0 && askedAt !== null ? behindMs + performance.now() - askedAt : behindMs;
      const age = tracker.oldestAt === null ? readBehindMs : Math.max(readBehindMs, now - tracker.oldestAt);
      oldestAgeSeconds = Math.max(oldestAgeSeconds, age / 1_000);
      records += tracker.records;
    }
    // Nothing known waits, and what is new is not known.
    if (silent !== undefined && oldestAgeSeconds === 0)
      throw new TollwayError('kinesis_away', silent.reason, { retryable: true });
    return { records, oldestAgeSeconds };
  };

  readonly problems = (): readonly Problem[] => [...this.health.problems, ...this.silent()];

  readonly isFailing = (): boolean => this.health.isFailing || this.silent().length > 0;

  /** The shards that have not answered for a while, unless it is known by now why. */
  private silent(): Problem[] {
    const known = new Set(this.health.problems.map(({ what }) => what));
    const where = this.config.KINESIS_ENDPOINT ?? 'the endpoint of AWS_REGION';
    return [...this.readings.values()].flatMap(({ shard, askedAt }) => {
      const forMs = askedAt === null ? 0 : performance.now() - askedAt;
      if (forMs <= SILENT_MS || known.has(shard)) return [];
      return [{ what: shard, reason: `KINESIS_ENDPOINT: ${where} has not answered`, forMs }];
    });
  }

  /** Takes and lets go of shards until each of us has its share of those that can be read. */
  private async assign(): Promise<void> {
    const leases = await this.join();
    const shards = await listShards(this.client, this.config);
    const positions = await readCheckpoints(this.pool, this.source);
    const readable = readableShards(shards, positions);
    const share = Math.ceil(readable.length / (await leases.countMembers()));
    const ids = new Set(readable.map(({ ShardId }) => ShardId));
    const kept = [...this.readings.keys()].filter((shard) => ids.has(shard));
    const gone = [...this.readings.keys()].filter((shard) => !ids.has(shard));
    await Promise.all([...gone, ...kept.slice(share)].map((shard) => this.releaseShard(shard)));
    // Not all of us begin with the same one.
    const free = readable.filter(({ ShardId }) => !this.readings.has(ShardId ?? ''));
    for (const shard of shuffled(free)) {
      if (this.readings.size >= share || this.stopping.signal.aborted) break;
      await this.takeShard(leases, shard);
    }
  }

  private async join(): Promise<ShardLeases> {
    this.leases ??= await ShardLeases.join(this.databaseUrl, this.stream.id, () => {
      this.leases = null;
      // Others may have them by now: what we have taken of them is theirs to settle.
      for (const consumer of this.readings.values()) this.abandon(consumer);
    });
    return this.leases;
  }

  private async takeShard(leases: ShardLeases, { ShardId: shard = '' }: Shard): Promise<void> {
    if (!(await leases.take(shard))) return;
    try {
      // Read under the lease: whoever had it before writes no more.
      const stored = (await readCheckpoints(this.pool, this.source)).get(shard);
      if (stored === END) return await leases.release(shard);
      if (stored === undefined)
        await beginCheckpoints(this.pool, this.source, new Map([[shard, FIRST_RECORD]]));
      this.begin(shard, stored ?? FIRST_RECORD);
    } catch (error) {
      await leases.release(shard);
      throw error;
    }
  }

  private begin(shard: string, position: string): void {
    const until = readUntil(position);
    if (until !== null && Date.now() - until.getTime() > this.stream.retentionMs) {
      this.metrics.brokerLost.inc();
      this.logger.error(
        { shard, position },
        'The shard was not read for longer than the stream keeps its records: some may be deleted unread',
      );
    }
    const consumer = new ShardConsumer(shard, position);
    this.readings.set(shard, consumer);
    consumer.done = this.read(consumer).catch((error: unknown) => this.failed(error));
  }

  /** Ends the reading of a shard, settles what was taken, and lets others have it. */
  private async releaseShard(shard: string): Promise<void> {
    const consumer = this.readings.get(shard);
    if (!consumer) return;
    // What takes longer is given back: others must not wait for us.
    await Promise.race([this.drain(consumer), sleep(DRAIN_MS_MAX, this.stopping.signal)]);
    await this.checkpoint();
    this.abandon(consumer);
    await this.leases?.release(shard);
  }

  private async drain(consumer: ShardConsumer): Promise<void> {
    consumer.ending.abort();
    await consumer.done;
    await Promise.allSettled(consumer.settling);
  }

  private abandon(consumer: ShardConsumer): void {
    consumer.ending.abort();
    consumer.abort.abort();
    if (this.readings.get(consumer.shard) === consumer) this.readings.delete(consumer.shard);
    this.health.settle(consumer.shard);
  }

  private async read(consumer: ShardConsumer): Promise<void> {
    const { KINESIS_STREAM: stream } = this.config;
    const over = AbortSignal.any([consumer.ending.signal, this.stopping.signal]);
    const Limit = Math.min(READ_RECORDS_MAX, this.config.BATCH_SIZE);
    let iterator: string | undefined;
    for (let failures = 0; !over.aborted; ) {
      await this.sink.waitForCapacity(over);
      if (over.aborted) return;
      const startedAt = performance.now();
      try {
        consumer.askedAt ??= performance.now();
        iterator ??= await iteratorAt(this.client, stream, consumer.shard, consumer.next);
        const page = await this.client.send(new GetRecordsCommand({ ShardIterator: iterator, Limit }));
        failures = 0;
        consumer.askedAt = null;
        this.health.settle(consumer.shard);
        if (over.aborted) return;
        this.hand(consumer, page.Records ?? [], page.MillisBehindLatest ?? 0);
        iterator = page.NextShardIterator;
        if (iterator === undefined) return consumer.tracker.take(END, null)();
        const pauseMs = page.Records?.length
          ? READ_MS_MIN
          : Math.max(READ_MS_MIN, this.config.BATCH_WINDOW_MS);
        await sleep(pauseMs - (performance.now() - startedAt), over);
      } catch (error) {
        // It lives five minutes, and a database may be away for longer.
        iterator = undefined;
        if ((error as { name?: string }).name === 'ExpiredIteratorException') continue;
        const explained = this.explain(error);
        if (!explained.retryable) throw explained;
        failures += 1;
        // Several readers of a shard meet its limit now and then.
        if (isThrottled(error)) consumer.askedAt = null;
        else this.health.reportFailure(consumer.shard, explained);
        await sleep(backoffMs(failures), over);
      }
    }
  }

  private hand(consumer: ShardConsumer, records: readonly _Record[], behindMs: number): void {
    const { tracker, shard, abort } = consumer;
    consumer.behindMs = behindMs;
    const last = records.at(-1);
    if (last?.SequenceNumber === undefined) {
      this.refresh(consumer);
      return;
    }
    consumer.next = afterPosition(last.SequenceNumber, last.ApproximateArrivalTimestamp ?? new Date());
    const clicks = records.map((record) => this.readOne(record, shard));
    const settled = tracker.take(consumer.next, oldestClickAt(clicks), clicks.length);
    const delivered = this.sink
      .submit(clicks, abort.signal)
      .then(settled, (error: unknown) => {
        // Given back: whoever has the shard next reads it again.
        if (errorCode(error) !== STOPPING) this.failed(error);
      })
      .finally(() => consumer.settling.delete(delivered));
    consumer.settling.add(delivered);
  }

  private readOne({ Data, PartitionKey, SequenceNumber }: _Record, shard: string): ReadRecord {
    const value = Data === undefined ? null : Buffer.from(Data.buffer, Data.byteOffset, Data.byteLength);
    const place = `${this.config.KINESIS_STREAM}/${shard}@${SequenceNumber}`;
    return readRecord({ key: PartitionKey ?? null, value }, place);
  }

  /** There is nothing more: the checkpoint may say so, lest an idle shard look like one that nobody reads. */
  private refresh(consumer: ShardConsumer): void {
    const { tracker, behindMs } = consumer;
    const now = performance.now();
    if (behindMs > 0 || !tracker.isIdle || now - consumer.refreshedAt < REFRESH_MS) return;
    consumer.refreshedAt = now;
    consumer.next = refreshed(consumer.next, new Date(Date.now() - CLOCKS_DIFFER_MS));
    tracker.take(consumer.next, null)();
  }

  /** Writes how far the shards are settled, and goes back where somebody has set one back. */
  private checkpoint(): Promise<void> {
    return this.checkpointing(async () => {
      const moves = [...this.readings.values()].map((consumer) => ({
        consumer,
        partition: consumer.shard,
        known: consumer.tracker.known,
        next: consumer.tracker.settledTo,
      }));
      if (moves.length === 0) return;
      try {
        const commitProbes = this.sink.commitProbes();
        const { isWhole, positions } = await moveCheckpoints(this.pool, this.source, moves, commitProbes);
        this.sink.forget(commitProbes);
        this.checkpointReport.moved();
        for (const { consumer, partition, known, next } of moves) {
          const position = positions.get(partition);
          if (!isWhole) this.restartFromCheckpoint(consumer, position, 'The database has lost commits');
          else if (position === next) consumer.tracker.known = next;
          else if (position !== known)
            this.restartFromCheckpoint(consumer, position, isSetBack(position, known) ? SET_BACK : null);
        }
      } catch (error) {
        // The next one says the same and more.
        this.checkpointReport.failed(error);
      }
    });
  }

  /**
   * The next deal begins where the checkpoint is now. `why` is what an operator should know; `null` where another processor has
   * moved the checkpoint on.
   */
  private restartFromCheckpoint(
    consumer: ShardConsumer,
    position: string | undefined,
    why: string | null,
  ): void {
    const { shard } = consumer;
    if (this.readings.get(shard) !== consumer) return;
    if (why === null) this.logger.debug({ shard, position }, MOVED_ON);
    else this.logger.warn({ shard, position }, `${why}: reading goes on from the checkpoint`);
    this.abandon(consumer);
    this.leases?.release(shard).catch(() => {});
  }

  private explain(error: unknown): TollwayError {
    if (error instanceof TollwayError) return error;
    const isSdk = typeof error === 'object' && error !== null && ('$metadata' in error || '$fault' in error);
    if (isSdk) return explainKinesis(error, this.config);
    const transient = failureKind(error) === 'transient';
    // Both speak of sockets in the same words; the database's own errors have an SQLSTATE or are `pg`'s.
    return transient
      ? new TollwayError('dependency_failed', `Kinesis or the database: ${errorMessage(error)}`, {
          cause: error,
          retryable: true,
        })
      : explainKinesis(error, this.config);
  }
}

/** The source of a Kinesis stream. See `KinesisSource`. */
export function createKinesisSource(
  pool: Pool,
  databaseUrl: string,
  sink: BatchSink,
  config: Config,
  deps: { metrics: Metrics; logger: Logger },
): EventSource {
  return new KinesisSource(pool, databaseUrl, sink, config, deps);
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
