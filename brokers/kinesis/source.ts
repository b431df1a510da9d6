import type { KinesisClient, Shard } from '@aws-sdk/client-kinesis';
import type { Config } from '../../common/config/config.ts';
import { errorCode, TollwayError } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Metrics } from '../../common/telemetry/metrics.ts';
import type { Problem } from '../../common/telemetry/problems.ts';
import { CheckpointWriter, type RestartReason, reportRestart } from '../checkpoint-writer.ts';
import { beginCheckpoints, readCheckpoints } from '../checkpoints.ts';
import { type BatchSink, type EventSource, type Lag, lagOf } from '../event-source.ts';
import { SourceHealth } from '../source-health.ts';
import { endpointName, explainFailure, listShards, openKinesis, readStream, type Stream } from './client.ts';
import { DrainingShards } from './draining-shards.ts';
import { endExpiredShards } from './expired-shards.ts';
import {
  beginStream,
  END,
  FIRST_RECORD,
  isSetBack,
  kinesisSourceName,
  readableShards,
  readUntil,
} from './positions.ts';
import { ShardLeases } from './shard-leases.ts';
import { ShardReader } from './shard-reader.ts';

/** Time between two assignments of shards to processors, in ms. */
const ASSIGN_MS = 1_000;
/** Time between two checkpoints, in ms. Each also notices a checkpoint that was set back. */
const CHECKPOINT_MS = 500;
/** Time between two reads of the stream's description, in ms, unless a read has failed meanwhile: AWS allows 20 a second for each account. */
const DESCRIBE_MS = 30_000;
/** Maximum wait until everything that was read of a shard is settled, in ms, before its next reader gets it. */
const DRAIN_MS_MAX = 10_000;
/** Maximum wait of a stop for an answer of Kinesis, in ms. */
const ANSWER_MS_MAX = 1_000;
/** A shard that has not answered for this long, in ms, is reported. A read takes some tens of ms. */
const SILENT_MS = 5_000;
/** The name of the stream's problems. Those of a shard are under the shard's name. */
const STREAM = 'stream';

