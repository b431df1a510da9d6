import { type _Record, GetRecordsCommand, type KinesisClient } from '@aws-sdk/client-kinesis';
import type { Config } from '../../common/config/config.ts';
import { errorCode, type TollwayError } from '../../common/errors.ts';
import { backoffMs, sleep } from '../../common/process.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { readRecord } from '../../contract/read-record.ts';
import { type BatchSink, oldestClickAt, type PartitionLag, STOPPING } from '../event-source.ts';
import { OffsetTracker } from '../offset-tracker.ts';
import type { SourceHealth } from '../source-health.ts';
import { isThrottled } from './client.ts';
import { afterPosition, END, iteratorAt, refreshed } from './positions.ts';

/** Minimum time between two reads of a shard, in ms. Kinesis allows five reads a second, of all readers together. */
const READ_MS_MIN = 210;
/** Maximum records of one read; https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html */
const READ_RECORDS_MAX = 10_000;
/** Time between two updates of an idle shard's checkpoint, in ms, and the clock difference that they allow for, in ms. */
const REFRESH_MS = 60_000;
const CLOCK_DIFFERENCE_MS = 300_000;

export type ShardReaderDeps = {
  readonly client: KinesisClient;
  readonly sink: BatchSink;
  readonly config: Config;
  readonly health: SourceHealth;
  readonly explain: (error: unknown) => TollwayError;
  /** Called with an error that no retry can repair. */
  readonly fail: (error: unknown) => void;
  readonly stopping: AbortSignal;
};

/** Reads one shard, whose lease this process holds, and passes its records to the sink. */
export class ShardReader {
  readonly shard: string;
  readonly tracker: OffsetTracker;
  private readonly deps: ShardReaderDeps;
  /** Ends the reading. The records read so far are still settled. */
  private readonly ending: AbortSignal;
  private readonly end = new AbortController();
  /** Abandons the records that are not settled. */
  private readonly abandoned = new AbortController();
  private readonly settling = new Set<Promise<void>>();
  /** The next position to read. */
  private next: string;
  /** How far the last record read lies behind the end of the shard, in ms. */
  private behindMs = 0;
  /** When the first attempt of the current request was sent (`performance.now()`); `null` if no request waits for its answer. */
  private waitingSince: number | null = null;
  private refreshedAt = performance.now();
  private done: Promise<void> = Promise.resolve();

  constructor(shard: string, position: string, deps: ShardReaderDeps) {
    this.shard = shard;
    this.tracker = new OffsetTracker(position);
    this.next = position;
    this.deps = deps;
    this.ending = AbortSignal.any([this.end.signal, deps.stopping]);
  }

  start(): void {
    this.done = this.read().catch((error: unknown) => this.deps.fail(error));
  }

  /** Stops reading. Resolves when everything that was read is settled. */
  async drain(): Promise<void> {
    this.end.abort();
    await this.done;
    await Promise.allSettled(this.settling);
  }

  /** Stops reading and settling: the next reader of the shard reads the unsettled records again. */
  abandon(): void {
    this.end.abort();
    this.abandoned.abort();
  }

  /** How long a request has been waiting for its answer, in ms; 0 if none does. */
  get silentMs(): number {
    return this.waitingSince === null ? 0 : performance.now() - this.waitingSince;
  }

  /** The backlog of the shard. Kinesis does not count records, so `records` are those that are read and not settled. */
  get lag(): PartitionLag {
    const { shard: partition, tracker, ageMs } = this;
    const oldestAgeSeconds = Math.max(0, ageMs) / 1_000;
    return {
      partition,
      records: tracker.records,
      oldestAgeSeconds,
      position: tracker.settledTo,
      isAssigned: true,
    };
  }

