import type { Broker, Connection, ConnectionPool, metadataV9 } from '@platformatic/kafka';
import { assertVersions } from './assert-versions.ts';
import type { Platformatic } from './platformatic.ts';

type MetadataResponse = metadataV9.MetadataResponse;

/** The partitions of a topic. */
export type Leaders = {
  /** Every partition, ascending. */
  readonly partitions: readonly number[];
  /** The partitions that have a leader, ascending. */
  readonly withLeader: readonly number[];
  readonly leaderOf: ReadonlyMap<number, Broker>;
};

/** How long the leaders are used without a look for new partitions, in ms. */
const FRESH_MS = 30_000;

/**
 * Knows the leaders of a topic's partitions. It reads Kafka's metadata itself: the `metadata` of the library's clients fails for the whole
 * topic while one partition has no leader.
 */
export class TopicLeaders {
  private readonly library: Platformatic;
  private readonly pool: ConnectionPool;
  private readonly topic: string;
  private readonly bootstrap: readonly Broker[];
  private readonly brokers: string;
  /** The brokers of the last metadata. */
  private discovered: readonly Broker[] = [];
  /** The broker that is asked first. The next one is, after a failure. */
  private first = 0;
  private latest: { readonly leaders: Leaders; readonly at: number } | null = null;
  private reading: Promise<Leaders> | null = null;
  private hasVersions = false;

  constructor(library: Platformatic, pool: ConnectionPool, brokers: readonly string[], topic: string) {
    this.library = library;
    this.pool = pool;
    this.topic = topic;
    this.bootstrap = brokers.map((broker) => library.parseBroker(broker));
    this.brokers = brokers.join(',');
  }

  /**
   * The leaders. If they are older than 30 s, reads them anew beside. Throws errors of the library, and `kafka` if the broker does not speak
   * the versions of the publisher.
   */
  async get(): Promise<Leaders> {
    const { latest } = this;
    if (latest === null) return this.read();
    if (performance.now() - latest.at > FRESH_MS) this.read().catch(() => {});
    return latest.leaders;
  }

  /** Reads the leaders anew beside: a partition has none. The next broker is asked, as the last one can be outdated. */
  refresh(): void {
    this.first += 1;
    this.read().catch(() => {});
  }

  /** Forgets the leaders: a broker has refused a request, or does not answer. The next broker is asked, as the last one can be outdated. */
  forget(): void {
    this.latest = null;
    this.first += 1;
  }

  private read(): Promise<Leaders> {
    this.reading ??= this.readOnce().finally(() => {
      this.reading = null;
    });
    return this.reading;
  }

  private async readOnce(): Promise<Leaders> {
    const at = performance.now();
    const { brokers, topics } = await this.request();
    const addresses = new Map(brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]));
    this.discovered = [...addresses.values()];
    const partitions = (topics[0]?.partitions ?? []).toSorted((a, b) => a.partitionIndex - b.partitionIndex);
    const leaderOf = new Map<number, Broker>();
    for (const { partitionIndex, leaderId } of partitions) {
      const leader = addresses.get(leaderId);
      if (leader) leaderOf.set(partitionIndex, leader);
    }
    const leaders = {
      partitions: partitions.map(({ partitionIndex }) => partitionIndex),
      withLeader: [...leaderOf.keys()],
      leaderOf,
    };
    this.latest = { leaders, at };
    return leaders;
  }

  /** Asks one broker after the other for the metadata of the topic. */
  private async request(): Promise<MetadataResponse> {
    const brokers = [...this.bootstrap, ...this.discovered];
    for (let tried = 1; ; tried += 1) {
      const broker = brokers[this.first % brokers.length];
      try {
        if (broker === undefined) throw new Error('Expected a broker in KAFKA_BROKERS, got none');
        return await this.requestFrom(await this.pool.get(broker));
      } catch (error) {
        if (answerOf(error) !== null) throw error;
        this.first += 1;
        if (tried >= brokers.length) throw error;
      }
    }
  }

  private async requestFrom(connection: Connection): Promise<MetadataResponse> {
    if (!this.hasVersions) await assertVersions(this.library, connection, this.brokers);
    this.hasVersions = true;
    try {
      return await this.library.metadataV9.api.async(connection, [this.topic], false, false, false);
    } catch (error) {
      const response = answerOf(error);
      // The error can be that of a single partition, which has no leader.
      if (response === null || response.topics[0]?.errorCode !== 0) throw error;
      return response;
    }
  }
}

/** The metadata of an answer with an error, or `null`: there was no answer. */
function answerOf(error: unknown): MetadataResponse | null {
  const { response } = error as { response?: MetadataResponse };
  return response ?? null;
}