/**
 * Consumes a stream together with other processors. Leases in the database assign the shards evenly. A child shard is read once its
 * parents are settled to their end. A checkpoint moves once everything before it is settled.
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
  private readonly readers = new Map<string, ShardReader>();
  private readonly draining: DrainingShards;
  private readonly checkpoints: CheckpointWriter;
  private leases: ShardLeases | null = null;
  private stream: Stream = { id: '', retentionMs: 0, createdAt: null };
  /** When the description was requested (`performance.now()`). */
  private describedAt = 0;
  private fail: (error: unknown) => void = () => {};
  private stopped: Promise<void> | null = null;
  private running: Promise<unknown> = Promise.resolve();
  private readonly health: SourceHealth;
  private readonly explain = (error: unknown) => explainFailure(error, this.config);

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
    this.draining = new DrainingShards(deps.logger);
    this.checkpoints = new CheckpointWriter(pool, sink, { ...deps, isSetBack });
    this.client = openKinesis(config);
    this.health = new SourceHealth(this.explain, { ...deps, stopping: this.stopping.signal, graceMs: 0 });
    this.health.setWaiting(STREAM, 'it has not read the description of the stream yet');
  }

  private get source(): string {
    return kinesisSourceName(this.stream);
  }

  readonly run = async (): Promise<void> => {
    const { signal } = this.stopping;
    const failure = new Promise<never>((_, reject) => {
      this.fail = reject;
    });
    failure.catch(() => {});
    await this.health.retry(STREAM, async () => {
      this.stream = await readStream(this.client, this.config).catch((error: TollwayError) => {
        // A stream that is missing at the start is a mistake, so that error is final.
        throw error.code === 'kinesis_stream' ? new TollwayError(error.code, error.message) : error;
      });
      this.describedAt = performance.now();
      await beginStream(this.pool, this.client, this.stream, this.config);
    });
    const assign = async () => {
      for (; !signal.aborted; await sleep(ASSIGN_MS, signal))
        await this.health.retry(STREAM, () => this.assign());
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
      const drained = [...this.readers.values()].map((reader) => reader.drain());
      await Promise.all([...drained, this.draining.settled()]);
      await this.checkpoint();
      await this.reportLost();
      await this.leases?.leave().catch(() => {});
      this.client.destroy();
    })();
    return this.stopped;
  };

  /** Kinesis does not count records: `records` are those that are read and not settled. The age includes records in the stream. */
  readonly lag = async (): Promise<Lag> => {
    const partitions = [...this.readers.values()].map((reader) => reader.lag);
    const lag = { ...lagOf([...partitions, ...this.draining.lags]), partitions };
    const [silent] = this.silent();
    // No known record waits, and new records are unknown.
    if (silent !== undefined && lag.oldestAgeSeconds === 0)
      throw new TollwayError('kinesis_away', silent.reason, { retryable: true });
    return lag;
  };

  readonly problems = (): readonly Problem[] => [...this.health.problems, ...this.silent()];

  readonly isFailing = (): boolean => this.health.isFailing || this.silent().length > 0;

  /** Shards that have not answered for a while, unless a failure already says why. */
  private silent(): Problem[] {
    const known = new Set(this.health.problems.map(({ what }) => what));
    return [...this.readers.values()]
      .filter(({ shard, silentMs }) => silentMs > SILENT_MS && !known.has(shard))
      .map(({ shard, silentMs }) => ({
        what: shard,
        reason: `KINESIS_ENDPOINT: ${endpointName(this.config)} has not answered`,
        forMs: silentMs,
      }));
  }

  /** Takes and releases shards until each processor has its share of those that can be read. */
  private async assign(): Promise<void> {
    await this.followStream();
    // Other processors may hold the shards by now and read the unsettled records again.
    if (this.leases === null) await this.giveUp([...this.readers.values()]);
    const leases = await this.join();
    const shards = await listShards(this.client, this.config);
    const positions = await readCheckpoints(this.pool, this.source);
    const readable = readableShards(shards, positions);
    const share = Math.ceil(readable.length / (await leases.countMembers()));
    const ids = new Set(readable.map(({ ShardId }) => ShardId));
    const kept = [...this.readers.keys()].filter((shard) => ids.has(shard));
    const gone = [...this.readers.keys()].filter((shard) => !ids.has(shard));
    await Promise.all([...gone, ...kept.slice(share)].map((shard) => this.releaseShard(shard)));
    // Shuffled, so that the processors do not all try the same shard first.
    const free = readable.filter(({ ShardId }) => !this.readers.has(ShardId ?? ''));
    for (const shard of shuffled(free)) {
      if (this.readers.size >= share || this.stopping.signal.aborted) break;
      await this.takeShard(leases, shard);
    }
    const { stream, pool, client, config, metrics, logger } = this;
    await endExpiredShards(stream, leases, shards, positions, { pool, client, config, metrics, logger });
  }

  /**
   * Notices that the stream was deleted and created again. Its shards have the same names then, and the old positions do not exist in them. The
   * new stream is read from its first record on. What was read of the old one is settled beside.
   */
  private async followStream(): Promise<void> {
    const now = performance.now();
    if (this.health.lastFailureAt < this.describedAt && now - this.describedAt < DESCRIBE_MS) return;
    const stream = await readStream(this.client, this.config);
    this.describedAt = now;
    if (stream.id !== this.stream.id) {
      this.logger.warn(
        { stream: this.config.KINESIS_STREAM, before: this.stream.createdAt, now: stream.createdAt },
        'The stream was created again: the processor reads it from its first record. Unread records of the old stream are lost',
      );
      for (const reader of this.readers.values()) this.keepSettling(reader);
      await this.leases?.leave();
      await beginStream(this.pool, this.client, stream, { ...this.config, START_POSITION: 'earliest' });
    }
    this.stream = stream;
  }

  private async join(): Promise<ShardLeases> {
    this.leases ??= await ShardLeases.join(this.databaseUrl, this.stream.id, () => {
      // The next assignment gives up the shards.
      this.leases = null;
      for (const reader of this.readers.values()) void reader.drain();
    });
    return this.leases;
  }

  private async takeShard(leases: ShardLeases, { ShardId: shard = '' }: Shard): Promise<void> {
    if (!(await leases.acquire(shard))) return;
    try {
      // Read under the lease, so that the previous holder cannot move it any more.
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
        'The shard was not read for longer than the retention of the stream; some records may be deleted unread',
      );
    }
    const { client, sink, config, health } = this;
    const reader = new ShardReader(shard, position, {
      client,
      sink,
      config,
      health,
      explain: this.explain,
      fail: (error) => this.fail(error),
      stopping: this.stopping.signal,
    });
    this.readers.set(shard, reader);
    reader.start();
  }

  /** Ends the reading of a shard, settles the records read so far, and releases the lease. */
  private async releaseShard(shard: string): Promise<void> {
    const reader = this.readers.get(shard);
    if (!reader) return;
    // Records that are not settled in time are given up, so that the next processor does not wait for them.
    await Promise.race([reader.drain(), sleep(DRAIN_MS_MAX, this.stopping.signal)]);
    await this.checkpoint();
    await this.giveUp([reader]);
    if (!this.readers.has(shard)) await this.leases?.release(shard);
  }

  /** Leaves shards to their next readers, with what is not settled of them. If the stream no longer has a shard, that is settled here. */
  private async giveUp(readers: readonly ShardReader[]): Promise<void> {
    let shards: ReadonlySet<string | undefined> = new Set();
    if (readers.some(({ tracker }) => !tracker.isIdle)) {
      await this.health.retry(STREAM, async () => {
        const { id } = await readStream(this.client, this.config);
        const listed = id === this.stream.id ? await listShards(this.client, this.config) : [];
        shards = new Set(listed.map(({ ShardId }) => ShardId));
      });
      // The shards are not known then, and `stop` settles what was read.
      if (this.stopping.signal.aborted) return;
    }
    for (const reader of readers) {
      // It may be read from its checkpoint again by now.
      if (this.readers.get(reader.shard) !== reader) continue;
      if (reader.tracker.isIdle || shards.has(reader.shard)) this.abandon(reader);
      else this.keepSettling(reader);
    }
  }

  private abandon(reader: ShardReader): void {
    reader.abandon();
    this.remove(reader);
  }

  /** Ends the reading of a shard that no processor can read again, and settles what was read of it. */
  private keepSettling(reader: ShardReader): void {
    this.draining.settle(reader);
    this.remove(reader);
  }

  /** Logs what a stop leaves unsettled, if the stream was deleted and no assignment has noticed it. */
  private async reportLost(): Promise<void> {
    const unsettled = [...this.readers.values()].filter(({ tracker }) => !tracker.isIdle);
    if (unsettled.length === 0) return;
    const isGone = readStream(this.client, this.config).then(
      ({ id }) => id !== this.stream.id,
      // If Kinesis does not answer, the stream may exist, and the next reader of a shard reads the records again.
      (error: unknown) => errorCode(error) === 'kinesis_stream',
    );
    const isLost = await Promise.race([isGone, sleep(ANSWER_MS_MAX)]);
    for (const reader of isLost ? unsettled : []) this.draining.logLost(reader);
  }

  private remove(reader: ShardReader): void {
    if (this.readers.get(reader.shard) === reader) this.readers.delete(reader.shard);
    this.health.clear(reader.shard);
  }

  /** Stores how far each shard is settled, and notices checkpoints that were set back. */
  private checkpoint(): Promise<void> {
    return this.checkpoints.exclusive(async () => {
      const settled = [...this.readers.values()].map((reader) => {
        const { shard: partition, tracker } = reader;
        return { reader, partition, tracker, next: tracker.settledTo };
      });
      if (settled.length === 0) return;
      await this.checkpoints.move(this.source, settled, (reader, position, reason) =>
        this.restartFromCheckpoint(reader, position, reason),
      );
    });
  }

  /** Releases the shard. Its next assignment starts at the checkpoint. */
  private restartFromCheckpoint(
    reader: ShardReader,
    position: string | undefined,
    reason: RestartReason,
  ): void {
    const { shard } = reader;
    if (this.readers.get(shard) !== reader) return;
    reportRestart(this.logger, shard, position, reason);
    this.abandon(reader);
    this.leases?.release(shard).catch(() => {});
  }
}

/** The source of `KINESIS_STREAM`. */
export function createKinesisSource(...given: ConstructorParameters<typeof KinesisSource>): EventSource {
  return new KinesisSource(...given);
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