  /** Age of the oldest record that waits in the shard or is not settled, in ms; 0 if none is known. */
  private get ageMs(): number {
    // While no answer arrives, the last age grows with the time.
    const readBehindMs = this.behindMs > 0 ? this.behindMs + this.silentMs : this.behindMs;
    const { oldestAt } = this.tracker;
    return oldestAt === null ? readBehindMs : Math.max(readBehindMs, Date.now() - oldestAt);
  }

  private async read(): Promise<void> {
    const { client, config, health, explain, sink } = this.deps;
    const { ending } = this;
    const Limit = Math.min(READ_RECORDS_MAX, config.BATCH_SIZE);
    let iterator: string | undefined;
    for (let failures = 0; !ending.aborted; ) {
      await sink.waitForCapacity(ending);
      if (ending.aborted) return;
      const startedAt = performance.now();
      try {
        this.waitingSince ??= performance.now();
        iterator ??= await iteratorAt(client, config.KINESIS_STREAM, this.shard, this.next);
        const page = await client.send(new GetRecordsCommand({ ShardIterator: iterator, Limit }));
        failures = 0;
        this.waitingSince = null;
        health.clear(this.shard);
        if (ending.aborted) return;
        this.submit(page.Records ?? [], page.MillisBehindLatest ?? 0);
        iterator = page.NextShardIterator;
        if (iterator === undefined) return this.tracker.add(END, null)();
        const pauseMs = page.Records?.length ? READ_MS_MIN : Math.max(READ_MS_MIN, config.BATCH_WINDOW_MS);
        await sleep(pauseMs - (performance.now() - startedAt), ending);
      } catch (error) {
        // This reader may be replaced by now, and no later success of its own would clear the failure.
        if (ending.aborted) {
          this.waitingSince = null;
          return;
        }
        // An iterator expires after five minutes, and the database can be unreachable for longer.
        iterator = undefined;
        if ((error as { name?: string }).name === 'ExpiredIteratorException') continue;
        const explained = explain(error);
        if (!explained.retryable) throw explained;
        failures += 1;
        // Throttling is normal where several processes read a shard.
        if (isThrottled(error)) this.waitingSince = null;
        else health.reportFailure(this.shard, explained);
        await sleep(backoffMs(failures), ending);
      }
    }
  }

  private submit(page: readonly _Record[], behindMs: number): void {
    this.behindMs = behindMs;
    const last = page.at(-1);
    if (last?.SequenceNumber === undefined) return this.refreshCheckpoint();
    this.next = afterPosition(last.SequenceNumber, last.ApproximateArrivalTimestamp ?? new Date());
    const records = page.map((record) => this.readOne(record));
    const settled = this.tracker.add(this.next, oldestClickAt(records), records.length);
    const submitted = this.deps.sink
      .submit(records, this.abandoned.signal)
      .then(settled, (error: unknown) => {
        // After STOPPING the next reader of the shard reads the page again.
        if (errorCode(error) !== STOPPING) this.deps.fail(error);
      })
      .finally(() => this.settling.delete(submitted));
    this.settling.add(submitted);
  }

  private readOne({ Data, PartitionKey, SequenceNumber, ApproximateArrivalTimestamp }: _Record): ReadRecord {
    const value = Data === undefined ? null : Buffer.from(Data.buffer, Data.byteOffset, Data.byteLength);
    const position = `${this.deps.config.KINESIS_STREAM}/${this.shard}@${SequenceNumber}`;
    const publishedAt = ApproximateArrivalTimestamp?.getTime();
    return readRecord({ key: PartitionKey ?? null, value }, position, publishedAt);
  }

  /** Writes the time into the checkpoint of an idle shard, so that it does not look like a shard that is not read. */
  private refreshCheckpoint(): void {
    const now = performance.now();
    if (this.behindMs > 0 || !this.tracker.isIdle || now - this.refreshedAt < REFRESH_MS) return;
    this.refreshedAt = now;
    this.next = refreshed(this.next, new Date(Date.now() - CLOCK_DIFFERENCE_MS));
    this.tracker.add(this.next, null)();
  }
}
